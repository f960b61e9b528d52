"""Orders over HTTP: one purchase, and everything that happened to it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.orders import OrderStatus
from billing.domain.providers import Interval, Provider
from chassis.body_guard import StrictRequest
from chassis.db import Database, transaction
from chassis.identity import requires, tenant_of


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened: `kind` says what, `detail` what is known of it."""

    kind: str
    detail: dict[str, Any]
    at: datetime


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase, as it was sold, what it brought, and its timeline, the oldest entry first."""

    id: UUID
    tenant_id: UUID
    sold_by: SoldBy
    customer_id: UUID
    plan_id: UUID
    plan_slug: str
    plan_name: str
    price_id: UUID
    interval: Interval
    amount_cents: int
    currency: str
    trial_days: int
    status: OrderStatus
    provider: Provider
    external_id: str | None
    checkout_url: str | None
    source: str
    buyer_email: str | None
    buyer_name: str | None
    failure_reason: str | None
    placed_at: datetime
    paid_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    subscription_id: UUID | None
    invoice_ids: list[UUID]
    payment_ids: list[UUID]
    timeline: list[TimelineEntry]


@get("/orders/{order_id:uuid}", guards=[requires("billing:read")])
async def get_order(request: StrictRequest, db: NamedDependency[Database], order_id: FromPath[UUID]) -> OrderView:
    """One order with its timeline."""
    tenant_id = tenant_of(request.user)
    async with transaction(db, tenant_id) as conn:
        order = await store.orders.get_order(conn, tenant_id, order_id)
        trail = await store.orders.get_trail(conn, tenant_id, order_id)
        entries = await store.orders.list_entries(conn, tenant_id, order_id)
    fields = msgspec.structs.asdict(order) | msgspec.structs.asdict(trail)
    fields["timeline"] = [TimelineEntry(kind=entry.kind, detail=entry.detail, at=entry.at) for entry in entries]
    return OrderView(**{name: fields[name] for name in OrderView.__struct_fields__})


ROUTES = [get_order]
