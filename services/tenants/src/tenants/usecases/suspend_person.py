"""Shuts a person out everywhere, whatever tenants they belong to."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import Conflict
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.people import User, UserStatus, refuse_to_suspend
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.tell_deed import tell_deed

_LINKS: Final = ["set_password", "reset_password", "verify_email", "two_factor"]


async def suspend_person(conn: Connection, user_id: UUID, reason: str, *, by: Doer, now: datetime) -> User:
    """The person as stored. Every sign-in, token and link of theirs is good for nothing any more; nobody else's is.

    In a platform transaction. The reason stands in the platform's log, that it happened in their tenants' too. Raises
    NotFound; Conflict for one's own account, and for who is suspended or erased already.
    """
    user = await store.users.lock_user(conn, user_id)
    if by.person_id == user_id:
        raise Conflict("Nobody shuts themselves out.", code="own_account")
    refuse_to_suspend(user)
    user = msgspec.structs.replace(user, status=UserStatus.SUSPENDED)
    user = await call_back_tokens(conn, user, why="suspended", now=now, everywhere=True)
    await store.links.spend_links(conn, user_id, _LINKS, now)
    homes = [one.tenant_id for one in await store.memberships.list_of_user(conn, user_id)]
    for tenant_id, told in ((PLATFORM_TENANT_ID, reason[:200]), *((home, None) for home in homes)):
        await tell_deed(conn, tenant_id, "user.suspended", by=by, kind="user", target_id=user_id, now=now, reason=told)
    return user
