"""Founds a tenant: it is its founder's."""

from datetime import datetime

from chassis.db import Connection
from contracts.errors import Forbidden
from tenants import store
from tenants.domain.companies import Tenant
from tenants.domain.doers import Doer
from tenants.domain.people import MemberStatus, UserStatus, has_strangers_password, new_membership
from tenants.domain.roles import OWNER
from tenants.usecases.save_membership import save_membership
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.tell_deed import tell_deed


async def create_tenant(conn: Connection, tenant: Tenant, *, by: Doer, now: datetime) -> Tenant:
    """The tenant, with whoever founds it as its owner. In a platform transaction.

    A platform administrator without an account of their own founds one that has nobody yet. Raises Conflict for a slug
    that is taken, Forbidden for whoever has no active account here or has a password that others may know.
    """
    founder = None if by.person_id is None else await store.users.find_user(conn, by.person_id)
    if founder is not None:
        founder = await store.users.lock_user(conn, founder.id)
    if by.actor.type != "platform_admin" and (founder is None or founder.status is not UserStatus.ACTIVE):
        raise Forbidden("Only somebody with an active account founds a tenant.", code="unknown_user")
    if founder is not None and has_strangers_password(founder):
        raise Forbidden(
            "Ask for a new password first: whoever gave you this one would come into the new tenant by it.",
            code="own_password_needed",
        )
    stored = await save_tenant(conn, None, tenant, now=now)
    if founder is not None:
        owner = new_membership(founder, tenant.tenant_id, OWNER, MemberStatus.ACTIVE, now)
        await save_membership(conn, None, owner, user=founder, now=now)
    await tell_deed(
        conn,
        tenant.tenant_id,
        "tenant.created",
        by=by,
        kind="tenant",
        target_id=tenant.tenant_id,
        now=now,
        slug=tenant.slug,
    )
    return stored
