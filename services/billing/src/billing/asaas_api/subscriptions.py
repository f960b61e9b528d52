"""Asaas' subscriptions: made once for each reference, with the payments that come of them."""

from collections.abc import Mapping
from datetime import date

from billing.asaas_api.connection import an_object, every, path
from billing.asaas_api.payments import oldest
from billing.asaas_api.states import payment_state, reais, subscription_state
from billing.domain.providers import NotAtProvider, PaymentState, PaymentStatus, ProviderRefused, SubscriptionState
from billing.provider_http import ProviderHttp


async def get_subscription(http: ProviderHttp, external_id: str) -> SubscriptionState:
    """A subscription as it stands. Raises NotAtProvider."""
    return subscription_state(an_object(await http.ask("GET", path("subscriptions", external_id))))


async def find_subscription(http: ProviderHttp, reference: str) -> SubscriptionState | None:
    """The subscription with our reference: the first one made that is not withdrawn, else None."""
    found = await oldest(http, "/subscriptions", reference)
    return subscription_state(found) if found else None


async def ensure_subscription(http: ProviderHttp, body: Mapping[str, object]) -> SubscriptionState:
    """The subscription with the body's `externalReference`, made when there is none."""
    found = await find_subscription(http, str(body["externalReference"]))
    return found or subscription_state(an_object(await http.ask("POST", "/subscriptions", json=body)))


async def list_subscription_payments(http: ProviderHttp, external_id: str) -> list[PaymentState]:
    """A subscription's payments that are not withdrawn, by their due day."""
    where = path("subscriptions", external_id, "payments")
    states = [payment_state(one) async for one in every(http, where, {})]
    kept = [state for state in states if state.status is not PaymentStatus.CANCELLED]
    return sorted(kept, key=lambda state: (state.due_on or date.max, state.external_id))


async def cancel_subscription(http: ProviderHttp, external_id: str) -> None:
    """Ends a subscription, and with it the payments that are still due; one that has ended stays so."""
    try:
        await http.ask("DELETE", path("subscriptions", external_id))
    except (NotAtProvider, ProviderRefused):
        if (await get_subscription(http, external_id)).status != "cancelled":
            raise


async def update_value(
    http: ProviderHttp, external_id: str, amount_cents: int, *, update_pending: bool
) -> SubscriptionState:
    """Sets what the next payments cost, and with `update_pending` those that are already made and unpaid."""
    body = {"value": reais(amount_cents), "updatePendingPayments": update_pending}
    return subscription_state(an_object(await http.ask("PUT", path("subscriptions", external_id), json=body)))
