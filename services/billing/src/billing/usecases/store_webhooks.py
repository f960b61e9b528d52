"""Takes in verified webhooks: each is stored once, and the consumer is told of those that are new."""

from collections.abc import Sequence
from datetime import datetime

from billing import store
from billing.domain.provider_events import NewProviderEvent
from bus.failpoints import failpoint
from bus.outbox import Telling, tell_many
from chassis.db import Database, platform_transaction
from contracts.billing import ProviderEventReceived


async def store_webhooks(db: Database, events: Sequence[NewProviderEvent], *, now: datetime) -> int:
    """How many of the events were new; all are committed, or none.

    Raises what the database does.
    """
    async with platform_transaction(db) as conn:
        fresh = await store.provider_events.insert_events(conn, events, now)
        await tell_many(
            conn,
            [
                Telling(
                    event=ProviderEventReceived(provider_event_id=event.id, provider=event.provider.value),
                    aggregate_id=event.id,
                    traceparent=event.traceparent,
                )
                for event in events
                if event.id in fresh
            ],
        )
        failpoint("webhooks.before_commit")
    return len(fresh)
