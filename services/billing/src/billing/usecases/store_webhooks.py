"""Takes in verified webhooks: each is stored once, and the consumer is told of those that are new."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from billing import store
from billing.domain.provider_events import NewProviderEvent
from bus.failpoints import failpoint
from bus.outbox import Telling, tell_many
from chassis.db import Database, platform_transaction
from contracts.billing import ProviderEventReceived

#: When what an event without a name says is news again: of money that was refunded and that the payer's bank returned,
#: PagBank says what it said when it was paid. A mere redelivery has the provider asked once more, for nothing.
_SAME_WORDS_AGAIN: Final = timedelta(minutes=10)


async def store_webhooks(db: Database, events: Sequence[NewProviderEvent], *, now: datetime) -> int:
    """How many of the events were new; all are committed, or none.

    Raises what the database does.
    """
    nameless = [event for event in events if event.notice.is_nameless]
    async with platform_transaction(db) as conn:
        fresh = await store.provider_events.insert_events(conn, events, now)
        told = [(event.id, event.provider, event.traceparent) for event in events if event.id in fresh]
        if nameless:
            again = await store.provider_events.reopen_events(conn, nameless, before=now - _SAME_WORDS_AGAIN, now=now)
            told += [(event_id, nameless[0].provider, nameless[0].traceparent) for event_id in again]
        await tell_many(
            conn,
            [
                Telling(
                    event=ProviderEventReceived(provider_event_id=event_id, provider=provider.value),
                    aggregate_id=event_id,
                    traceparent=traceparent,
                )
                for event_id, provider, traceparent in told
            ],
        )
        failpoint("webhooks.before_commit")
    return len(fresh)
