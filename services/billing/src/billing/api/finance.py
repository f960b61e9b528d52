"""Seed 001's finance pages: money that came in and monthly bills, in its words and as decimal numbers."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from billing import store
from billing.domain.brazil_days import SAO_PAULO
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.money_text import decimal_amount
from billing.domain.payments import Payment
from billing.domain.providers import PaymentStatus
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.identity import requires, tenant_of
from contracts.errors import FieldError, Invalid

Day = Annotated[
    str | None,
    QueryParameter(min_length=1, max_length=40, description="A day (São Paulo's) or a moment, in ISO 8601."),
]

#: The seed has decimal numbers: from minor units they are exact, and no float is on the way.
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class ReceivedPayment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Money that came in and stayed: `valor` is what is left of it after refunds."""

    id: UUID
    valor: Decimal
    date: datetime
    cliente_id: UUID
    tenant_id: UUID
    created_at: datetime


class MonthlyBill(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A bill; `mesRef` is the month (MM/YYYY) in which its period begins."""

    id: UUID
    tenant_id: UUID
    mes_ref: str
    valor_total: Decimal
    status: str
    data_venc: datetime
    created_at: datetime


@get("/financeiro/historico", guards=[requires("finance:read")])
async def list_history(
    request: StrictRequest, db: NamedDependency[Database], start: Day = None, end: Day = None
) -> Response[list[ReceivedPayment]]:
    """The tenant's payments that came in from `start` to `end`, oldest first; at most 1,000."""
    tenant_id = tenant_of(request.user)
    since, until = _span(start, end)
    async with transaction(db, tenant_id) as conn:
        rows = await store.payments.list_paid_between(conn, tenant_id, since, until)
    return _answer([_received(row) for row in rows if _kept_cents(row)])


@get("/financeiro/faturas", guards=[requires("finance:read")])
async def list_bills(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    start: Day = None,
    end: Day = None,
) -> Response[list[MonthlyBill]]:
    """The tenant's bills, the latest due first; with `start` and `end` those due then; at most 1,000."""
    tenant_id = tenant_of(request.user)
    since, until = _span(start, end)
    async with transaction(db, tenant_id) as conn:
        rows = await store.invoices.list_between(conn, tenant_id, since, until)
    now = clock()
    return _answer([_bill(row, now) for row in rows if row.status is not InvoiceStatus.VOID])


def _received(row: Payment) -> ReceivedPayment:
    return ReceivedPayment(
        id=row.id,
        valor=decimal_amount(_kept_cents(row), row.currency),
        date=row.paid_at or row.created_at,
        cliente_id=row.customer_id,
        tenant_id=row.tenant_id,
        created_at=row.created_at,
    )


def _kept_cents(row: Payment) -> int:
    return 0 if row.status is PaymentStatus.CHARGED_BACK else row.amount_cents - row.refunded_cents


def _bill(row: Invoice, now: datetime) -> MonthlyBill:
    month = (row.period_start or row.due_at).astimezone(SAO_PAULO)
    status = "vencida" if row.due_at < now else "pendente"
    return MonthlyBill(
        id=row.id,
        tenant_id=row.tenant_id,
        mes_ref=f"{month:%m/%Y}",
        valor_total=decimal_amount(row.amount_cents, row.currency),
        status=status if row.status is InvoiceStatus.PENDING else "paga",
        data_venc=row.due_at,
        created_at=row.issued_at,
    )


def _span(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """From `start` to before the end of what `end` names. Raises Invalid for what is no time, or none that can be."""
    since = _moment(start, "start", whole_day=False)
    until = _moment(end, "end", whole_day=True)
    if since is not None and until is not None and until < since:
        raise Invalid("The span is refused.", code="bad_date", errors=(FieldError("query.end", "is before the start"),))
    return since, until


def _moment(text: str | None, name: str, *, whole_day: bool) -> datetime | None:
    """A moment as it is; a bare day is São Paulo's, its first instant or (`whole_day`) the next one's."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        if len(text) <= len("2026-05-04"):
            found = datetime.combine(found.date(), time(), SAO_PAULO) + timedelta(days=1 if whole_day else 0)
        return (found if found.tzinfo else found.replace(tzinfo=SAO_PAULO)).astimezone(UTC)
    except (ValueError, OverflowError):
        problem = FieldError(f"query.{name}", "is no day or moment in ISO 8601")
        raise Invalid("The span is refused.", code="bad_date", errors=(problem,)) from None


def _answer(rows: list[Any]) -> Response[Any]:
    return Response(_ENCODER.encode(rows), media_type=MediaType.JSON)


ROUTES = [list_history, list_bills]
