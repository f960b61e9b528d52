"""Where a payer is sent back to: only to hosts that are known, so that our pages and mails redirect to no stranger."""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from contracts.errors import FieldError, Invalid

MAX_URL_CHARS: Final = 2048
#: Stripe's own word for its session's id in a URL, which it fills in; elsewhere the order's id stands for it.
SESSION_ID: Final = "{CHECKOUT_SESSION_ID}"
#: What RFC 3986 lets stand in a URL. A backslash is a slash to browsers, and braces stand for nothing else here.
_PLAIN: Final = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%-]+")


def check_return_url(url: str, hosts: Collection[str], *, field: str) -> str:
    """`url` itself. Raises Invalid, naming `field`, unless it is an http(s) URL of one of `hosts`."""
    reason = _fault(url, hosts)
    if reason is not None:
        raise Invalid(f"{field} {reason}.", code="invalid_return_url", errors=[FieldError(field, reason)])
    return url


def named_session(url: str, name: str) -> str:
    """`url` for a provider that fills in no session id of its own: `name` stands where Stripe's would."""
    return url.replace(SESSION_ID, name)


def asking_for_session(url: str) -> str:
    """`url`, to come back with `?session_id=`, which the seeds' success pages read."""
    if SESSION_ID in url:
        return url
    address, hash_sign, fragment = url.partition("#")
    mark = "&" if "?" in address else "?"
    return f"{address}{mark}session_id={SESSION_ID}{hash_sign}{fragment}"


def _fault(url: str, hosts: Collection[str]) -> str | None:
    if len(url) > MAX_URL_CHARS:
        return f"is longer than {MAX_URL_CHARS} characters"
    if not _PLAIN.fullmatch(url.replace(SESSION_ID, "")):
        return "has a character that no URL has"
    try:
        parts = urlsplit(url)
        host, has_user = parts.hostname, "@" in parts.netloc
        _ = parts.port  # raises for one that is no number
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "is not an http(s) URL"
    if has_user or SESSION_ID in parts.netloc or host not in hosts:
        return "is of a host that payers are not sent to"
    return None
