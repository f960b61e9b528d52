"""What may be a password: long enough, one spelling of each letter, and not what everybody tries first."""

import unicodedata
from typing import Final

from contracts.errors import FieldError, Invalid

MIN_CHARS: Final = 10
MAX_CHARS: Final = 200

#: The commonest of leaked passwords that are long enough to pass otherwise, and what Brazilians add to them.
_COMMONEST: Final = """
    1234567890 0123456789 12345678910 123456789a 123456789q 1q2w3e4r5t 1qaz2wsx3edc 1234567891 0987654321 1111111111
    0000000000 9876543210 123123123123 1122334455 1212121212 11111111111 12345678901 qwertyuiop qwerty1234 qwerty12345
    qwerty123456 qwertyuiop123 asdfghjkl1 asdfghjkl; zxcvbnm123 q1w2e3r4t5 q1w2e3r4t5y6 password12 password123
    password1234 password12345 passw0rd123 p@ssw0rd123 p@ssword123 password1! password123! iloveyou12 iloveyou123
    iloveyou1234 letmein123 letmein1234 welcome123 welcome1234 welcome123! administrator admin12345 admin123456
    adminadmin admin@1234 changeme123 changeme1234 football123 baseball123 superman123 princess123 sunshine123
    michael123 jordan2323 abc1234567 abcd1234567 abcdefghij abcdefghijk aaaaaaaaaa a123456789 a1234567890
    senha12345 senha123456 senha1234567 minhasenha minhasenha123 mudar12345 mudar@123456 brasil1234 brasil12345
    flamengo123 flamengo10 corinthians corinthians1 palmeiras1 palmeiras10 saopaulo123 teamo12345 teamo1234567
    gohorse123 backoffice backoffice1 backoffice123
"""
_COMMON: Final = frozenset(_COMMONEST.split())


def normal_password(password: str) -> str:
    """The password as it is hashed and compared: composed (NFC), so that every keyboard types the same one."""
    return unicodedata.normalize("NFC", password)


def accepted_password(password: str, *, email: str | None) -> str:
    """The normal form of a password that may be set. Raises Invalid, saying what is wrong with it."""
    normal = normal_password(password)
    if len(normal) < MIN_CHARS:
        raise _refused(f"needs at least {MIN_CHARS} characters")
    if len(normal) > MAX_CHARS:
        raise _refused(f"may have {MAX_CHARS} characters")
    folded = normal.strip().casefold()
    if folded in _COMMON:
        raise _refused("is one of the commonest there are")
    if email is not None and folded in (email.casefold(), email.partition("@")[0].casefold()):
        raise _refused("is the e-mail address")
    return normal


def _refused(what: str) -> Invalid:
    return Invalid(f"The password {what}.", code="bad_password", errors=[FieldError("$.password", what)])
