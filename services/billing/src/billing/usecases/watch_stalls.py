"""Tells the administrator when provider events are not dealt with: money may be waiting."""

from datetime import timedelta
from typing import Final

from billing import store
from billing.usecases.queue_mail import queue_mail
from bus.inbox import first_time
from chassis.clock import Clock
from chassis.db import Database, platform_transaction

_STUCK_AFTER: Final = timedelta(minutes=5)
_LOOK_BACK: Final = timedelta(days=30)
_MAX_ATTEMPTS: Final = 1_000_000
_COUNTED: Final = 1_000


async def watch_stalls(db: Database, *, admin_email: str | None, clock: Clock) -> dict[str, int]:
    """How many events have waited for more than five minutes, and whether a mail says so: one an hour, as the clock's.

    Where no administrator is set it only counts.
    """
    now = clock()
    async with platform_transaction(db) as conn:
        stuck = await store.provider_events.list_stuck(
            conn, since=now - _LOOK_BACK, before=now - _STUCK_AFTER, max_attempts=_MAX_ATTEMPTS, limit=_COUNTED
        )
        if not stuck or admin_email is None:
            return {"stuck": len(stuck), "mailed": 0}
        key = f"billing-stalled-{now:%Y%m%d%H}"
        is_first = await first_time(conn, "billing.stalls", key)
        if is_first:
            oldest = stuck[0]
            await queue_mail(
                conn,
                "billing_stalled",
                admin_email,
                {
                    "count": len(stuck),
                    "oldest_minutes": int((now - oldest.received_at).total_seconds() // 60),
                    "provider": oldest.provider.value,
                    "reason": oldest.reason or "",
                },
                tenant_id=None,
                about=oldest.id,
                key=key,
            )
    return {"stuck": len(stuck), "mailed": int(is_first)}
