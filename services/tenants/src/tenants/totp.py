"""Second factors by time (RFC 6238): 30-second steps, six digits, a step before and after taken too, each step once."""

import hmac
from datetime import datetime
from typing import Final

import pyotp

STEP_S: Final = 30
_WINDOW: Final = 1


def new_secret() -> str:
    """A secret of 160 bits in base32."""
    return pyotp.random_base32(32)


def provisioning_uri(secret: str, *, email: str, issuer: str) -> str:
    """What an authenticator reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def matching_step(secret: str, code: str, *, after_step: int, now: datetime) -> int | None:
    """The time step that the code is of, if it is newer than `after_step`; None for a wrong, late or used code."""
    current = int(now.timestamp()) // STEP_S
    totp = pyotp.TOTP(secret)
    given = code.strip().encode("utf-8", "surrogatepass")
    found: int | None = None
    for step in range(current - _WINDOW, current + _WINDOW + 1):
        if hmac.compare_digest(totp.at(step * STEP_S).encode(), given) and step > after_step:
            found = step
    return found
