"""Passes on to seed 002's consumers what became of a payment."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.domain.nexus import NexusType
from billing.usecases.publish_nexus_event import publish_nexus_event
from chassis.db import Connection


async def pass_payment_on(
    conn: Connection, tenant_id: UUID, payment_id: UUID, event_type: NexusType, *, now: datetime
) -> None:
    """The event leaves when the transaction commits. Raises NotFound for a payment that is not the tenant's."""
    payment = await store.payments.get_payment(conn, tenant_id, payment_id)
    await publish_nexus_event(conn, payment, event_type, now=now)
