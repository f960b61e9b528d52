"""Registering, and what is done by links in mails: choosing a password, confirming an address."""

from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from tenants.api.caller import caller_of
from tenants.api.envelopes import Answer, Done
from tenants.api.seed_errors import seed_errors
from tenants.api.user_shapes import LINE
from tenants.domain.sign_in import SignInTerms
from tenants.passwords import Passwords
from tenants.usecases.register_account import register_account
from tenants.usecases.request_password_reset import request_password_reset
from tenants.usecases.reset_password import reset_password
from tenants.usecases.verify_email import verify_email

Email = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
NewPassword = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
LinkToken = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_PASSWORD_SET = "Password reset successfully"  # noqa: S105  # words, no secret


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new account. `role` and `tenantId` are what seed 002's front end also sends; they are never looked at."""

    email: Email
    password: NewPassword
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=LINE)]
    role: Any = None
    tenant_id: Any = msgspec.field(default=None, name="tenantId")


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, as it was asked for: whether there was an account already is for the mailbox to know."""

    email: str
    name: str


class EmailOnly(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose password was forgotten."""

    email: Email


class PasswordOnly(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The new password."""

    password: NewPassword


class TokenAndPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mailed token and the new password."""

    token: LinkToken
    password: NewPassword


@post("/auth/register", status_code=201, exception_handlers=seed_errors("002"))
async def register(
    data: JSONBody[Registration],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    passwords: NamedDependency[Passwords],
    sign_in_terms: NamedDependency[SignInTerms],
) -> Answer[Registered]:
    """Registers an account of no tenant. It is good for nothing before the address is confirmed by the mailed link."""
    await register_account(
        db,
        data.email,
        data.password,
        data.name,
        passwords=passwords,
        terms=sign_in_terms,
        caller=caller_of(request),
        now=clock(),
    )
    return Answer(
        message="Check your e-mail to finish the registration", data=Registered(email=data.email, name=data.name)
    )


@post(["/auth/forgot-password", "/auth/request-password-reset"], status_code=200, exception_handlers=seed_errors("002"))
async def forgot_password(
    data: JSONBody[EmailOnly],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    sign_in_terms: NamedDependency[SignInTerms],
) -> Done:
    """Mails a link to choose a new password by, if there is such an account; says the same if there is none."""
    await request_password_reset(db, data.email, terms=sign_in_terms, caller=caller_of(request), now=clock())
    return Done(message="If the address has an account, a mail with a link is on its way")


@post("/auth/reset-password", status_code=200, exception_handlers=seed_errors("002"))
async def reset_by_body(
    data: JSONBody[TokenAndPassword],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    passwords: NamedDependency[Passwords],
) -> Done:
    """Sets the password of the link's account; its token stands in the body."""
    await reset_password(db, data.token, data.password, passwords=passwords, caller=caller_of(request), now=clock())
    return Done(message=_PASSWORD_SET)


@post("/auth/reset-password/{token:str}", status_code=200, exception_handlers=seed_errors("002"))
async def reset_by_path(
    data: JSONBody[PasswordOnly],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    passwords: NamedDependency[Passwords],
    token: FromPath[str],
) -> Done:
    """Sets the password of the link's account; its token stands in the path."""
    await reset_password(db, token, data.password, passwords=passwords, caller=caller_of(request), now=clock())
    return Done(message=_PASSWORD_SET)


@get("/auth/verify-email/{token:str}", exception_handlers=seed_errors("002"))
async def verify(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    token: FromPath[str],
) -> Done:
    """Confirms the link's address; an account that waited for it is active."""
    async with platform_transaction(db) as conn:
        await verify_email(conn, token, caller=caller_of(request), now=clock())
    return Done(message="Email verified successfully")


ROUTES = [register, forgot_password, reset_by_body, reset_by_path, verify]
