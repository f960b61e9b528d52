"""Asks Stripe for a payment that another object names, and may name in vain."""

from billing.domain.providers import NotAtProvider, PaymentState
from billing.stripe_api import StripeApi


async def ask_payment(api: StripeApi, external_id: str | None) -> PaymentState | None:
    """The payment as it is now; None for no id, and for one that Stripe does not know."""
    if external_id is None:
        return None
    try:
        return await api.get_payment(external_id)
    except NotAtProvider:
        return None
