"""Lets a person in again who was shut out everywhere."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.people import User, let_in_again
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.tell_deed import tell_deed


async def reactivate_person(conn: Connection, user_id: UUID, reason: str, *, by: Doer, now: datetime) -> User:
    """The person as stored: they sign in anew, and in each tenant they are what they are there.

    In a platform transaction. Raises NotFound, Conflict for who is not suspended.
    """
    user = let_in_again(await store.users.lock_user(conn, user_id))
    user = await call_back_tokens(conn, user, why="reactivated", now=now, everywhere=True)
    homes = [one.tenant_id for one in await store.memberships.list_of_user(conn, user_id)]
    for tenant_id, told in ((PLATFORM_TENANT_ID, reason[:200]), *((home, None) for home in homes)):
        await tell_deed(
            conn, tenant_id, "user.reactivated", by=by, kind="user", target_id=user_id, now=now, reason=told
        )
    return user
