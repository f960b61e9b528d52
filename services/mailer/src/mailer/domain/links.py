"""Links in rendered HTML that would run code instead of leading somewhere."""

import re
from html import unescape

_ATTRIBUTE = re.compile(
    r"""\b(?:href|src|action|formaction|background|poster|data|cite)\s*=\s*("[^"]*"|'[^']*'|[^\s>"']+)""", re.IGNORECASE
)
_IGNORED = re.compile(r"[\x00-\x20\x7f-\xa0\u00ad\u200b-\u200f\u2028\u2029\ufeff]+")
_RUNS_CODE = (
    "javascript:",
    "vbscript:",
    "livescript:",
    "data:text/html",
    "data:text/xml",
    "data:image/svg",
    "data:application",
)


def disarm(html: str) -> str:
    """The HTML with the address of every link that runs code (`javascript:` and its kin, also disguised) made `#`."""
    return _ATTRIBUTE.sub(_disarmed, html)


def _disarmed(attribute: re.Match[str]) -> str:
    value = attribute.group(1)
    # Nearly every address begins like this; entities and blanks, which browsers skip, need the closer look.
    if value[:6].lower() in ('"https', "'https", '"http:', "'http:", '"mailt'):
        return attribute.group()
    address = _IGNORED.sub("", unescape(value.strip("\"'"))).lower()
    if not address.startswith(_RUNS_CODE):
        return attribute.group()
    return attribute.group()[: -len(value)] + '"#"'
