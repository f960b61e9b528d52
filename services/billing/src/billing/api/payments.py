"""Payments and refunds over HTTP."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing import store
from billing.accounts import Accounts
from billing.api.access import is_platform_admin
from billing.api.pages import Cursor, Limit, Page, page_of, start_of
from billing.domain.customers import SoldBy
from billing.domain.payments import Payment
from billing.domain.providers import Method, PaymentStatus, Provider
from billing.domain.refunds import Refund, RefundStatus
from billing.usecases.cancel_subscription import cancel_subscription
from billing.usecases.refresh_refunds import refresh_refunds
from billing.usecases.refund_payment import Refunded, refund_payment
from billing.usecases.request_refund import request_refund
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.doers import doer_of
from chassis.idempotency import KEY_HEADER, once
from chassis.identity import requires, tenant_of

Amount = Annotated[int, msgspec.Meta(ge=1, le=2**53, description="Minor units; all that is left where it is absent.")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class PaymentView(msgspec.Struct, frozen=True, kw_only=True):
    """A payment, or a try at one. `review_reason`: money that fits nothing, for a person to decide on."""

    id: UUID
    tenant_id: UUID
    sold_by: SoldBy
    invoice_id: UUID
    order_id: UUID | None
    customer_id: UUID
    provider: Provider
    external_id: str | None
    method: Method
    status: PaymentStatus
    amount_cents: int
    refunded_cents: int
    currency: str
    description: str
    reference: str | None
    due_on: date | None
    paid_at: datetime | None
    failure_reason: str | None
    review_reason: str | None
    txid: str | None
    end_to_end_id: str | None
    pix_copy_paste: str | None
    pix_expires_at: datetime | None
    url: str | None
    created_at: datetime
    updated_at: datetime


class RefundView(msgspec.Struct, frozen=True, kw_only=True):
    """A refund. `requested`: the provider's answer is not known yet; the same request again goes on from there.

    `overdue_at`: it has taken so long that the platform's administrator was told.
    """

    id: UUID
    payment_id: UUID
    amount_cents: int
    status: RefundStatus
    reason: str | None
    external_id: str | None
    requested_by: str
    created_at: datetime
    updated_at: datetime
    overdue_at: datetime | None


class PaymentDetail(PaymentView, frozen=True, kw_only=True):
    """A payment with its refunds, the oldest first."""

    refunds: list[RefundView]


class RefundAnswer(RefundView, frozen=True, kw_only=True):
    """A refund with its payment as it stands after it."""

    payment: PaymentView


class NewRefund(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much goes back, and whether the subscription that was paid for ends with it."""

    amount_cents: Amount | None = None
    reason: Reason | None = None
    cancel_subscription: bool = False


class _Intent(msgspec.Struct, frozen=True):
    refund_id: UUID


@get("/payments", guards=[requires("billing:read")])
async def list_payments(
    request: StrictRequest,
    db: NamedDependency[Database],
    status: Annotated[PaymentStatus | None, QueryParameter()] = None,
    invoice_id: Annotated[UUID | None, QueryParameter()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[PaymentView]:
    """The tenant's payments, newest first."""
    tenant_id = tenant_of(request.user)
    async with transaction(db, tenant_id) as conn:
        rows = await store.payments.list_payments(
            conn, tenant_id, before=start_of(cursor), limit=limit + 1, status=status, invoice_id=invoice_id
        )
    return page_of(rows, [PaymentView(**_shown(row)) for row in rows], limit)


@get("/payments/{payment_id:uuid}", guards=[requires("billing:read")])
async def get_payment(
    request: StrictRequest, db: NamedDependency[Database], payment_id: FromPath[UUID]
) -> PaymentDetail:
    """One payment, with its refunds."""
    tenant_id = tenant_of(request.user)
    async with transaction(db, tenant_id) as conn:
        row = await store.payments.get_payment(conn, tenant_id, payment_id)
        refunds = await store.refunds.list_refunds(conn, tenant_id, payment_id)
    return PaymentDetail(**_shown(row), refunds=[RefundView(**_refund_shown(refund)) for refund in refunds])


@post("/payments/{payment_id:uuid}/refund", guards=[requires("payments:refund")])
async def post_refund(
    data: JSONBody[NewRefund],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    accounts: NamedDependency[Accounts],
    payment_id: FromPath[UUID],
) -> Response[RefundAnswer]:
    """Gives money back. An Idempotency-Key refunds once; without one, what repeats an open request is that request.

    What was paid to the platform only its administrators refund.
    """
    identity, tenant_id = request.user, tenant_of(request.user)
    await refresh_refunds(db, tenant_id, payment_id, accounts=accounts, clock=clock)

    async def intend(conn: Connection) -> _Intent:
        refund = await request_refund(
            conn,
            tenant_id,
            payment_id,
            amount_cents=data.amount_cents,
            reason=data.reason,
            is_keyed=KEY_HEADER in request.headers,
            may_refund_sales=is_platform_admin(identity),
            by=doer_of(request),
            now=clock(),
        )
        return _Intent(refund.id)

    written = await once(request, db, data, intend)
    intent = msgspec.json.decode(written.content, type=_Intent)
    refunded = await refund_payment(db, tenant_id, intent.refund_id, accounts=accounts, clock=clock)
    if data.cancel_subscription:
        await _end_subscription(request, db, refunded.payment, accounts, clock)
    answer: Any = _answer(refunded)
    return Response(answer, status_code=201, headers=written.headers)


async def _end_subscription(
    request: StrictRequest, db: Database, payment: Payment, accounts: Accounts, clock: Clock
) -> None:
    async with transaction(db, payment.tenant_id) as conn:
        invoice = await store.invoices.get_invoice(conn, payment.tenant_id, payment.invoice_id)
    if invoice.subscription_id is not None:
        await cancel_subscription(
            db,
            payment.tenant_id,
            invoice.subscription_id,
            at_period_end=False,
            reason="refunded",
            accounts=accounts,
            by=doer_of(request),
            clock=clock,
        )


def _answer(refunded: Refunded) -> RefundAnswer:
    return RefundAnswer(**_refund_shown(refunded.refund), payment=PaymentView(**_shown(refunded.payment)))


def _shown(row: Payment) -> dict[str, Any]:
    return {name: getattr(row, name) for name in PaymentView.__struct_fields__}


def _refund_shown(row: Refund) -> dict[str, Any]:
    return {name: getattr(row, name) for name in RefundView.__struct_fields__}


ROUTES = [list_payments, get_payment, post_refund]
