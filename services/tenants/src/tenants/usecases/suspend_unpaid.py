"""Shuts the tenants whose grace has run out."""

from datetime import datetime

import msgspec

from chassis.db import Connection
from tenants import store
from tenants.domain.companies import TenantStatus
from tenants.domain.doers import SCHEDULE
from tenants.domain.subscriptions import UNPAID
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.tell_deed import tell_deed

_AT_ONCE = 100


async def suspend_unpaid(conn: Connection, *, now: datetime) -> int:
    """How many were shut, at most 100; a payment opens them again. In a platform transaction."""
    unpaid = await store.tenants.lock_grace_ended(conn, now, _AT_ONCE)
    for tenant in unpaid:
        after = msgspec.structs.replace(tenant, status=TenantStatus.SUSPENDED, status_reason=UNPAID)
        await save_tenant(conn, tenant, after, now=now)
        await tell_deed(
            conn,
            tenant.tenant_id,
            "tenant.suspended",
            by=SCHEDULE,
            kind="tenant",
            target_id=tenant.tenant_id,
            now=now,
            reason=UNPAID,
        )
    return len(unpaid)
