"""Has a stored provider event of a tenant's own account dealt with once more."""

from uuid import UUID

from billing import store
from billing.domain.provider_events import ProviderEventStatus
from bus.outbox import tell
from chassis.db import Connection
from contracts.billing import ProviderEventReceived
from contracts.errors import Conflict, NotFound


async def retry_webhook(conn: Connection, tenant_id: UUID, event_id: UUID) -> None:
    """The event is as if it had just come; its object is fetched anew, so that repeating it changes nothing twice.

    Raises NotFound for an event that is not the tenant's, Conflict for one that was taken in.
    """
    event = await store.webhook_log.lock_event(conn, tenant_id, event_id)
    if event is None:
        raise NotFound("Webhook not found")
    if event.status is ProviderEventStatus.PROCESSED:
        raise Conflict("Webhook already processed", code="webhook_processed")
    await store.webhook_log.mark_received(conn, tenant_id, event_id)
    received = ProviderEventReceived(provider_event_id=event.id, provider=event.provider.value)
    await tell(conn, received, tenant_id=None, aggregate_id=event.id)
