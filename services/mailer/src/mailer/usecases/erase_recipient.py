"""The mailer's part of an erasure: it forgets whom a person's mails were for and what stood in them."""

from datetime import datetime

from bus.erasure import list_mentions, replace_body
from bus.outbox import tell
from chassis.db import Connection
from contracts.mailer import MAIL_QUEUE, DataErased
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import ErasureRequested
from mailer import store
from mailer.domain.jobs import without_recipient


async def erase_recipient(conn: Connection, request: ErasureRequested, *, now: datetime) -> int:
    """How many mails and dead jobs were erased, the platform's own to that address too; what waits is not sent.

    In a platform transaction; may run again. A dead job is not replayed to them, and is still one for its other
    recipients. A suppressed address stays, or it would be written to again.
    """
    tenants = (request.tenant_id, PLATFORM_TENANT_ID)
    mails = 0
    for tenant_id in tenants:
        mails += await store.emails.erase_recipient(conn, tenant_id, request.email, now)
    jobs = 0
    for letter_id, body in (await list_mentions(conn, MAIL_QUEUE, request.email)).items():
        left = without_recipient(body, request.email, tenants)
        if left != body:
            await replace_body(conn, letter_id, left)
            jobs += 1
    event = DataErased(
        tenant_id=request.tenant_id,
        occurred_at=now,
        erasure_id=request.erasure_id,
        erased=(
            f"delivery log: recipient and content of {mails} mails",
            f"dead letters: recipient or content of {jobs} mail jobs that could not be taken",
        ),
        kept=("suppressed address, so that it is not written to again (LGPD, art. 7, IX)",),
    )
    await tell(conn, event, tenant_id=request.tenant_id, aggregate_id=request.erasure_id)
    return mails + jobs
