"""The second factor over HTTP."""

from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.identity import Identity
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid
from tenants.access_tokens import AccessTokens
from tenants.api.auth import NOT_STORED, Password, SessionData, Token, data_of
from tenants.api.caller import caller_of, person_of
from tenants.api.envelopes import Answer, Done
from tenants.api.seed_errors import seed_errors
from tenants.api.session_cookies import CookieTerms, session_cookies
from tenants.domain.sign_in import SignInTerms
from tenants.passwords import Passwords
from tenants.usecases.disable_second_factor import disable_second_factor
from tenants.usecases.enable_second_factor import enable_second_factor
from tenants.usecases.pass_second_factor import pass_second_factor
from tenants.usecases.set_up_second_factor import set_up_second_factor

Code = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class EnableCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code of the authenticator."""

    code: Code


class CodeOrRecovery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code of the authenticator, or a recovery code; one of the two."""

    code: Code | None = None
    recovery_code: Code | None = msgspec.field(default=None, name="recoveryCode")

    def check(self) -> None:
        """Nothing, for exactly one of them. Raises Invalid."""
        if (self.code is None) == (self.recovery_code is None):
            raise Invalid("Either code or recoveryCode is needed.", errors=[FieldError("$.code", "one of the two")])


class Disabling(CodeOrRecovery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password, and a code."""

    password: Password


class ChallengeCode(CodeOrRecovery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The challenge that signing in answered, and a code."""

    challenge_token: Token = msgspec.field(name="challengeToken")
    cookie: Annotated[bool, msgspec.Meta(description="Also set the cookies `jwt` and `refresh_token`.")] = False


class SetupData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the authenticator takes: the secret to type, or the URL as a QR code."""

    secret: str
    otpauth_url: str


class RecoveryData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Codes for whoever loses the authenticator; each works once, and they are shown once."""

    recovery_codes: list[str]


@post("/auth/2fa/setup", status_code=200, exception_handlers=seed_errors("002"))
async def setup(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
) -> Response[Answer[SetupData]]:
    """A secret for the caller's authenticator. It protects nothing before `/auth/2fa/enable` has seen a code of it."""
    async with platform_transaction(db) as conn:
        made = await set_up_second_factor(conn, person_of(identity), box=box, now=clock())
    return Response(Answer(data=SetupData(secret=made.secret, otpauth_url=made.uri)), headers=NOT_STORED)


@post("/auth/2fa/enable", status_code=200, exception_handlers=seed_errors("002"))
async def enable(
    data: JSONBody[EnableCode],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
) -> Response[Answer[RecoveryData]]:
    """Signing in takes a code from now on."""
    codes = await enable_second_factor(
        db,
        person_of(identity),
        data.code,
        tenant_id=identity.tenant_id,
        box=box,
        caller=caller_of(request),
        now=clock(),
    )
    return Response(
        Answer(message="Two-factor authentication enabled", data=RecoveryData(recovery_codes=codes)),
        headers=NOT_STORED,
    )


@post("/auth/2fa/disable", status_code=200, exception_handlers=seed_errors("002"))
async def disable(
    data: JSONBody[Disabling],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    passwords: NamedDependency[Passwords],
    box: NamedDependency[SecretBox],
) -> Done:
    """Signing in takes the password alone from now on."""
    data.check()
    await disable_second_factor(
        db,
        person_of(identity),
        data.password,
        code=data.code,
        recovery_code=data.recovery_code,
        tenant_id=identity.tenant_id,
        passwords=passwords,
        box=box,
        caller=caller_of(request),
        now=clock(),
    )
    return Done(message="Two-factor authentication disabled")


@post("/auth/2fa/verify", status_code=200, exception_handlers=seed_errors("002"))
async def verify_code(
    data: JSONBody[ChallengeCode],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    tokens: NamedDependency[AccessTokens],
    sign_in_terms: NamedDependency[SignInTerms],
    cookie_terms: NamedDependency[CookieTerms],
) -> Response[Answer[SessionData]]:
    """Ends a sign-in that was answered by a challenge."""
    data.check()
    now = clock()
    session = await pass_second_factor(
        db,
        data.challenge_token,
        code=data.code,
        recovery_code=data.recovery_code,
        box=box,
        tokens=tokens,
        terms=sign_in_terms,
        caller=caller_of(request),
        now=now,
    )
    return Response(
        Answer(message="Login successful", data=data_of(session)),
        headers=NOT_STORED,
        cookies=session_cookies(session, cookie_terms, now) if data.cookie else [],
    )


ROUTES = [setup, enable, disable, verify_code]
