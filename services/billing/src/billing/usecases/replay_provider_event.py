"""Has a stored webhook dealt with anew, whatever was done about it before."""

from uuid import UUID

from billing import store
from billing.domain.provider_events import ProviderEvent
from bus.outbox import tell
from chassis.db import Connection
from contracts.billing import ProviderEventReceived
from contracts.errors import NotFound


async def replay_provider_event(conn: Connection, event_id: UUID) -> ProviderEvent:
    """The event, received once more; a platform transaction. Its effects are there once all the same.

    Raises NotFound.
    """
    event = await store.provider_events.reopen_event(conn, event_id)
    if event is None:
        raise NotFound("no such provider event")
    told = ProviderEventReceived(provider_event_id=event.id, provider=event.provider.value)
    await tell(conn, told, tenant_id=None, aggregate_id=event.id)
    return event
