"""Makes somebody an administrator of the platform, who need not have an account yet."""

from datetime import datetime

import msgspec

from chassis.db import Connection
from contracts.errors import Conflict
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.identifiers import new_id
from tenants.domain.people import User, UserStatus, has_strangers_password, is_barred, new_user
from tenants.domain.terms import Terms
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.drop_strangers_password import drop_strangers_password
from tenants.usecases.tell_deed import tell_deed
from tenants.usecases.tell_person import tell_person
from tenants.usecases.welcome_user import welcome_user


class Appointment(msgspec.Struct, frozen=True, kw_only=True):
    """The administrator as stored, and what was done: an account made, the power given, a link mailed."""

    user: User
    is_new: bool
    is_changed: bool
    is_mailed: bool


async def appoint_administrator(
    conn: Connection, email: str, name: str, *, by: Doer, terms: Terms, now: datetime
) -> Appointment:
    """Who has that address administers the platform, from their next sign-in on; `name` is for a new account.

    Their memberships stay. Whoever has no password gets a mail with a link to choose one, once: while that link works,
    appointing them again does nothing. They are active before they used it, so that one who lost the mail gets another
    by asking for a new password. In a platform transaction. Raises Conflict for who was shut out.
    """
    fresh = _appointed(new_user(new_id(now), email, name, now))
    user = await store.users.insert_user(conn, fresh)
    if is_barred(user):
        raise Conflict(f"The account of {email} is {user.status.value}.", code="account_inactive")
    is_new = user.id == fresh.id
    is_changed = is_new or user != _appointed(user) or has_strangers_password(user)
    if is_new:
        await tell_person(conn, user, now=now, is_new=True)
    elif is_changed:
        user = await drop_strangers_password(conn, user, now=now)
        user = await call_back_tokens(conn, _appointed(user), why="administrator_appointed", now=now)
    is_mailed = user.password_hash is None and (
        is_changed or not await store.links.has_open_link(conn, user.id, "set_password", now)
    )
    if is_mailed:
        await welcome_user(conn, user, None, terms=terms, now=now)
    if is_changed:
        await tell_deed(
            conn, PLATFORM_TENANT_ID, "administrator.appointed", by=by, kind="user", target_id=user.id, now=now
        )
    return Appointment(user=user, is_new=is_new, is_changed=is_changed, is_mailed=is_mailed)


def _appointed(user: User) -> User:
    return msgspec.structs.replace(user, is_platform_admin=True, status=UserStatus.ACTIVE)
