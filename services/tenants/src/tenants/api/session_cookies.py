"""The cookies of a session: `jwt` for every route, `refresh_token` for where it is refreshed or ended.

A script never reads them, and the gateway passes the second one on to those routes only, from pages of known origins.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from tenants.domain.sign_in import Session

ACCESS = "jwt"  # seed 000's name
REFRESH = "refresh_token"
#: Every route is mounted twice, and a cookie has one path.
_REFRESH_PATHS = ("/auth", "/api/auth")


class CookieTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How browsers are told to keep them."""

    secure: bool
    same_site: Literal["lax", "strict", "none"]
    access_lifetime_s: int


def session_cookies(session: Session, terms: CookieTerms, now: datetime) -> list[Cookie]:
    """What sets them."""
    left_s = max(0, int((session.refresh_expires_at - now).total_seconds()))
    return [
        _cookie(ACCESS, session.access_token, "/", terms.access_lifetime_s, terms),
        *(_cookie(REFRESH, session.refresh_token, path, left_s, terms) for path in _REFRESH_PATHS),
    ]


def no_cookies(terms: CookieTerms) -> list[Cookie]:
    """What removes them."""
    return [_cookie(ACCESS, "", "/", 0, terms), *(_cookie(REFRESH, "", path, 0, terms) for path in _REFRESH_PATHS)]


def refresh_cookie_of(request: Request[Any, Any, Any]) -> str | None:
    """The refresh token that the browser holds; None for two that differ, since one of them was planted."""
    found = {
        value
        for header in request.headers.getall("cookie", [])
        for name, separator, value in (pair.strip().partition("=") for pair in header.split(";"))
        if separator and name == REFRESH and value
    }
    return found.pop() if len(found) == 1 else None


def _cookie(name: str, value: str, path: str, max_age_s: int, terms: CookieTerms) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        path=path,
        max_age=max_age_s,
        secure=terms.secure,
        httponly=True,
        samesite=terms.same_site,
    )
