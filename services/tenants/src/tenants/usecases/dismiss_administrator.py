"""Takes the administration of the platform from somebody."""

from datetime import datetime

import msgspec

from chassis.db import Connection
from contracts.errors import NotFound
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.doers import Doer
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.tell_deed import tell_deed


async def dismiss_administrator(conn: Connection, email: str, *, by: Doer, now: datetime) -> bool:
    """Whether they were one. Their sign-ins are ended and their tokens called back; account and memberships stay.

    In a platform transaction. Raises NotFound for an address that nobody has.
    """
    found = await store.users.find_user_by_email(conn, email)
    if found is None:
        raise NotFound(f"nobody here has the address {email}")
    user = await store.users.lock_user(conn, found.id)
    if not user.is_platform_admin:
        return False
    user = msgspec.structs.replace(user, is_platform_admin=False)
    await call_back_tokens(conn, user, why="administrator_dismissed", now=now, everywhere=True)
    await tell_deed(conn, PLATFORM_TENANT_ID, "administrator.dismissed", by=by, kind="user", target_id=user.id, now=now)
    return True
