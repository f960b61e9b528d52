"""Finds what a person comes in as: the tenant, the role, and what it allows."""

from uuid import UUID

from chassis.db import Connection
from tenants import store
from tenants.domain.people import User
from tenants.domain.sign_in import GUEST, SUPERADMIN, Seat, choose_belonging


async def choose_seat(conn: Connection, user: User, wanted: UUID | None) -> Seat:
    """The seat in the tenant `wanted`, else the person's first one; in a platform transaction.

    Raises Forbidden for a tenant that the person may not act in, and when none of theirs is active.
    """
    belonging = choose_belonging(user, await store.users.list_belongings(conn, user.id), wanted)
    if belonging is None:
        permissions = [one.key for one in await store.roles.list_permissions(conn)] if user.is_platform_admin else []
        role = SUPERADMIN if user.is_platform_admin else GUEST
        return Seat(tenant_id=None, role=role, granted=[], permissions=permissions, membership=None)
    membership = belonging.membership
    roles = await store.roles.list_roles(conn, membership.tenant_id)
    allowed = next((role.permissions for role in roles if role.name == membership.role), [])
    return Seat(
        tenant_id=membership.tenant_id,
        role=membership.role,
        granted=membership.permissions,
        permissions=sorted({*allowed, *membership.permissions}),
        membership=membership,
    )
