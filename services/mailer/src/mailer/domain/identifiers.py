"""Ids that sort by the moment of their making (UUID version 7), and the opaque cursors that page by them."""

import base64
import binascii
import secrets
from datetime import datetime
from uuid import UUID

from contracts.errors import FieldError, Invalid


def new_id(now: datetime) -> UUID:
    """A fresh UUIDv7 of that millisecond."""
    return UUID(int=_version_7(now, secrets.randbits(74)))


def first_id_at(moment: datetime) -> UUID:
    """The smallest id that `new_id` could have made in that millisecond: turns a time filter into an index range."""
    return UUID(int=_version_7(moment, 0))


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


def _version_7(moment: datetime, random_bits: int) -> int:
    """RFC 9562, section 5.7: 48 bits of milliseconds, version, 12 random bits, variant, 62 random bits."""
    milliseconds = max(0, int(moment.timestamp() * 1000))  # nothing was made before 1970
    return (milliseconds << 80) | (0x7 << 76) | (random_bits >> 62 << 64) | (0b10 << 62) | (random_bits & (1 << 62) - 1)
