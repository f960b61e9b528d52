"""What payers call themselves: one mailbox each, in the spelling by which they are found again, and a plain name."""

import unicodedata
from typing import Final

from email_validator import EmailNotValidError, validate_email

from contracts.errors import FieldError, Invalid

MAX_EMAIL_CHARS: Final = 254


def read_email(text: str, *, field: str) -> str:
    """The address in lower case. Raises Invalid, naming `field`, for what is not one mailbox that mail can reach."""
    bare = text.strip(" ")
    try:
        if len(bare) > MAX_EMAIL_CHARS:
            raise EmailNotValidError("too long")
        found = validate_email(
            bare,
            allow_smtputf8=False,
            check_deliverability=False,
            # `.test` is what development and the fakes use; no harm can come of trying.
            test_environment=True,
        )
    except (EmailNotValidError, UnicodeError) as refusal:
        # The value itself stays out of the message: errors are logged.
        raise Invalid(
            f"{field} is not a mail address.", code="invalid_email", errors=[FieldError(field, "is not a mail address")]
        ) from refusal
    return found.normalized.lower()


def read_name(text: str | None, *, field: str) -> str | None:
    """The name on one line, blanks joined; None when nothing is left.

    Raises Invalid, naming `field`, for control characters: names get into headers of mails and to providers.
    """
    bare = " ".join((text or "").split())
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in bare):
        raise Invalid(f"{field} is refused.", code="invalid_name", errors=[FieldError(field, "has control characters")])
    return bare or None
