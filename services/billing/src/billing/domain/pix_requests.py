"""What a PIX code is wanted for: a plan, an invoice that is owed, or an amount that a tenant asks of a customer."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from billing.domain.brazil_days import day_in_brazil
from billing.domain.charging import NewCharge
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order
from billing.domain.payments import Payment
from billing.domain.providers import Method, PaymentStatus, Provider
from billing.domain.selling import Wanted
from billing.domain.subscriptions import Subscription
from contracts.errors import Conflict

#: Less time than this is no use to a payer.
_USABLE: Final = timedelta(minutes=1)


class PixPayer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays: a checked address and name, and a CPF or CNPJ without punctuation."""

    email: str
    name: str | None
    tax_id: str | None


class PixRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of `plan`, `invoice_id` and `amount_cents` is set. `provider` is whose code it is to be, if named."""

    plan: Wanted | None = None
    invoice_id: UUID | None = None
    amount_cents: int | None = None
    description: str | None
    payer: PixPayer | None
    expires_at: datetime
    provider: Provider | None


def pix_charge(amount_cents: int, description: str, expires_at: datetime) -> NewCharge:
    """What a provider is asked for. A provider that knows no hours takes the day."""
    return NewCharge(
        method=Method.PIX,
        amount_cents=amount_cents,
        due_on=day_in_brazil(expires_at),
        description=description,
        expires_at=expires_at,
    )


def is_open_code(payment: Payment, provider: Provider | None, now: datetime) -> bool:
    """Whether that payment's code can still be paid, or is being made: then there is no need for another one."""
    return (
        payment.method is Method.PIX
        and payment.status is PaymentStatus.PENDING
        and payment.review_reason is None
        and provider in (None, payment.provider)
        and (payment.pix_expires_at is None or payment.pix_expires_at > now + _USABLE)
    )


def refuse_unpayable(invoice: Invoice, order: Order | None, subscription: Subscription | None) -> None:
    """Nothing, for an invoice that nobody else collects. Raises Conflict: it would be paid twice, or is not owed."""
    if invoice.status is not InvoiceStatus.PENDING:
        raise Conflict(f"The invoice is {invoice.status.value}.", code="invoice_not_owed")
    is_collected = (
        invoice.external_id is not None
        or (subscription is not None and subscription.external_id is not None)
        or (order is not None and order.checkout_url is not None)
    )
    if is_collected:
        raise Conflict("The invoice is collected at its provider's own page.", code="invoice_collected_elsewhere")


def shown_txid(payment: Payment) -> str:
    """The TxID by which the payment is asked for: its code's, or ours where the code has none of its own."""
    return payment.txid or payment.id.hex
