"""Mail addresses: one mailbox each, safe to put into a header and into an SMTP command."""

import re
import unicodedata

import msgspec
from email_validator import EmailNotValidError, validate_email

from contracts.errors import FieldError, Invalid

#: RFC 5321 4.5.3.1: 64 octets of local part, 254 of the whole path.
MAX_LOCAL_OCTETS = 64
MAX_ADDRESS_OCTETS = 254
MAX_NAME_CHARS = 200
#: `Name <mailbox>`; the name may be quoted. Everything else (lists, groups, source routes) has no reading here.
_NAMED = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<>"]*?))\s*<([^<>\s]+)>\s*', re.DOTALL)


class Address(msgspec.Struct, frozen=True):
    """A validated mailbox: the domain is ASCII (punycode); only the local part may need SMTPUTF8."""

    email: str
    name: str | None = None

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server that offers SMTPUTF8 can take this mailbox (RFC 6531)."""
        return not self.email.isascii()

    @property
    def domain(self) -> str:
        """The part after the `@`, in ASCII and lower case."""
        return self.email.rpartition("@")[2]


def parse_recipient(email: str, name: str | None = None, *, field: str = "to") -> Address:
    """The one mailbox that `email` names: `ana@example.com`, or `Ana <ana@example.com>` when no `name` is given.

    Refused on purpose, though RFC 5322 allows most of them: lists, groups, source routes, comments, quoted local parts,
    address literals (`a@[127.0.0.1]`), domains without a dot or reserved (`.localhost`, `.invalid`), and control
    characters anywhere.

    Raises Invalid, naming `field`.
    """
    if len(email) > 4 * MAX_ADDRESS_OCTETS or has_controls(email):
        raise _refused(field, "is not one mail address")
    mailbox = email.strip(" ")
    if mailbox.endswith(">"):
        named = _NAMED.fullmatch(mailbox)
        if named is None:
            raise _refused(field, "is not one mail address")
        quoted, plain, mailbox = named.groups()
        name = name or (re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
    try:
        valid = validate_email(
            mailbox,
            allow_smtputf8=True,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            check_deliverability=False,
            # `.test` is what development and the fakes use; no harm can come of trying.
            test_environment=True,
            globally_deliverable=False,
        )
    except (EmailNotValidError, UnicodeError) as refusal:
        raise _refused(field, "is not one mail address") from refusal
    domain = (valid.ascii_domain or "").lower()
    local = valid.local_part
    if domain.rpartition(".")[2].isdigit() or "." not in domain:
        raise _refused(field, "has no domain name")
    address = f"{local}@{domain}"
    if len(local.encode()) > MAX_LOCAL_OCTETS or len(address.encode()) > MAX_ADDRESS_OCTETS:
        raise _refused(field, "is too long")
    return Address(address, clean_name(name, field=field))


def clean_name(name: str | None, *, field: str) -> str | None:
    """A display name with outer and doubled blanks removed; None when nothing is left.

    Raises Invalid for control characters, line separators and lone surrogates, and when it is too long.
    """
    if name is None:
        return None
    if has_controls(name):
        raise _refused(field, "has a name with control characters")
    cleaned = " ".join(name.split())
    if len(cleaned) > MAX_NAME_CHARS:
        raise _refused(field, f"has a name of over {MAX_NAME_CHARS} characters")
    return cleaned or None


def has_controls(text: str) -> bool:
    """Whether the text holds what no header may: C0 and C1 controls, line or paragraph separators, lone surrogates."""
    if text.isascii() and text.isprintable():
        return False
    return any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in text)


def _refused(field: str, message: str) -> Invalid:
    # The value itself stays out of the message: it may be a person's address, and errors are logged.
    return Invalid(f"{field} {message}", code="invalid_address", errors=[FieldError(field, message)])
