"""Asks a provider how a subscription stands now."""

from datetime import datetime

from billing.accounts import Api
from billing.domain.providers import NotAtProvider, SubscriptionState
from billing.pagbank_api import PagBankApi
from chassis.clock import Clock


async def ask_subscription(api: Api, external_id: str, *, clock: Clock) -> tuple[datetime, SubscriptionState]:
    """When it was asked, and what it said; one that the provider does not know has ended there.

    No transaction is open. Raises ProviderUnavailable, ProviderMisconfigured.
    """
    assert not isinstance(api, PagBankApi), "PagBank has no subscriptions: their cycle is ours"
    asked_at = clock()
    try:
        return asked_at, await api.get_subscription(external_id)
    except NotAtProvider:
        return asked_at, SubscriptionState(external_id=external_id, status="cancelled")
