"""E-mail addresses as they are stored and compared: lower case, checked by a library, one spelling each."""

import unicodedata

from email_validator import EmailNotValidError, validate_email

from contracts.errors import FieldError, Invalid

MAX_CHARS = 254


def normal_email(text: str, *, field: str = "email") -> str:
    """The address in lower case, its domain in its usual spelling. Raises Invalid naming `field`."""
    try:
        found = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False)
    except (EmailNotValidError, UnicodeError) as error:
        message = str(error).splitlines()[0]
        raise Invalid(
            f"{field} is not an e-mail address", code="bad_email", errors=[FieldError(f"$.{field}", message)]
        ) from None
    return found.normalized.lower()


def one_line(text: str) -> str:
    """The text as the header of a mail can hold it: control characters and line separators are blanks, and single."""
    plain = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    return " ".join(plain.split())
