"""Ends claims that nobody confirmed in time, and tells the administrator of each."""

from datetime import datetime

from chassis.db import Connection
from tenants import store
from tenants.domain.claims import ClaimStatus, ended
from tenants.domain.doers import SCHEDULE
from tenants.domain.terms import Terms
from tenants.usecases.alert_admin import alert_admin
from tenants.usecases.tell_deed import tell_deed

_AT_ONCE = 100


async def expire_claims(conn: Connection, *, terms: Terms, now: datetime) -> int:
    """How many ended, at most 100. Their tenants go on waiting: money that comes late still opens them.

    In a platform transaction; two processes at once take different ones.
    """
    overdue = await store.claims.lock_overdue(conn, now, _AT_ONCE)
    for claim in overdue:
        await store.claims.update_claim(
            conn, claim.tenant_id, ended(claim, ClaimStatus.EXPIRED, now, "not confirmed in time")
        )
        await alert_admin(
            conn,
            "claim_expired",
            about=claim.id,
            terms=terms,
            now=now,
            tenant=str(claim.tenant_id),
            session=claim.session_id,
        )
        await tell_deed(
            conn,
            claim.tenant_id,
            "payment_claim.expired",
            by=SCHEDULE,
            kind="payment_claim",
            target_id=claim.id,
            now=now,
        )
    return len(overdue)
