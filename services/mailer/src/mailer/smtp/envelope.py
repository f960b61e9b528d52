"""One mail as it goes over the wire: no address and no line of it can become a command."""

import re
from collections.abc import Sequence

import msgspec

from contracts.errors import FieldError, Invalid

_UNSAFE_IN_COMMAND = re.compile(r"[\x00-\x20\x7f-\x9f<>\u2028\u2029\ud800-\udfff]")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Envelope(msgspec.Struct, frozen=True):
    """The addresses, and the message as it goes after DATA."""

    sender: str
    to: tuple[str, ...]
    content: bytes

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address is outside ASCII."""
        return not (self.sender.isascii() and "".join(self.to).isascii())


def seal(sender: str, to: Sequence[str], raw: bytes) -> Envelope:
    """The message, ready to be sent. Raises Invalid for an address that cannot stand in an SMTP command."""
    if not to or any(_UNSAFE_IN_COMMAND.search(email) for email in (sender, *to)):
        raise Invalid(
            "an address cannot stand in an SMTP command", errors=[FieldError("to", "is not one mail address")]
        )
    return Envelope(sender, tuple(to), _stuffed(raw))


def _stuffed(raw: bytes) -> bytes:
    """CRLF only (a bare end could smuggle an end of data), dots doubled, and the end of data."""
    if not raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r"):
        raw = _LINE_END.sub(b"\r\n", raw)
    if b"\r\n." in raw or raw.startswith(b"."):
        raw = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]
    return raw + (b".\r\n" if raw.endswith(b"\r\n") else b"\r\n.\r\n")
