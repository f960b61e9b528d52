"""Sign-in, refresh and sign-out, in seed 002's shapes."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.identity import Identity
from contracts.errors import FieldError, Invalid, NotFound, Unauthenticated
from tenants.access_tokens import AccessTokens
from tenants.api import account_links
from tenants.api.caller import caller_of, person_of
from tenants.api.envelopes import Answer, Done
from tenants.api.seed_errors import seed_errors
from tenants.api.session_cookies import CookieTerms, no_cookies, refresh_cookie_of, session_cookies
from tenants.api.user_view import UserView, view_of
from tenants.domain.sign_in import Challenge, Session, SignInTerms
from tenants.passwords import Passwords
from tenants.usecases.refresh_session import refresh_session
from tenants.usecases.sign_in import sign_in
from tenants.usecases.sign_out import sign_out

Email = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
#: What is compared may be of any length that is worth hashing; what is set has bounds of its own.
Password = Annotated[str, msgspec.Meta(max_length=1024)]
Token = Annotated[str, msgspec.Meta(max_length=1024)]
#: Tokens are for the caller alone, whatever stands between.
NOT_STORED = {"Cache-Control": "no-store"}


class TenantChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the person's tenants, in either spelling; none: the first one."""

    tenant_id: UUID | None = None
    camel_tenant_id: UUID | None = msgspec.field(default=None, name="tenantId")
    cookie: Annotated[bool, msgspec.Meta(description="Also set the cookies `jwt` and `refresh_token`.")] = False

    @property
    def tenant(self) -> UUID | None:
        """The tenant that is meant. Raises Invalid for two."""
        if None not in (self.tenant_id, self.camel_tenant_id) and self.tenant_id != self.camel_tenant_id:
            raise Invalid("Two tenants are named.", errors=[FieldError("$.tenantId", "differs from tenant_id")])
        return self.tenant_id or self.camel_tenant_id


class Login(TenantChoice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants to come in."""

    email: Email
    password: Password


class Refresh(TenantChoice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The refresh token, in either spelling, where it does not come as a cookie."""

    refresh_token: Token | None = None
    camel_refresh_token: Token | None = msgspec.field(default=None, name="refreshToken")


class Logout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sign-in ends; with `all`, every one of the person's, and every token issued so far."""

    refresh_token: Token | None = None
    camel_refresh_token: Token | None = msgspec.field(default=None, name="refreshToken")
    all: bool = False


class SessionData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who came in, and their tokens."""

    user: UserView
    access_token: str
    refresh_token: str


class ChallengeData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The password was right; `/auth/2fa/verify` wants this token and a code."""

    two_factor_required: bool
    challenge_token: str


class TokenData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The next pair of tokens."""

    access_token: str
    refresh_token: str


@post("/auth/login", status_code=200, exception_handlers=seed_errors("002"))
async def login(
    data: JSONBody[Login],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    passwords: NamedDependency[Passwords],
    tokens: NamedDependency[AccessTokens],
    sign_in_terms: NamedDependency[SignInTerms],
    cookie_terms: NamedDependency[CookieTerms],
) -> Response[Answer[SessionData | ChallengeData]]:
    """Signs in. An account with a second factor gets a challenge instead of tokens."""
    now = clock()
    outcome = await sign_in(
        db,
        data.email,
        data.password,
        tenant_id=data.tenant,
        passwords=passwords,
        tokens=tokens,
        terms=sign_in_terms,
        caller=caller_of(request),
        now=now,
    )
    if isinstance(outcome, Challenge):
        challenge = ChallengeData(two_factor_required=True, challenge_token=outcome.token)
        return Response(Answer(message="Second factor required", data=challenge), headers=NOT_STORED)
    return Response(
        Answer(message="Login successful", data=data_of(outcome)),
        headers=NOT_STORED,
        cookies=session_cookies(outcome, cookie_terms, now) if data.cookie else [],
    )


@post(["/auth/refresh", "/auth/refresh-token"], status_code=200, exception_handlers=seed_errors("002"))
async def refresh(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    tokens: NamedDependency[AccessTokens],
    cookie_terms: NamedDependency[CookieTerms],
    data: JSONBody[Refresh | None] = None,
) -> Response[Answer[TokenData]]:
    """Rotates the refresh token. Each is good once: one that comes again after ten seconds ends the sign-in.

    Until then, and while the new one is unspent, it is answered with that same new one: two tabs may refresh at once.

    The new tokens also come as cookies where the old one did.
    """
    now, body = clock(), data or Refresh()
    given = body.refresh_token or body.camel_refresh_token
    held = None if given else refresh_cookie_of(request)
    if not given and not held:
        raise Unauthenticated("A refresh token is needed.", code="invalid_refresh_token")
    session = await refresh_session(
        db, given or held or "", tenant_id=body.tenant, tokens=tokens, caller=caller_of(request), now=now
    )
    pair = TokenData(access_token=session.access_token, refresh_token=session.refresh_token)
    return Response(
        Answer(data=pair),
        headers=NOT_STORED,
        cookies=session_cookies(session, cookie_terms, now) if held or body.cookie else [],
    )


@post("/auth/logout", status_code=200, exception_handlers=seed_errors("002"))
async def logout(
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    cookie_terms: NamedDependency[CookieTerms],
    data: JSONBody[Logout | None] = None,
) -> Response[Done]:
    """Ends the refresh token's sign-in and removes the cookies. Without a token, ends every sign-in of the caller."""
    body = data or Logout()
    async with platform_transaction(db) as conn:
        await sign_out(
            conn,
            refresh_token=body.refresh_token or body.camel_refresh_token or refresh_cookie_of(request),
            user_id=_known(identity),
            tenant_id=identity.tenant_id,
            everywhere=body.all,
            caller=caller_of(request),
            now=clock(),
        )
    return Response(Done(message="Logged out"), headers=NOT_STORED, cookies=no_cookies(cookie_terms))


def data_of(session: Session) -> SessionData:
    """What a sign-in answers."""
    return SessionData(
        user=view_of(session.user, session.seat),
        access_token=session.access_token,
        refresh_token=session.refresh_token,
    )


def _known(identity: Identity) -> UUID | None:
    try:
        return person_of(identity)
    except (Unauthenticated, NotFound):
        return None


ROUTES = [login, refresh, logout, *account_links.ROUTES]
