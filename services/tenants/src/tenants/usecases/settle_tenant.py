"""Brings a tenant up to what its subscriptions let it have."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from tenants import store
from tenants.domain.companies import Tenant, TenantStatus
from tenants.domain.subscriptions import with_subscriptions
from tenants.domain.terms import Terms
from tenants.usecases.save_tenant import save_tenant


async def settle_tenant(conn: Connection, tenant_id: UUID, *, terms: Terms, now: datetime) -> Tenant | None:
    """The tenant as stored: limits, plan and the end of access follow from the subscriptions that are stored.

    None where there is no such tenant yet. A closed one stays as it is. In a platform transaction that holds its id.
    """
    before = await store.tenants.lock_tenant(conn, tenant_id)
    if before is None or before.status is TenantStatus.CLOSED:
        return before
    rows = await store.subscriptions.list_subscriptions(conn, tenant_id)
    return await save_tenant(conn, before, with_subscriptions(before, rows, terms.grace), now=now)
