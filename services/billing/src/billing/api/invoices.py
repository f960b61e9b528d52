"""Invoices over HTTP: what is owed, what was paid, and taking one back."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from billing import store
from billing.accounts import Accounts
from billing.api.access import is_platform_admin
from billing.api.pages import Cursor, Limit, Page, start_of
from billing.domain.customers import SoldBy
from billing.domain.identifiers import cursor_after
from billing.domain.invoices import InvoiceStatus
from billing.domain.providers import Provider
from billing.usecases.void_invoice import void_invoice
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.doers import doer_of
from chassis.identity import requires, tenant_of
from contracts.errors import NotFound


class InvoiceView(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed. Amounts are minor units of the currency; `number` counts without gaps within the tenant."""

    id: UUID
    tenant_id: UUID
    sold_by: SoldBy
    number: int
    customer_id: UUID
    subscription_id: UUID | None
    order_id: UUID | None
    plan_id: UUID | None
    plan_slug: str | None
    interval: str | None
    description: str
    amount_cents: int
    refunded_cents: int
    currency: str
    status: InvoiceStatus
    provider: Provider
    external_id: str | None
    url: str | None
    period_start: datetime | None
    period_end: datetime | None
    due_at: datetime
    attempts: int
    last_failure: str | None
    next_attempt_at: datetime | None
    issued_at: datetime
    paid_at: datetime | None
    voided_at: datetime | None
    updated_at: datetime


@get("/invoices", guards=[requires("billing:read")])
async def list_invoices(
    request: StrictRequest,
    db: NamedDependency[Database],
    status: Annotated[InvoiceStatus | None, QueryParameter()] = None,
    subscription_id: Annotated[UUID | None, QueryParameter()] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response[Page[InvoiceView]]:
    """The tenant's invoices, newest first."""
    tenant_id = tenant_of(request.user)  # a second dependency would be resolved in a task of its own
    async with transaction(db, tenant_id) as conn:
        rows = await store.invoices.list_shown(
            conn,
            tenant_id,
            before=start_of(cursor),
            limit=limit + 1,
            status=status,
            subscription_id=subscription_id,
        )
    shown = [msgspec.Raw(row) for _, row in rows[:limit]]
    following = cursor_after(rows[limit - 1][0]) if len(rows) > limit else None
    return _answer(msgspec.json.encode(Page(data=shown, next_cursor=following)))


@get("/invoices/{invoice_id:uuid}", guards=[requires("billing:read")])
async def get_invoice(
    request: StrictRequest, db: NamedDependency[Database], invoice_id: FromPath[UUID]
) -> Response[InvoiceView]:
    """One invoice."""
    tenant_id = tenant_of(request.user)
    async with transaction(db, tenant_id) as conn:
        shown = await store.invoices.find_shown(conn, tenant_id, invoice_id)
    if shown is None:
        raise NotFound("no such invoice")
    return _answer(shown)


@post("/invoices/{invoice_id:uuid}/void", guards=[requires("billing:write")], status_code=200)
async def post_void(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    accounts: NamedDependency[Accounts],
    invoice_id: FromPath[UUID],
) -> Response[InvoiceView]:
    """Takes an unpaid invoice back, at Stripe too. What the platform is owed only its administrators let go."""
    identity = request.user
    tenant_id = tenant_of(identity)
    await void_invoice(
        db,
        tenant_id,
        invoice_id,
        may_waive=is_platform_admin(identity),
        accounts=accounts,
        by=doer_of(request),
        clock=clock,
    )
    async with transaction(db, tenant_id) as conn:
        return _answer(await store.invoices.find_shown(conn, tenant_id, invoice_id) or "null")


def _answer(body: str | bytes) -> Response[Any]:
    """The database has written the JSON: it goes out as it is."""
    return Response(body, media_type=MediaType.JSON)


ROUTES = [list_invoices, get_invoice, post_void]
