"""Messages as bytes, built by hand (the standard library is 100 times slower); header injection is impossible."""

import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from uuid import UUID

from contracts.errors import FieldError, Invalid
from mailer.domain.addresses import Address, has_controls

#: An encoded word is at most 75 octets (RFC 2047 2): `=?utf-8?b?` + 60 + `?=`, so 45 octets of text.
_WORD_OCTETS = 45
_FOLD_AT = 76
#: RFC 5322 2.1.1 allows 998 octets in a line; a longer unbreakable word is sent as encoded words.
_LONGEST_WORD = 900
_PLAIN_WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_LINE_END = re.compile(r"\r\n|\r|\n")
_OWN_HEADERS = frozenset(
    ("from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version", "auto-submitted", "received")
)


def message_id(email_id: UUID, domain: str) -> str:
    """The Message-ID of an e-mail, angle brackets included: the same for every try, so that a repeat is recognisable.

    Raises Invalid when `domain` is not a host name.
    """
    if not _DOMAIN.fullmatch(domain):
        raise _refused("sender_email", "has a domain that cannot stand in a Message-ID")
    return f"<{email_id}@{domain}>"


def build_message(
    *,
    message_id: str,
    date: datetime,
    sender: Address,
    recipients: Sequence[Address],
    subject: str,
    html: str,
    text: str,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """One message with a text and an HTML part; every recipient stands in `To`, so all of them see each other.

    The lines end in CRLF and are short; dots are not yet stuffed. `date` is aware.

    Raises Invalid for a control character in any header, no recipient, or a header that is the mailer's own.
    """
    if not recipients:
        raise _refused("to", "names no recipient")
    _checked(message_id, "message_id")
    # `=_` occurs in neither quoted-printable nor base64 text, so no body can hold the boundary (RFC 2045 6.7).
    boundary = "=_" + hashlib.sha256(message_id.encode()).hexdigest()[:32]
    lines = [
        f"Date: {format_datetime(date)}",
        f"From: {_mailbox(sender, 6)}",
        f"To: {_mailboxes(recipients)}",
        f"Subject: {_unstructured(_checked(subject, 'subject'), 9)}",
        f"Message-ID: {message_id}",
        "MIME-Version: 1.0",
        "Auto-Submitted: auto-generated",
    ]
    for name, value in (headers or {}).items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS or name.lower().startswith("content-"):
            raise _refused("headers", f"may not set {name[:64]!r}")
        lines.append(f"{name}: {_unstructured(_checked(value, 'headers'), len(name) + 2)}")
    lines.append(f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n')
    separator = f"--{boundary}\r\n".encode()
    return b"".join(
        (
            "\r\n".join(lines).encode(),
            separator,
            _part("plain", text),
            b"\r\n",
            separator,
            _part("html", html),
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def _part(subtype: str, body: str) -> bytes:
    data = _LINE_END.sub("\r\n", body).encode(errors="replace")
    # Quoted-printable stays readable; past one octet in six outside ASCII, base64 is the shorter one.
    if body.isascii() or len(data) - len(data.translate(None, _HIGH_OCTETS)) < len(data) // 6:
        encoding, encoded = "quoted-printable", binascii.b2a_qp(data)
        if b"\r\n" not in data:
            # b2a_qp breaks lines as the text does, and this text has none to copy.
            encoded = encoded.replace(b"\n", b"\r\n")
    else:
        line = binascii.b2a_base64(data, newline=False)
        encoding, encoded = "base64", b"\r\n".join([line[i : i + 76] for i in range(0, len(line), 76)])
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + encoded


_HIGH_OCTETS = bytes(range(128, 256))


def _checked(value: str, field: str) -> str:
    if has_controls(value):
        raise _refused(field, "holds a control character or a line break")
    return value


def _unstructured(value: str, column: int) -> str:
    """The value as header text, folded; `column` octets are already on the line.

    Text that looks like an encoded word is itself encoded: decoded once it shows as given, and never as a line break.
    """
    if len(value) + column <= _FOLD_AT and _PLAIN_WORDS.fullmatch(value) and "=?" not in value:
        return value
    if _PLAIN_WORDS.fullmatch(value) and "=?" not in value:
        words = value.split(" ")
        if max(map(len, words)) <= _LONGEST_WORD:
            return _fold(words, column)
    return _encoded_words(value)


def _fold(words: Sequence[str], column: int) -> str:
    out = [words[0]]
    column += len(words[0])
    for word in words[1:]:
        if column + 1 + len(word) > _FOLD_AT:
            out.append("\r\n " + word)
            column = 1 + len(word)
        else:
            out.append(" " + word)
            column += 1 + len(word)
    return "".join(out)


def _encoded_words(value: str) -> str:
    if not value:
        return ""
    words, start, octets = [], 0, 0
    for index, char in enumerate(value):
        size = len(char.encode())
        if octets + size > _WORD_OCTETS:
            words.append(value[start:index])
            start, octets = index, 0
        octets += size
    words.append(value[start:])
    return "\r\n ".join(f"=?utf-8?b?{binascii.b2a_base64(word.encode(), newline=False).decode()}?=" for word in words)


def _mailboxes(recipients: Sequence[Address]) -> str:
    return ",\r\n ".join(_mailbox(recipient, 4) for recipient in recipients)


def _mailbox(address: Address, column: int) -> str:
    email = _checked(address.email, "to")
    if any(char in email for char in ' ,;<>()"\\') or email.count("@") != 1:
        raise _refused("to", "is not one mail address")
    if not address.name:
        return email
    name = _checked(address.name, "to")
    if "=?" in name or not _PLAIN_WORDS.fullmatch(name) or len(name) > _LONGEST_WORD:
        shown = _encoded_words(name)
    elif _ATOMS.fullmatch(name):
        shown = name
    else:
        shown = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    gap = "\r\n " if column + len(shown) + len(email) > _FOLD_AT else " "
    return f"{shown}{gap}<{email}>"


def _refused(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", code="invalid_mail", errors=[FieldError(field, message)])
