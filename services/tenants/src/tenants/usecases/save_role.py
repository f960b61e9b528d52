"""Writes what a role allows, and tells it: the one way in which a role is ever made or changed."""

from datetime import datetime
from uuid import UUID

from bus.outbox import tell
from chassis.db import Connection
from contracts.errors import Conflict, NotFound
from contracts.tenants import RoleChanged
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.identifiers import new_id
from tenants.domain.roles import OWNER, Powers, refuse_name, refuse_platform_only, refuse_unknown
from tenants.store.roles import Role
from tenants.usecases.tell_deed import tell_deed

MAX_ROLES = 200


async def save_role(
    conn: Connection,
    tenant_id: UUID,
    role_id: UUID | None,
    *,
    name: str | None = None,
    description: str | None = None,
    permissions: list[str] | None = None,
    powers: Powers,
    by: Doer,
    now: datetime,
) -> Role:
    """The role as stored: a new one (`role_id` None, and a `name`), or the tenant's own with what is not None changed.

    A role of a default's name takes that one's place in the tenant. Whoever changes a role has all that it allowed and
    all that it is to allow. In a platform transaction. Raises NotFound for what is no role of the tenant's own,
    Forbidden; Conflict for a name that it has, or another name for a role (people have it by its name); Invalid for a
    reserved name or a permission that there is none of.
    """
    await store.roles.lock_roles(conn, tenant_id)
    known = await store.roles.list_roles(conn, tenant_id)
    before = _before(known, tenant_id, role_id, name)
    if before is None:
        refuse_name(name or "")
        if len(known) >= MAX_ROLES:
            raise Conflict("This tenant has as many roles as it can.", code="too_many_roles")
    elif name is not None and name != before.name:
        raise Conflict("A role keeps its name.", code="role_name_fixed")
    shadowed = next((role.permissions for role in known if role.name == name), []) if before is None else []
    wanted = sorted(set(permissions)) if permissions is not None else before.permissions if before is not None else []
    refuse_unknown(wanted, [one.key for one in await store.roles.list_permissions(conn)])
    refuse_platform_only(wanted)
    powers.refuse_beyond({*(before.permissions if before is not None else shadowed), *wanted})
    if before is not None and before.name == OWNER:
        powers.refuse_role(OWNER, ())
    stored = Role(
        tenant_id=tenant_id,
        id=before.id if before is not None else new_id(now),
        name=before.name if before is not None else name or "",
        description=description if description is not None else before.description if before is not None else "",
        permissions=wanted,
        version=before.version + 1 if before is not None else 1,
        created_at=before.created_at if before is not None else now,
        updated_at=now,
    )
    await store.roles.upsert_role(conn, tenant_id, stored)
    await store.roles.replace_role_permissions(conn, tenant_id, stored.id, wanted)
    await _tell(conn, stored, tuple(wanted), now)
    await tell_deed(
        conn,
        tenant_id,
        "role.created" if before is None else "role.updated",
        by=by,
        kind="role",
        target_id=stored.id,
        now=now,
        role=stored.name,
        permissions=",".join(wanted)[:500],
    )
    return stored


def _before(known: list[Role], tenant_id: UUID, role_id: UUID | None, name: str | None) -> Role | None:
    own = [role for role in known if role.tenant_id == tenant_id]
    if role_id is None:
        if any(role.name == name for role in own):
            raise Conflict("There is a role of this name.", code="already_exists")
        return None
    found = next((role for role in own if role.id == role_id), None)
    if found is None:
        raise NotFound("no such role of the tenant's own")
    return found


async def _tell(conn: Connection, role: Role, permissions: tuple[str, ...] | None, now: datetime) -> None:
    event = RoleChanged(tenant_id=role.tenant_id, role=role.name, permissions=permissions, occurred_at=now)
    await tell(conn, event, tenant_id=role.tenant_id, aggregate_id=role.id, version=role.version)
