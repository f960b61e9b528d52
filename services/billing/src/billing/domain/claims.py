"""Claims of payments: when a checkout site's word that somebody paid is true, by our record or by Stripe's."""

from collections.abc import Sequence
from typing import Final

from billing.domain.addresses import read_email, read_name
from billing.domain.buyers import Buyer
from billing.domain.customers import Customer
from billing.domain.orders import Order, OrderStatus
from billing.domain.plans import PlanPrice
from billing.domain.providers import CheckoutState, Interval
from contracts.errors import Invalid
from contracts.tenants import PaymentClaimed

#: What an order says it came by that was made for a claim.
CLAIM: Final = "claim"
USED: Final = "another claim used the session"
UNKNOWN: Final = "no such session"
#: Where the site's own sessions say which plan they are of; seed 002's text and its code differ.
_PLAN_NAMES: Final = ("plan_id", "planId")


def buyer_of(claim: PaymentClaimed, known: Customer | None) -> Buyer:
    """Who is said to have paid, as far as it can be read; `known` is the tenant's customer row, where it has one."""
    return Buyer(
        tenant_id=claim.tenant_id,
        email=_email(claim.email),
        name=_name(claim.name),
        is_signed_in=False,
        is_new_tenant=known is None or known.is_provisional,
    )


def why_not_order(claim: PaymentClaimed, order: Order) -> str | None:
    """Why our order is not what was claimed; None when it is, whether or not it is paid.

    An order that a claim made is that claim's. One of our own pages waits for whoever claimed it last.
    """
    is_anothers = order.claim_id not in (None, claim.claim_id)
    if is_anothers and (order.source == CLAIM or order.status in (OrderStatus.PAID, OrderStatus.REFUNDED)):
        return USED
    if (order.buyer_email or "") != claim.email.lower():
        return "somebody else's order"
    if claim.plan_slug not in (order.plan_slug, str(order.plan_id)):
        return "another plan was ordered"
    if claim.amount_cents not in (None, order.amount_cents):
        return "another amount was ordered"
    if order.status is OrderStatus.REFUNDED:
        return "the payment went back"
    return None


def why_not_page(claim: PaymentClaimed, page: CheckoutState) -> str | None:
    """Why a session of the platform's account, of no order of ours, is not what was claimed; None when it is."""
    if not page.is_paid or page.payment_status != "paid" or page.amount_cents <= 0:
        return "the session is not paid"
    if page.payer_email is None or page.payer_email.lower() != claim.email.lower():
        return "somebody else paid the session"
    plans = {page.metadata[name] for name in _PLAN_NAMES if page.metadata.get(name)}
    if plans - {claim.plan_slug}:
        return "the session is of another plan"
    if claim.amount_cents not in (None, page.amount_cents):
        return "the session is of another amount"
    return None


def price_of(
    prices: Sequence[PlanPrice], *, amount_cents: int, currency: str, interval: Interval | None
) -> PlanPrice | None:
    """The price for sale that this was paid at; `interval` is the provider's, where it knows one."""
    return next(
        (
            price
            for price in prices
            if price.retired_at is None
            and (price.amount_cents, price.currency) == (amount_cents, currency)
            and interval in (None, price.interval)
        ),
        None,
    )


def attested_price(prices: Sequence[PlanPrice], *, amount_cents: int | None, currency: str) -> PlanPrice | None:
    """The price that an attested claim was paid at: the one of its amount, the monthly one where it says none."""
    if amount_cents is not None:
        return price_of(prices, amount_cents=amount_cents, currency=currency, interval=None)
    for_sale = [price for price in prices if price.retired_at is None and price.currency == currency]
    return next((price for price in for_sale if price.interval is Interval.MONTH), None)


def claimed_price(prices: Sequence[PlanPrice], *, amount_cents: int | None, currency: str) -> PlanPrice | None:
    """The price that a claim which does not hold was of: of its amount, else the monthly one, else any for sale."""
    for_sale = (price for price in prices if price.retired_at is None)
    return (
        attested_price(prices, amount_cents=amount_cents, currency=currency)
        or attested_price(prices, amount_cents=None, currency=currency)
        or next(for_sale, None)
    )


def _email(email: str) -> str | None:
    try:
        return read_email(email, field="email")
    except Invalid:
        return None


def _name(name: str) -> str | None:
    try:
        return read_name(name, field="name")
    except Invalid:
        return None
