"""What a provider's own invoice says of its payment."""

from billing.domain.payments import SETTLING
from billing.domain.providers import InvoiceState, PaymentState, PaymentStatus


def paying(invoice: InvoiceState, payment: PaymentState | None) -> PaymentState:
    """The payment of a paid invoice: its own, or, where it was settled without one, the invoice itself as one."""
    if payment is not None and payment.status in SETTLING:
        return payment
    return PaymentState(
        external_id=invoice.external_id,
        status=PaymentStatus.PAID,
        amount_cents=invoice.amount_paid_cents,
        currency=invoice.currency,
        paid_at=invoice.paid_at,
        customer_external_id=invoice.customer_external_id,
        subscription_external_id=invoice.subscription_external_id,
        invoice_external_id=invoice.external_id,
    )
