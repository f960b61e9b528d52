"""Secrets that we hand out once and keep as hashes: refresh tokens, links in mails, API keys, recovery codes."""

import hashlib
import re
import secrets
from typing import Final

#: Seed 002's own prefix; 64 hex digits follow, 256 bits.
API_KEY_PREFIX: Final = "nxs_"
_API_KEY: Final = re.compile(r"nxs_[0-9a-f]{64}")
_SHOWN: Final = 10
_RECOVERY_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that is read for something else


def new_token() -> str:
    """An opaque token of 256 bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def new_api_key() -> str:
    """An API key, to be shown once."""
    return API_KEY_PREFIX + secrets.token_hex(32)


def is_api_key(text: str) -> bool:
    """Whether it has an API key's shape."""
    return _API_KEY.fullmatch(text) is not None


def shown_part(api_key: str) -> str:
    """What of an API key may be shown, so that its owner tells it from others."""
    return api_key[:_SHOWN]


def sha256_of(token: str) -> bytes:
    """What of it is stored. No salt and no stretching: nobody guesses 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def new_recovery_codes(count: int = 10) -> list[str]:
    """Codes of 50 bits, as `xxxxx-xxxxx`."""
    return [
        "-".join("".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(5)) for _ in range(2)) for _ in range(count)
    ]


def recovery_code_normal(text: str) -> str:
    """A code as it is stored, however it was typed."""
    letters = re.sub(r"[^0-9a-z]", "", text.lower())
    return f"{letters[:5]}-{letters[5:]}"
