"""Tells seed 002's consumers of a payment, on the exchange that they listen to."""

from datetime import datetime
from typing import Final

import msgspec

from billing.domain.customers import SoldBy
from billing.domain.nexus import NexusType, nexus_event
from billing.domain.payments import Payment
from bus.outbox import enqueue
from chassis.db import Connection
from contracts.billing import NEXUS_EXCHANGE

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


async def publish_nexus_event(conn: Connection, payment: Payment, event_type: NexusType, *, now: datetime) -> bool:
    """Whether it was said: only what a tenant charges its own customers is those consumers' business."""
    if payment.sold_by is not SoldBy.TENANT:
        return False
    await enqueue(
        conn,
        exchange=NEXUS_EXCHANGE,
        routing_key=event_type,
        body=_ENCODER.encode(nexus_event(payment, event_type, now)),
        tenant_id=payment.tenant_id,
        aggregate_id=payment.id,
    )
    return True
