"""Payment intents, PIX codes and refunds: our requests as Stripe's parameters, its objects as our states."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from billing.domain.br_code import NO_TXID, BrCodeRefused, parse_br_code
from billing.domain.providers import (
    ChargeCreated,
    ChargeRequest,
    Method,
    PaymentState,
    PaymentStatus,
    PixCode,
    RefundState,
)
from billing.stripe_api.payment_shapes import Charge, Dispute, InvoicePaymentOf, PaymentIntent, Refund
from billing.stripe_api.shapes import Invoice, Listed, id_of, instant, reference_in
from billing.stripe_api.transport import PAGE, Transport

_METHODS: Final = {"card": Method.CARD, "pix": Method.PIX, "boleto": Method.BOLETO}
_REFUND_STATUS: Final[dict[str | None, Literal["pending", "done", "failed"]]] = {
    None: "pending",
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "done",
    "failed": "failed",
    "canceled": "failed",
}
_HARMLESS: Final = ("won", "prevented")  # and every warning_*: the bank has only asked


def pix_params(request: ChargeRequest) -> dict[str, Any]:
    """Parameters of a payment intent that is confirmed at once, so that its answer has the code.

    The end is given as a moment, not as seconds from now: a repeated call has to have the same parameters.
    """
    payer = request.payer
    billing = {"email": payer.email, "name": payer.name, "tax_id": payer.tax_id}
    params: dict[str, Any] = {
        "amount": request.amount_cents,
        "currency": request.currency.lower(),
        "payment_method_types": ["pix"],
        "payment_method_data": {
            "type": "pix",
            "billing_details": {name: value for name, value in billing.items() if value},
        },
        "confirm": True,
        "metadata": {"payment_id": str(request.reference)},
    }
    if request.description:
        params["description"] = request.description
    if payer.external_id:
        params["customer"] = payer.external_id
    if request.expires_at is not None:
        params["payment_method_options"] = {"pix": {"expires_at": int(request.expires_at.timestamp())}}
    return params


def read_pix_charge(intent: PaymentIntent) -> ChargeCreated:
    """The charge and its code, which is there as long as it is to be paid."""
    code = intent.next_action.pix_display_qr_code if intent.next_action else None
    pix = None
    if code is not None:
        pix = PixCode(copy_paste=code.data, txid=_txid(code.data), expires_at=instant(code.expires_at))
    return ChargeCreated(
        external_id=intent.id,
        status=_status(intent, None, ()),
        customer_external_id=id_of(intent.customer),
        pix=pix,
        url=code.hosted_instructions_url if code else None,
    )


def _txid(copy_paste: str) -> str:
    # A code that we cannot read may still be one that a bank can: it is shown as it came.
    try:
        return parse_br_code(copy_paste).txid
    except BrCodeRefused:
        return NO_TXID


async def complete_payment(transport: Transport, intent: PaymentIntent) -> PaymentState:
    """The payment with what Stripe keeps elsewhere: its disputes, and since basil the invoice that it pays."""
    disputes: list[Dispute] = []
    if isinstance(intent.latest_charge, Charge) and intent.latest_charge.disputed:
        of_intent = {"payment_intent": intent.id, "limit": PAGE}
        disputes = (await transport.get("/v1/disputes", Listed[Dispute], of_intent)).data
    if intent.invoice is not msgspec.UNSET:
        return read_payment(intent, disputes, id_of(intent.invoice))
    if reference_in(intent.metadata) is not None:
        return read_payment(intent, disputes, None)  # made by us, and not by an invoice
    params = {
        "payment": {"type": "payment_intent", "payment_intent": intent.id},
        "expand": ["data.invoice"],
        "limit": 1,
    }
    pays = (await transport.get("/v1/invoice_payments", Listed[InvoicePaymentOf], params)).data
    return read_payment(intent, disputes, pays[0].invoice if pays else None)


def read_payment(intent: PaymentIntent, disputes: Sequence[Dispute], invoice: Invoice | str | None) -> PaymentState:
    """The payment as it is now; `invoice` is the one it pays, where that had to be asked for."""
    charge = intent.latest_charge if isinstance(intent.latest_charge, Charge) else None
    status = _status(intent, charge, disputes)
    is_paid = intent.status == "succeeded"
    details = charge.payment_method_details if charge else None
    failure = intent.last_payment_error
    code = intent.next_action.pix_display_qr_code if intent.next_action else None
    return PaymentState(
        external_id=intent.id,
        status=status,
        amount_cents=intent.amount_received if is_paid else intent.amount,
        currency=intent.currency.upper(),
        method=_method(intent, charge),
        refunded_cents=_refunded_cents(charge),
        refunds=tuple(map(read_refund, charge.refunds.data)) if charge and charge.refunds else (),
        reference=reference_in(intent.metadata),
        paid_at=instant(charge.created if charge else intent.created) if is_paid else None,
        customer_external_id=id_of(intent.customer),
        subscription_external_id=_subscription_id(invoice),
        invoice_external_id=invoice.id if isinstance(invoice, Invoice) else invoice,
        end_to_end_id=details.pix.bank_transaction_id if details and details.pix else None,
        failure_reason=(failure.message or failure.code) if failure and not is_paid else None,
        url=code.hosted_instructions_url if code else None,
    )


def _subscription_id(invoice: Invoice | str | None) -> str | None:
    if not isinstance(invoice, Invoice):
        return None
    details = invoice.parent.subscription_details if invoice.parent else None
    return id_of(details.subscription if details else invoice.subscription)


def _method(intent: PaymentIntent, charge: Charge | None) -> Method:
    if charge is not None and charge.payment_method_details is not None:
        return _METHODS.get(charge.payment_method_details.type, Method.ANY)
    types = intent.payment_method_types
    return _METHODS.get(types[0], Method.ANY) if len(types) == 1 else Method.ANY


def _status(intent: PaymentIntent, charge: Charge | None, disputes: Sequence[Dispute]) -> PaymentStatus:
    if intent.status == "succeeded":
        return _status_once_paid(intent, charge, disputes)
    if intent.status == "canceled":
        return PaymentStatus.CANCELLED
    if intent.status == "requires_payment_method" and intent.last_payment_error is not None:
        # An expired PIX code is asked for no more; a card may be tried again.
        is_over = intent.last_payment_error.code == "payment_intent_payment_attempt_expired"
        return PaymentStatus.CANCELLED if is_over else PaymentStatus.FAILED
    return PaymentStatus.PENDING


def _status_once_paid(intent: PaymentIntent, charge: Charge | None, disputes: Sequence[Dispute]) -> PaymentStatus:
    open_or_lost = [one for one in disputes if one.status not in _HARMLESS and not one.status.startswith("warning_")]
    if any(one.status == "lost" for one in open_or_lost):
        return PaymentStatus.CHARGED_BACK
    if open_or_lost:
        return PaymentStatus.DISPUTED
    refunded_cents = _refunded_cents(charge)
    if not refunded_cents:
        return PaymentStatus.PAID
    if refunded_cents >= intent.amount_received:
        return PaymentStatus.REFUNDED
    return PaymentStatus.PARTIALLY_REFUNDED


def _refunded_cents(charge: Charge | None) -> int:
    """The refunds that are done, where they are all listed; Stripe's own sum counts those under way too."""
    if charge is None:
        return 0
    if charge.refunds is None or charge.refunds.has_more:
        return charge.amount_refunded
    return sum(refund.amount for refund in charge.refunds.data if refund.status == "succeeded")


def read_refund(refund: Refund) -> RefundState:
    """The refund as it is now."""
    return RefundState(external_id=refund.id, status=_REFUND_STATUS[refund.status], amount_cents=refund.amount)
