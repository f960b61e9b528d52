"""Takes in what a provider says of a subscription: whether it runs, for how long, at which price."""

from uuid import UUID

from billing import store
from billing.asaas_api import AsaasApi
from billing.domain.provider_events import Outcome, for_review, ignored, processed
from billing.domain.providers import Provider
from billing.stripe_api import StripeApi
from billing.usecases.bring_order import bring_order
from billing.usecases.locate_object import locate_object
from billing.usecases.observe_subscription import observe_subscription
from chassis.clock import Clock
from chassis.db import Database, transaction


async def apply_subscription(
    db: Database, api: StripeApi | AsaasApi, account_id: UUID, external_id: str, *, clock: Clock
) -> Outcome:
    """What came of the subscription as it is now. One whose order is not paid is not made by this.

    Of Asaas' only the end counts: that one is late, or paid for another period, is told by its payments. Raises what
    the provider's adapter does.
    """
    asked_at = clock()
    seen = await api.get_subscription(external_id)
    provider = Provider.STRIPE if isinstance(api, StripeApi) else Provider.ASAAS
    names = [("subscription", external_id), ("reference", seen.reference)]
    found = await locate_object(db, provider, account_id, names)
    if found is not None and found.kind == "reference" and isinstance(api, StripeApi):
        await bring_order(db, api, account_id, found.tenant_id, found.object_id, clock=clock)
        found = await locate_object(db, provider, account_id, names)
    if found is None:
        return ignored("it is no subscription of ours")
    if provider is Provider.ASAAS and seen.status != "cancelled" and found.kind == "subscription":
        return processed(found.tenant_id)
    async with transaction(db, found.tenant_id) as conn:
        if found.kind == "reference":
            other = await store.subscriptions.find_of_order(conn, found.tenant_id, found.object_id)
            if other is not None:
                return for_review("its order has another subscription", found.tenant_id)
            return ignored("its order is not paid", found.tenant_id)
        glimpse = await store.subscriptions.get_subscription(conn, found.tenant_id, found.object_id)
        if glimpse.order_id is not None:
            await store.orders.lock_order(conn, found.tenant_id, glimpse.order_id)
        subscription = await store.subscriptions.lock_subscription(conn, found.tenant_id, found.object_id)
        return await observe_subscription(conn, subscription, seen, asked_at=asked_at, now=clock())
