"""Tells of refunds of which nothing comes: the provider took them on, or never answered, and the payer waits."""

from datetime import timedelta
from typing import Final

from billing import store
from billing.usecases.alert_admin import alert_admin
from billing.usecases.note_order import note_order
from chassis.clock import Clock
from chassis.db import Database, platform_transaction

_BATCH: Final = 100


async def announce_overdue_refunds(
    db: Database, *, alert_days: int, admin_email: str | None, clock: Clock
) -> dict[str, int]:
    """How many have waited for `alert_days` and are told of now: each once, in its order's timeline and by mail.

    They go on being asked after (see `find_missing_events`, `close_open_calls`). Where no administrator is set the
    timeline tells alone.
    """
    now = clock()
    async with platform_transaction(db) as conn:
        overdue = await store.refunds.mark_overdue(conn, before=now - timedelta(days=alert_days), now=now, limit=_BATCH)
        for one in overdue:
            await note_order(
                conn,
                one.tenant_id,
                one.order_id,
                "refund_overdue",
                now=now,
                refund=str(one.id),
                amount_cents=one.amount_cents,
                provider=one.provider,
            )
        if overdue and admin_email is not None:
            matters = [
                f"pagamento {one.payment_id} ({one.provider}, tenant {one.tenant_id}, "
                f"{one.amount_cents} centavos {one.currency}, pedido em {one.created_at:%d/%m/%Y})"
                for one in overdue
            ]
            first = overdue[0].id
            await alert_admin(
                conn,
                "refund_overdue",
                matters,
                to=admin_email,
                about=first,
                key=f"billing-refund-overdue-{first}",
                now=now,
            )
    return {"overdue": len(overdue)}
