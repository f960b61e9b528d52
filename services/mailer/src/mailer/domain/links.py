"""Links in rendered HTML that would run code instead of leading somewhere."""

import re
from html import unescape

#: A value that begins like one of `_RUNS_CODE`, or is disguised by an entity. It starts at the `=`, which is rare in
#: text, so that an honest mail costs next to nothing.
_VALUE = re.compile(
    r"""=\s*(?=["']?[\x00-\x20\x7f-\xa0\u00ad\u200b-\u200f\u2028\u2029\ufeff]*[jvld&])("[^"]*"|'[^']*'|[^\s>"']+)""",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:href|src|action|formaction|background|poster|data|cite)\s*\Z", re.IGNORECASE)
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
    return _VALUE.sub(_disarmed, html)


def _disarmed(attribute: re.Match[str]) -> str:
    value = attribute.group(1)
    address = _IGNORED.sub("", unescape(value.strip("\"'"))).lower()
    start = attribute.start()
    if not address.startswith(_RUNS_CODE) or not _NAME.search(attribute.string, max(0, start - 20), start):
        return attribute.group()
    return attribute.group()[: -len(value)] + '"#"'
