"""Shuts a tenant: its people cannot sign in until it is opened again."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import NotFound
from tenants import store
from tenants.domain.companies import Tenant, TenantStatus, refuse_move
from tenants.domain.doers import Doer
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.tell_deed import tell_deed


async def suspend_tenant(conn: Connection, tenant_id: UUID, reason: str, *, by: Doer, now: datetime) -> Tenant:
    """The tenant as stored. In a platform transaction. Raises NotFound, Conflict for one that is not active."""
    before = await store.tenants.lock_tenant(conn, tenant_id)
    if before is None:
        raise NotFound("no such tenant")
    refuse_move(before, TenantStatus.SUSPENDED)
    after = msgspec.structs.replace(before, status=TenantStatus.SUSPENDED, status_reason=reason)
    stored = await save_tenant(conn, before, after, now=now)
    await tell_deed(
        conn, tenant_id, "tenant.suspended", by=by, kind="tenant", target_id=tenant_id, now=now, reason=reason[:200]
    )
    return stored
