"""Removes a role of a tenant's own that nobody has; where it stood in a default's place, that one counts again."""

from datetime import datetime
from uuid import UUID

from bus.outbox import tell
from chassis.db import Connection
from contracts.errors import Conflict, NotFound
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import RoleChanged
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.roles import Powers
from tenants.usecases.find_roles import find_roles
from tenants.usecases.tell_deed import tell_deed


async def delete_role(
    conn: Connection, tenant_id: UUID, role_id: UUID, *, powers: Powers, by: Doer, now: datetime
) -> None:
    """In a platform transaction. Raises NotFound for what is no role of the tenant's own, Forbidden for one that allows
    more than the caller may, Conflict for one that somebody has or is invited to, and for a default.
    """
    await store.roles.lock_roles(conn, tenant_id)
    role = await store.roles.find_role(conn, tenant_id, role_id)
    if role is None or role.tenant_id != tenant_id:
        raise NotFound("no such role of the tenant's own")
    if tenant_id == PLATFORM_TENANT_ID:
        raise Conflict("Tenants rely on the default roles.", code="default_role")
    powers.refuse_beyond(role.permissions)
    members = await store.roles.count_members_of_role(conn, tenant_id, role.name)
    if members or await store.invitations.count_open_of_role(conn, tenant_id, role.name, now):
        raise Conflict("Somebody has this role, or is invited to it.", code="role_in_use")
    await store.roles.delete_role(conn, tenant_id, role_id)
    # Where a default of that name comes back, the event says so by None: from now on the nil tenant's counts.
    event = RoleChanged(tenant_id=tenant_id, role=role.name, permissions=None, occurred_at=now)
    await tell(conn, event, tenant_id=tenant_id, aggregate_id=role.id, version=role.version + 1)
    restored = role.name in await find_roles(conn, tenant_id)
    await tell_deed(
        conn,
        tenant_id,
        "role.deleted",
        by=by,
        kind="role",
        target_id=role_id,
        now=now,
        role=role.name,
        default_counts_again=restored,
    )
