"""Stored provider events and their repair, for the platform's administrators. Nobody sees a raw body."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing import store
from billing.accounts import Accounts
from billing.api.access import requires_platform_admin
from billing.api.pages import Cursor, Limit, Page, page_of, start_of
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.provider_events import EventSource, ProviderEvent, ProviderEventStatus, redacted
from billing.usecases.reconcile_providers import Reconciled, reconcile_providers
from billing.usecases.record_audit import record_audit
from billing.usecases.replay_provider_event import replay_provider_event
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.doers import doer_of
from contracts.errors import NotFound
from contracts.tenancy import PLATFORM_TENANT_ID


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it was stored, and what became of it. `tenant_id` is known once its object is."""

    id: UUID
    provider: EventSource
    account_id: UUID
    event_id: str
    type: str
    kind: str
    object_external_id: str | None
    reference: str | None
    tenant_id: UUID | None
    status: ProviderEventStatus
    reason: str | None
    attempts: int
    deliveries: int
    occurred_at: datetime | None
    received_at: datetime
    processed_at: datetime | None


class EventDetail(EventView, frozen=True, kw_only=True):
    """The same with its body, in which whatever is personal or secret reads `[redacted]`; null for no JSON."""

    payload: Any


class ReconcileRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many days to look back."""

    days: Annotated[int, msgspec.Meta(ge=1, le=30)] = 3


@get("/billing/events", guards=[requires_platform_admin()])
async def list_provider_events(
    db: NamedDependency[Database],
    provider: Annotated[EventSource | None, QueryParameter()] = None,
    status: Annotated[ProviderEventStatus | None, QueryParameter()] = None,
    event_type: Annotated[str | None, QueryParameter(name="type", min_length=1, max_length=255)] = None,
    tenant: Annotated[UUID | None, QueryParameter()] = None,
    object_id: Annotated[str | None, QueryParameter(name="object", min_length=1, max_length=255)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[EventView]:
    """Events, newest first."""
    async with platform_transaction(db) as conn:
        rows = await store.provider_events.list_events(
            conn,
            before=start_of(cursor),
            limit=limit + 1,
            provider=provider,
            status=status,
            event_type=event_type,
            tenant_id=tenant,
            object_external_id=object_id,
        )
    return page_of(rows, [EventView(**_facts(row)) for row in rows], limit)


@get("/billing/events/{event_id:uuid}", guards=[requires_platform_admin()])
async def get_provider_event(db: NamedDependency[Database], event_id: FromPath[UUID]) -> EventDetail:
    """One event."""
    async with platform_transaction(db) as conn:
        row = await store.provider_events.find_event(conn, event_id)
    if row is None:
        raise NotFound("no such provider event")
    return EventDetail(**_facts(row), payload=_payload(row.payload))


@post("/billing/events/{event_id:uuid}/replay", guards=[requires_platform_admin()], status_code=202)
async def post_replay(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    event_id: FromPath[UUID],
) -> EventView:
    """Has the event dealt with once more, whatever became of it before: what it has had in effect stays once."""
    async with platform_transaction(db) as conn:
        row = await replay_provider_event(conn, event_id)
        await record_audit(
            conn,
            PLATFORM_TENANT_ID,
            "provider_event.replayed",
            by=doer_of(request),
            kind="provider_event",
            target_id=event_id,
            now=clock(),
        )
    return EventView(**_facts(row))


@post("/billing/reconcile", guards=[requires_platform_admin()], status_code=200)
async def post_reconcile(
    data: JSONBody[ReconcileRequest],
    request: StrictRequest,
    db: NamedDependency[Database],
    accounts: NamedDependency[Accounts],
    clock: NamedDependency[Clock],
) -> Reconciled:
    """Compares what the providers have with what is stored, and repairs the gap; answers what it found."""
    counts = await reconcile_providers(db, accounts, days=data.days, clock=clock)
    async with platform_transaction(db) as conn:
        await record_audit(
            conn,
            PLATFORM_TENANT_ID,
            "provider_accounts.reconciled",
            by=doer_of(request),
            kind="provider_account",
            target_id=PLATFORM_ACCOUNT,
            now=clock(),
            days=data.days,
            **msgspec.structs.asdict(counts),
        )
    return counts


def _facts(row: ProviderEvent) -> dict[str, Any]:
    return {name: getattr(row, name) for name in EventView.__struct_fields__}


def _payload(raw: bytes) -> Any:
    try:
        return redacted(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


ROUTES: Final[list[Any]] = [list_provider_events, get_provider_event, post_replay, post_reconcile]
