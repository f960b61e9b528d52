"""What providers sent to a tenant's own accounts, over HTTP: seen by whoever configures them, and tried again."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from billing import store
from billing.api.payment_gateway.config import GUARDS, Told
from billing.api.seed_errors import seed_errors
from billing.domain.provider_events import ProviderEvent, redacted
from billing.domain.providers import Provider
from billing.usecases.retry_webhook import retry_webhook
from chassis.db import Database, transaction
from chassis.identity import Identity, tenant_of

Status = Annotated[str | None, QueryParameter(pattern=r"^(pending|processed|failed|ignored)$")]
Limit = Annotated[int, QueryParameter(ge=1, le=200)]
Offset = Annotated[int, QueryParameter(ge=0, le=100_000)]

#: Ours in seed 002's words; what waits for a person has failed, for whoever looks at it.
_STATUSES: Final = {"received": "pending", "processed": "processed", "ignored": "ignored"}
_FAILED: Final = "failed"


class WebhookView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event; `payload` without what names or could impersonate somebody. No header of a request is kept."""

    id: UUID
    tenant_id: UUID | None
    gateway: str
    event: str
    gateway_charge_id: str | None
    status: str
    processed_at: datetime | None
    error_message: str | None
    retry_count: int
    payload: Any
    signature_valid: bool
    created_at: datetime
    updated_at: datetime


class WebhookLog(msgspec.Struct, frozen=True, kw_only=True):
    """Events, newest first."""

    webhooks: list[WebhookView]
    limit: int
    offset: int


@get("/payment-gateway/webhooks/logs", guards=GUARDS, exception_handlers=seed_errors("error"))
async def list_webhooks(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    gateway: Annotated[Provider | None, QueryParameter()] = None,
    status: Status = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> WebhookLog:
    """The events of the tenant's own accounts."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        rows = await store.webhook_log.list_events(
            conn,
            tenant_id,
            provider=gateway.value if gateway else None,
            statuses=_ours(status),
            limit=limit,
            offset=offset,
        )
    return WebhookLog(webhooks=[_view(row) for row in rows], limit=limit, offset=offset)


@post(
    "/payment-gateway/webhooks/{webhook_id:uuid}/retry",
    guards=GUARDS,
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def post_webhook_retry(
    db: NamedDependency[Database], identity: NamedDependency[Identity], webhook_id: FromPath[UUID]
) -> Told:
    """Has an event dealt with once more: what it is about is asked for anew."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        await retry_webhook(conn, tenant_id, webhook_id)
    return Told("Webhook retry initiated")


def _ours(status: str | None) -> list[str] | None:
    if status is None:
        return None
    return [name for name, word in _STATUSES.items() if word == status] or ["failed", "review"]


def _view(event: ProviderEvent) -> WebhookView:
    try:
        payload = redacted(msgspec.json.decode(event.payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        payload = None
    return WebhookView(
        id=event.id,
        tenant_id=event.tenant_id,
        gateway=event.provider.value,
        event=event.type,
        gateway_charge_id=event.object_external_id,
        status=_STATUSES.get(event.status.value, _FAILED),
        processed_at=event.processed_at,
        error_message=event.reason,
        retry_count=max(event.attempts - 1, 0),
        payload=payload,
        signature_valid=True,
        created_at=event.received_at,
        updated_at=event.processed_at or event.received_at,
    )


ROUTES: list[Any] = [list_webhooks, post_webhook_retry]
