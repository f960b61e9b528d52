"""Charges in seed 002's words, and what its front ends send to make them or to give money back."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from billing.api.payment_gateway.answers import cents_of, reais_of
from billing.domain.brazil_days import day_in_brazil, end_of_day
from billing.domain.charging import NewCharge
from billing.domain.payments import Payment
from billing.domain.providers import Method, Provider
from billing.domain.raw_objects import shown, without_secrets
from billing.store.charges import ChargedCustomer
from contracts.errors import FieldError, Invalid

Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
BillingType = Literal["BOLETO", "PIX", "CREDIT_CARD", "DEBIT_CARD", "UNDEFINED"]

_METHODS: Final[dict[BillingType, Method]] = {
    "BOLETO": Method.BOLETO,
    "PIX": Method.PIX,
    "CREDIT_CARD": Method.CARD,
    "DEBIT_CARD": Method.DEBIT_CARD,
    "UNDEFINED": Method.ANY,
}
_BILLING_TYPES: Final = {method: name for name, method in _METHODS.items()}


class Discount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A discount, fine or interest, as Asaas defines them."""

    value: Decimal
    type: Literal["FIXED", "PERCENTAGE"] | None = None
    due_date_limit_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] | None = None


class ChargeFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a customer is to pay, in reais; `dueDate` is a day in Brazil."""

    billing_type: BillingType
    value: Decimal
    due_date: date
    description: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    external_reference: Reference | None = None
    discount: Discount | None = None
    fine: Discount | None = None
    interest: Discount | None = None

    def wanted(self) -> NewCharge:
        """It in our words. Raises Invalid for an amount that nobody can be charged."""
        return NewCharge(
            method=_METHODS[self.billing_type],
            amount_cents=cents_of(self.value),
            due_on=self.due_date,
            description=self.description or "Cobrança",
            reference=self.external_reference,
            # A PIX code is good for as long as what it pays is not late.
            expires_at=end_of_day(self.due_date) if self.billing_type == "PIX" else None,
            discount=_passed_on("discount", self.discount),
            fine=_passed_on("fine", self.fine),
            interest=_passed_on("interest", self.interest),
        )


class RefundFields(msgspec.Struct, frozen=True, kw_only=True):
    """How much goes back, in reais; all that is left when nothing is said."""

    value: Decimal | None = None
    description: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class ChargeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A charge as the second dialect's front shows it; `status` is the provider's word where we have it."""

    id: str
    tenant_id: str
    gateway: Provider
    gateway_charge_id: str | None
    gateway_customer_id: str | None
    lead_id: str | None
    transaction_id: str | None
    billing_type: str
    value: Decimal
    due_date: date | None
    description: str
    external_reference: str | None
    status: str
    payment_date: date | None
    confirmed_date: date | None
    bank_slip_url: str | None
    invoice_url: str | None
    invoice_number: str | None
    pix_copy_paste: str | None
    refunded_value: Decimal
    webhook_received: bool
    raw_response: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    synced_at: datetime | None


def charge_view(payment: Payment, customer: ChargedCustomer | None) -> ChargeView:
    """The charge in the second dialect."""
    raw = payment.raw or {}
    paid_on = day_in_brazil(payment.paid_at) if payment.paid_at else None
    return ChargeView(
        id=str(payment.id),
        tenant_id=str(payment.tenant_id),
        gateway=payment.provider,
        gateway_charge_id=payment.external_id,
        gateway_customer_id=(customer.external_id if customer else None) or str(payment.customer_id),
        lead_id=customer.lead_id if customer else None,
        transaction_id=str(payment.invoice_id),
        billing_type=_BILLING_TYPES[payment.method],
        value=reais_of(payment.amount_cents),
        due_date=payment.due_on,
        description=payment.description,
        external_reference=payment.reference,
        status=_text(raw, "status") or payment.status.value.upper(),
        payment_date=paid_on,
        confirmed_date=paid_on,
        bank_slip_url=_text(raw, "bankSlipUrl"),
        invoice_url=_text(raw, "invoiceUrl") or payment.url,
        invoice_number=_text(raw, "invoiceNumber"),
        pix_copy_paste=payment.pix_copy_paste,
        refunded_value=reais_of(payment.refunded_cents),
        webhook_received=payment.observed_at is not None,
        raw_response=shown(raw, payment.reference),
        created_at=payment.created_at,
        updated_at=payment.updated_at,
        synced_at=payment.observed_at,
    )


def raw_charge(payment: Payment, customer: ChargedCustomer | None) -> dict[str, Any]:
    """The provider's own object, or one in Asaas' shape where the provider has none (Stripe) or has not answered."""
    if payment.raw:
        return shown(payment.raw, payment.reference)
    view = charge_view(payment, customer)
    return {
        "object": "payment",
        "id": payment.external_id or view.id,
        "customer": view.gateway_customer_id,
        "billingType": view.billing_type,
        "value": view.value,
        "dueDate": view.due_date,
        "description": view.description,
        "externalReference": view.external_reference,
        "status": view.status,
        "invoiceUrl": view.invoice_url,
        "pixCopyPaste": view.pix_copy_paste,
    }


def stranger(raw: dict[str, Any]) -> dict[str, Any]:
    """An object at the tenant's account that was not made here."""
    cleaned: dict[str, Any] = without_secrets(raw)
    return cleaned


def _text(raw: dict[str, Any], name: str) -> str | None:
    found = raw.get(name)
    return found if isinstance(found, str) and found else None


def _passed_on(field: str, given: Discount | None) -> dict[str, object] | None:
    """For Asaas as it was given: a number of at most two decimals, which JSON writes as it read it."""
    if given is None:
        return None
    value = given.value
    if not value.is_finite() or not 0 <= value < 1_000_000 or value.scaleb(2) != value.scaleb(2).to_integral_value():
        raise Invalid("The charge is refused.", errors=(FieldError(f"$.{field}.value", "is no amount or percentage"),))
    number: object = int(value) if value == value.to_integral_value() else float(value)
    rest = {"type": given.type, "dueDateLimitDays": given.due_date_limit_days}
    return {"value": number} | {name: one for name, one in rest.items() if one is not None}
