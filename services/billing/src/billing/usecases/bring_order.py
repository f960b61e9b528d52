"""Looks at an order's page first, when something that came of the order is told of before the page is."""

from uuid import UUID

from billing import store
from billing.domain.orders import OrderStatus
from billing.domain.providers import NotAtProvider
from billing.stripe_api import StripeApi
from billing.usecases.apply_checkout import apply_checkout
from chassis.clock import Clock
from chassis.db import Database, transaction


async def bring_order(
    db: Database, api: StripeApi, account_id: UUID, tenant_id: UUID, order_id: UUID, *, clock: Clock
) -> None:
    """The order is as its page says now: whatever order Stripe's events come in, the page is the first of them.

    Nothing for an order that is paid, for what is no order, and for one whose page was never made. Raises what the
    provider's adapter does.
    """
    async with transaction(db, tenant_id) as conn:
        order = await store.orders.find_order(conn, tenant_id, order_id)
    if order is None or order.status in (OrderStatus.PAID, OrderStatus.REFUNDED):
        return
    page_id = order.external_id
    if page_id is None:  # the answer that brought it was lost
        page = await api.find_checkout(order.id, order.placed_at)
        page_id = page.external_id if page else None
    if page_id is None:
        return
    try:
        await apply_checkout(db, api, account_id, page_id, clock=clock)
    except NotAtProvider:
        return
