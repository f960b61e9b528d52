"""Passes on to seed 002's consumers that a charge is overdue, or was refused."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.domain.nexus import type_of_failed
from billing.usecases.publish_nexus_event import publish_nexus_event
from chassis.db import Connection


async def pass_failure_on(conn: Connection, tenant_id: UUID, invoice_id: UUID, *, now: datetime) -> None:
    """The event of the invoice's last payment leaves when the transaction commits; none where none was tried."""
    payment = await store.payments.find_latest_of_invoice(conn, tenant_id, invoice_id)
    if payment is not None:
        await publish_nexus_event(conn, payment, type_of_failed(payment), now=now)
