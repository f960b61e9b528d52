"""Changes what a tenant is called, looks like and belongs to."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET

from chassis.db import Connection
from contracts.errors import FieldError, Forbidden, Invalid, NotFound
from tenants import store
from tenants.domain.companies import Tenant, TenantChange, changed_tenant
from tenants.domain.doers import Doer
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.tell_deed import tell_deed

_MAX_DEPTH = 10


async def update_tenant(
    conn: Connection, tenant_id: UUID, change: TenantChange, *, is_platform_admin: bool, by: Doer, now: datetime
) -> Tenant:
    """The tenant as stored. In a platform transaction.

    Raises NotFound, Conflict for a slug or a domain that is taken, Forbidden where only the platform decides (whose
    domain it is, and whose reseller), Invalid for a parent that is none or that the tenant is above.
    """
    if not is_platform_admin and (change.domain is not UNSET or change.parent_tenant_id is not UNSET):
        raise Forbidden("Only the platform's administrators set the domain and the parent.", code="platform_admin_only")
    before = await store.tenants.lock_tenant(conn, tenant_id)
    if before is None:
        raise NotFound("no such tenant")
    if isinstance(change.parent_tenant_id, UUID):
        await _refuse_circle(conn, tenant_id, change.parent_tenant_id)
    stored = await save_tenant(conn, before, changed_tenant(before, change), now=now)
    if stored != before:
        changed = sorted(name for name in change.__struct_fields__ if getattr(change, name) is not UNSET)
        await tell_deed(
            conn,
            tenant_id,
            "tenant.updated",
            by=by,
            kind="tenant",
            target_id=tenant_id,
            now=now,
            fields=",".join(changed),
        )
    return stored


async def _refuse_circle(conn: Connection, tenant_id: UUID, parent_id: UUID) -> None:
    above: UUID | None = parent_id
    for _ in range(_MAX_DEPTH):
        if above is None:
            return
        parent = await store.tenants.find_tenant(conn, above)
        if parent is None or above == tenant_id:
            break
        above = parent.parent_tenant_id
    raise Invalid(
        "This tenant cannot be the parent.",
        code="bad_parent",
        errors=[FieldError("$.parent_tenant_id", "is no tenant, or stands below this one")],
    )
