"""Writes again to somebody who has not chosen a password yet."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.errors import Conflict
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.people import UserStatus, is_barred
from tenants.domain.terms import Terms
from tenants.usecases.drop_strangers_password import drop_strangers_password
from tenants.usecases.tell_deed import tell_deed
from tenants.usecases.welcome_user import welcome_user


async def resend_welcome(
    conn: Connection, tenant_id: UUID, user_id: UUID, *, by: Doer, terms: Terms, now: datetime
) -> None:
    """A new link is on its way, the old one good for nothing. In a platform transaction.

    Raises NotFound, and Conflict for whoever may sign in already or was shut out.
    """
    await store.memberships.get_membership(conn, tenant_id, user_id)
    user = await store.users.lock_user(conn, user_id)
    membership = await store.memberships.get_membership(conn, tenant_id, user_id)
    if user.status is not UserStatus.PENDING or is_barred(user, membership):
        raise Conflict("There is nobody waiting for a password here.", code="not_pending")
    user = await drop_strangers_password(conn, user, now=now)
    tenant = await store.tenants.get_tenant(conn, tenant_id)
    await welcome_user(conn, user, tenant, terms=terms, now=now)
    await tell_deed(conn, tenant_id, "user.welcomed_again", by=by, kind="user", target_id=user_id, now=now)
