"""Invoices: what is owed for what, and whether it is settled."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.customers import SoldBy
from billing.domain.providers import Provider
from contracts.billing import InvoiceIssued, InvoicePaid, InvoicePaymentFailed, InvoiceVoided


class InvoiceStatus(StrEnum):
    """Where an invoice stands; the README draws it."""

    PENDING = "pending"
    PAID = "paid"
    VOID = "void"
    REFUNDED = "refunded"


#: Money that arrives for a void invoice is for a person to decide on: nothing leaves `void`.
NEXT: Final = {
    InvoiceStatus.PENDING: {InvoiceStatus.PAID, InvoiceStatus.VOID},
    InvoiceStatus.PAID: {InvoiceStatus.REFUNDED},
    InvoiceStatus.VOID: set[InvoiceStatus](),
    InvoiceStatus.REFUNDED: set[InvoiceStatus](),
}


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """One row of invoices."""

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
    account_id: UUID
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
    version: int
    updated_at: datetime


def _facts(invoice: Invoice, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": invoice.tenant_id,
        "occurred_at": now,
        "sold_by": invoice.sold_by.value,
        "invoice_id": invoice.id,
        "number": invoice.number,
        "customer_id": invoice.customer_id,
        "subscription_id": invoice.subscription_id,
        "order_id": invoice.order_id,
        "plan_id": invoice.plan_id,
        "plan_slug": invoice.plan_slug,
        "interval": invoice.interval,
        "provider": invoice.provider.value,
        "amount_cents": invoice.amount_cents,
        "refunded_cents": invoice.refunded_cents,
        "currency": invoice.currency,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "due_at": invoice.due_at,
        "issued_at": invoice.issued_at,
    }


def issued(invoice: Invoice, now: datetime) -> InvoiceIssued:
    """The event that says so."""
    return InvoiceIssued(**_facts(invoice, now))


def paid(invoice: Invoice, now: datetime, *, payment_id: UUID) -> InvoicePaid:
    """The event that says so."""
    return InvoicePaid(**_facts(invoice, now), payment_id=payment_id, paid_at=invoice.paid_at or now)


def payment_failed(invoice: Invoice, now: datetime) -> InvoicePaymentFailed:
    """The event that says so."""
    return InvoicePaymentFailed(
        **_facts(invoice, now),
        attempts=invoice.attempts,
        reason=invoice.last_failure,
        next_attempt_at=invoice.next_attempt_at,
    )


def voided(invoice: Invoice, now: datetime) -> InvoiceVoided:
    """The event that says so."""
    return InvoiceVoided(**_facts(invoice, now))
