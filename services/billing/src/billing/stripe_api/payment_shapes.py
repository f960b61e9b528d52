"""Stripe's payment intents and what hangs on them, as far as they are read; before basil and since."""

from typing import Literal

import msgspec

from billing.stripe_api.shapes import Expandable, Invoice, Listed, Timestamp


class Refund(msgspec.Struct):
    """A refund."""

    id: str
    amount: int
    status: Literal["pending", "requires_action", "succeeded", "failed", "canceled"] | None = None
    metadata: dict[str, str] | None = None


class PixDetails(msgspec.Struct):
    """How a PIX was paid; `bank_transaction_id` is the transfer's end-to-end id."""

    bank_transaction_id: str | None = None


class PaymentMethodDetails(msgspec.Struct):
    """How a charge was paid."""

    type: str
    pix: PixDetails | None = None


class Charge(msgspec.Struct):
    """A try to take the money; the latest one says what became of it."""

    id: str
    created: Timestamp
    paid: bool = False
    amount_refunded: int = 0
    disputed: bool = False
    refunds: Listed[Refund] | None = None  # expanded since 2022-11-15
    payment_method_details: PaymentMethodDetails | None = None


class PixQrCode(msgspec.Struct):
    """What the payer scans or pastes."""

    data: str
    expires_at: Timestamp | None = None
    hosted_instructions_url: str | None = None


class NextAction(msgspec.Struct):
    """What the payer has to do."""

    pix_display_qr_code: PixQrCode | None = None


class PaymentError(msgspec.Struct):
    """Why the last try failed."""

    code: str | None = None
    message: str | None = None


class PaymentIntent(msgspec.Struct):
    """A payment, over all tries."""

    id: str
    status: Literal[
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "canceled",
        "succeeded",
    ]
    amount: int
    currency: str
    created: Timestamp
    amount_received: int = 0
    customer: Expandable = None
    metadata: dict[str, str] | None = None
    payment_method_types: list[str] = []
    latest_charge: str | Charge | None = None
    next_action: NextAction | None = None
    last_payment_error: PaymentError | None = None
    invoice: Expandable | msgspec.UnsetType = msgspec.UNSET  # before basil, null where there is none


class Dispute(msgspec.Struct):
    """A payer's objection at their bank. A `warning_*` is only asked about: no money has moved."""

    id: str
    status: str


class InvoicePaymentOf(msgspec.Struct):
    """The invoice that a payment intent pays, since basil."""

    invoice: str | Invoice
