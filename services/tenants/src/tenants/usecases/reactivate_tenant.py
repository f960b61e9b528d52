"""Opens a suspended tenant again, by hand."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import Conflict, NotFound
from tenants import store
from tenants.domain.companies import Tenant, TenantStatus
from tenants.domain.doers import Doer
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.tell_deed import tell_deed


async def reactivate_tenant(conn: Connection, tenant_id: UUID, reason: str, *, by: Doer, now: datetime) -> Tenant:
    """The tenant as stored, with no end to its access until billing tells of another. In a platform transaction.

    Raises NotFound, Conflict for one that is not suspended.
    """
    before = await store.tenants.lock_tenant(conn, tenant_id)
    if before is None:
        raise NotFound("no such tenant")
    if before.status is not TenantStatus.SUSPENDED:
        raise Conflict(f"This tenant is {before.status.value}.", code="wrong_state")
    after = msgspec.structs.replace(before, status=TenantStatus.ACTIVE, status_reason=None, access_until=None)
    stored = await save_tenant(conn, before, after, now=now)
    await tell_deed(
        conn, tenant_id, "tenant.reactivated", by=by, kind="tenant", target_id=tenant_id, now=now, reason=reason[:200]
    )
    return stored
