"""Asks a provider for a payment page under a key, and finds the page that a lost answer was about."""

from datetime import datetime
from typing import Final

from billing.accounts import Api
from billing.domain.providers import Checkout, CheckoutRequest, ProviderUnknown
from billing.stripe_api import StripeApi

#: Keys that are tried where Stripe keeps answering one with the failure of its first use.
_KEYS: Final = 8


async def ask_for_checkout(api: Api, request: CheckoutRequest, key: str, *, since: datetime) -> Checkout:
    """The page for the request's reference, the same one for the same key. Made no earlier than `since`.

    Stripe answers a key with its first answer for a day, a 500 too, whether or not the page was made: then it is looked
    up by our reference, and only where there is none another key asks for one. Asaas is looked through first anyway.
    """
    if not isinstance(api, StripeApi):
        return await api.create_checkout(request, key=key)
    lost: ProviderUnknown | None = None
    for number in range(_KEYS):
        try:
            return await api.create_checkout(request, key=f"{key}-{number}" if number else key)
        except ProviderUnknown as failure:
            if failure.code != "provider_result_stays_unknown":
                raise
            lost = failure
        found = await api.find_checkout(request.reference, since)
        if found is not None:
            return Checkout(
                external_id=found.external_id,
                url=found.url or request.cancel_url,  # it is paid or over: nothing is left to do there
                customer_external_id=found.customer_external_id,
                subscription_external_id=found.subscription_external_id,
            )
    assert lost is not None
    raise lost
