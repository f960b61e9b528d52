"""Ids that sort by the moment of their making (UUID version 7), and the opaque cursors that page by them."""

import base64
import binascii
import secrets
from datetime import datetime
from uuid import UUID

from contracts.errors import FieldError, Invalid


def new_id(now: datetime) -> UUID:
    """A fresh UUIDv7 of that millisecond (RFC 9562, section 5.7)."""
    milliseconds = max(0, int(now.timestamp() * 1000))
    bits = secrets.randbits(74)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (bits >> 62 << 64) | (0b10 << 62) | (bits & (1 << 62) - 1))


def cursor_after(last: UUID) -> str:
    """What a client sends back to read on after `last`."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def read_cursor(cursor: str) -> UUID:
    """The id that a cursor continues after. Raises Invalid for one that `cursor_after` did not make."""
    try:
        last = UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        last = None
    if last is None or cursor_after(last) != cursor:
        raise Invalid("the cursor is not one of ours", code="bad_cursor", errors=[FieldError("cursor", "unknown")])
    return last
