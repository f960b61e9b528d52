"""Mail addresses of payers: one mailbox each, in the one spelling by which the same person is found again."""

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
