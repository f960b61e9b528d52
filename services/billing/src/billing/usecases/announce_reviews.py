"""Tells the administrator of what a person has to look at: money that came and fits nothing, which nobody else sees."""

from datetime import timedelta
from typing import Final

from billing import store
from billing.usecases.alert_admin import alert_admin
from bus.inbox import first_times
from chassis.clock import Clock
from chassis.db import Database, platform_transaction

_LOOK_BACK: Final = timedelta(days=7)
_AT_ONCE: Final = 1_000


async def announce_reviews(db: Database, *, admin_email: str | None, clock: Clock) -> dict[str, int]:
    """How many matters went under review in a week, and how many of them a mail says now: each once.

    They are provider events, and payments that came under review without one: the provider was asked. Where no
    administrator is set they are only counted, and whoever is set later hears of what is there.
    """
    now = clock()
    async with platform_transaction(db) as conn:
        since = now - _LOOK_BACK
        waiting = [
            *await store.provider_events.list_for_review(conn, since=since, limit=_AT_ONCE),
            *await store.payments.list_for_review(conn, since=since, limit=_AT_ONCE),
        ]
        if not waiting or admin_email is None:
            return {"review": len(waiting), "told": 0}
        unseen = await first_times(conn, "billing.reviews", [matter.id for matter in waiting])
        fresh = [matter for matter in waiting if matter.id in unseen]
        if fresh:
            oldest = min(fresh, key=lambda matter: matter.at)
            await alert_admin(
                conn,
                "under_review",
                [f"{matter.path} ({matter.provider}, tenant {matter.tenant_id}): {matter.reason}" for matter in fresh],
                to=admin_email,
                about=oldest.id,
                key=f"billing-review-{oldest.id}-{len(fresh)}",
                now=now,
            )
    return {"review": len(waiting), "told": len(fresh)}
