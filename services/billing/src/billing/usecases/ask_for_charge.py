"""Asks a provider for a charge under a key, and finds the charge that a lost answer was about."""

from datetime import datetime
from typing import Final

from billing.accounts import Api
from billing.domain.pix_codes import refuse_wrong_code
from billing.domain.providers import (
    ChargeCreated,
    ChargeRequest,
    Method,
    PaymentStatus,
    ProviderRefused,
    ProviderUnknown,
)
from billing.stripe_api import StripeApi

#: Keys that are tried where Stripe keeps answering one with the failure of its first use.
_KEYS: Final = 8


async def ask_for_charge(api: Api, request: ChargeRequest, key: str, *, since: datetime) -> ChargeCreated:
    """The charge for the request's reference, the same one for the same key. Made no earlier than `since`.

    Stripe answers a key with its first answer for a day, a 500 too, whether or not the charge was made: then it is
    looked up by our reference, and only where there is none another key asks for one. Asaas is looked through first
    anyway. A PIX code that is not one for this amount is no answer: it is never shown, and asked for again.
    Raises ProviderRefused for a card at Stripe, which is charged on its own page only.
    """
    made = await _ask(api, request, key, since)
    if request.method is Method.PIX and made.status is PaymentStatus.PENDING:
        refuse_wrong_code(made, request.amount_cents)
    return made


async def _ask(api: Api, request: ChargeRequest, key: str, since: datetime) -> ChargeCreated:
    if not isinstance(api, StripeApi):
        return await api.create_charge(request, key=key)
    if request.method is not Method.PIX:
        raise ProviderRefused("Stripe charges cards on its own page only: make a checkout.")
    lost: ProviderUnknown | None = None
    for number in range(_KEYS):
        try:
            return await api.create_pix(request, key=f"{key}-{number}" if number else key)
        except ProviderUnknown as failure:
            if failure.code != "provider_result_stays_unknown":
                raise
            lost = failure
        found = await api.find_payment(request.reference, since)
        if found is not None:
            return await api.get_pix(found.external_id)
    assert lost is not None
    raise lost
