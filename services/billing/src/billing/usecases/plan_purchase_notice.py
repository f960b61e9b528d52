"""Notes that n8n is to be told of a purchase (seed 002's post-purchase flow)."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing.domain.charging import N8N, PURCHASE_NOTICE
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.usecases.plan_call import plan_call
from chassis.db import Connection


class PurchaseNotice(msgspec.Struct, frozen=True):
    """Which order it is about; who bought is looked up when it is told, so that nothing personal is kept here."""

    order_id: UUID


async def plan_purchase_notice(conn: Connection, tenant_id: UUID, order_id: UUID, *, now: datetime) -> None:
    """One notice for the order, however often this is asked for; `send_purchase_notices` tells it."""
    await plan_call(
        conn,
        tenant_id,
        provider=N8N,
        account_id=PLATFORM_ACCOUNT,
        operation=PURCHASE_NOTICE,
        key=f"purchase-{order_id}",
        params=PurchaseNotice(order_id),
        now=now,
    )
