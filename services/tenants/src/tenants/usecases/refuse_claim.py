"""Ends a claim that billing does not recognise as a payment, and the tenant that waited for nothing else."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from tenants import store
from tenants.domain.claims import ClaimStatus, ended
from tenants.domain.companies import PAYMENT_REFUSED, TenantStatus
from tenants.domain.doers import BILLING
from tenants.domain.terms import Terms
from tenants.usecases.alert_admin import alert_admin
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.tell_deed import tell_deed


async def refuse_claim(
    conn: Connection, tenant_id: UUID, claim_id: UUID, reason: str, *, terms: Terms, now: datetime
) -> None:
    """In a platform transaction. A confirmed claim stays so, also when the refusal was told before and comes after.

    A tenant that still waits is closed unless another claim holds it; a late payment opens it all the same. The
    administrator is told: a site says that it was paid, and we do not know of it.
    """
    await store.tenants.hold_tenant_id(conn, tenant_id)
    tenant = await store.tenants.lock_tenant(conn, tenant_id)
    before = await store.claims.lock_claim(conn, tenant_id, claim_id)
    if before is None:
        return
    after = ended(before, ClaimStatus.REFUSED, now, reason)
    if after == before:
        return
    await store.claims.update_claim(conn, tenant_id, after)
    await tell_deed(
        conn,
        tenant_id,
        "payment_claim.refused",
        by=BILLING,
        kind="payment_claim",
        target_id=claim_id,
        now=now,
        reason=reason[:200],
    )
    await alert_admin(
        conn, "claim_refused", about=claim_id, terms=terms, now=now, tenant=str(tenant_id), reason=reason[:200]
    )
    if tenant is not None and tenant.status is TenantStatus.PENDING and not await store.claims.is_held(conn, tenant_id):
        closed = msgspec.structs.replace(tenant, status=TenantStatus.CLOSED, status_reason=PAYMENT_REFUSED)
        await save_tenant(conn, tenant, closed, now=now)
