"""The mailer's part of an erasure: its log forgets whom a person's mails were for and what stood in them."""

from datetime import datetime

from bus.outbox import tell
from chassis.db import Connection
from contracts.mailer import DataErased
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import ErasureRequested
from mailer import store


async def erase_recipient(conn: Connection, request: ErasureRequested, *, now: datetime) -> int:
    """How many mails were erased, the platform's own to that address too; what waits is not sent. May run again.

    In a platform transaction. A suppressed address stays, or it would be written to again.
    """
    erased = 0
    for tenant_id in (request.tenant_id, PLATFORM_TENANT_ID):
        erased += await store.emails.erase_recipient(conn, tenant_id, request.email, now)
    event = DataErased(
        tenant_id=request.tenant_id,
        occurred_at=now,
        erasure_id=request.erasure_id,
        erased=(f"delivery log: recipient and content of {erased} mails",),
        kept=("suppressed address, so that it is not written to again (LGPD, art. 7, IX)",),
    )
    await tell(conn, event, tenant_id=request.tenant_id, aggregate_id=request.erasure_id)
    return erased
