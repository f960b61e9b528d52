"""Makes a claimed session an order of ours, for what was paid on it to settle: at the plan's own price or not."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain.claims import CLAIM, attested_price, buyer_of, price_of
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.invoices import Invoice
from billing.domain.plans import PlanPrice
from billing.domain.providers import CheckoutState, Interval, PaymentState, PaymentStatus, Provider
from billing.domain.selling import SellingTerms, Wanted
from billing.usecases.attach_payment import attach_payment
from billing.usecases.note_order import note_order
from billing.usecases.place_order import PlacedOrder, place_order
from billing.usecases.receive_payment import receive_payment
from bus.inbox import first_time
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.errors import Invalid
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import PaymentClaimed


class _Taken(Exception):
    """Somebody else made the session theirs meanwhile."""


async def record_claim(
    db: Database,
    claim: PaymentClaimed,
    page: CheckoutState | None,
    interval: Interval | None,
    *,
    answered: tuple[str, UUID],
    box: SecretBox,
    terms: SellingTerms,
    clock: Clock,
) -> str | None:
    """Why there is nothing that the claim could be for; None when the session is an order's now, ours or another's.

    `page` is Stripe's session, of that `interval`: its order waits for `apply_checkout`. Without one the claim is
    attested, and its order is paid in the same transaction. `answered` notes the message in the inbox with it.
    """
    async with transaction(db, claim.tenant_id) as conn:
        price = await _price(conn, claim, page, interval, terms)
    if isinstance(price, str):
        return price
    try:
        async with transaction(db, claim.tenant_id) as conn:
            placed = await _place(conn, claim, price, box, terms, clock())
            await first_time(conn, *answered)
            if page is None:
                assert placed.invoice is not None
                await _pay(conn, claim, placed.invoice, clock())
    except _Taken:
        return None
    except Invalid as refusal:  # the plan went off sale between the two transactions
        return refusal.detail
    return None


async def _price(
    conn: Connection, claim: PaymentClaimed, page: CheckoutState | None, interval: Interval | None, terms: SellingTerms
) -> PlanPrice | str:
    plan = await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, claim.plan_slug)
    if plan is None:
        return "no such plan is for sale"
    prices = await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan.id])
    if page is None:
        price = attested_price(prices, amount_cents=claim.amount_cents, currency=terms.currency)
    else:
        price = price_of(prices, amount_cents=page.amount_cents, currency=page.currency, interval=interval)
    return price or "the plan costs another amount"


async def _place(
    conn: Connection, claim: PaymentClaimed, price: PlanPrice, box: SecretBox, terms: SellingTerms, now: datetime
) -> PlacedOrder:
    known = await store.customers.find_latest_platform_customer(conn, claim.tenant_id)
    placed = await place_order(
        conn,
        buyer_of(claim, known),
        Wanted(price=str(price.id), currency=price.currency),
        provider=Provider.STRIPE,
        has_trial=False,
        source=CLAIM,
        box=box,
        terms=terms,
        now=now,
    )
    mine = await store.directory.insert_object(
        conn,
        claim.tenant_id,
        provider=Provider.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        kind="checkout",
        external_id=claim.session_id,
        object_id=placed.order.id,
    )
    if not mine:
        raise _Taken
    order = msgspec.structs.replace(
        placed.order, external_id=claim.session_id, claim_id=claim.claim_id, version=placed.order.version + 1
    )
    await store.orders.update_order(conn, claim.tenant_id, order)
    await note_order(conn, order.tenant_id, order.id, "claimed", now=now, claim=str(claim.claim_id))
    return msgspec.structs.replace(placed, order=order)


async def _pay(conn: Connection, claim: PaymentClaimed, invoice: Invoice, now: datetime) -> None:
    seen = PaymentState(
        external_id=claim.session_id,
        status=PaymentStatus.PAID,
        amount_cents=invoice.amount_cents,
        currency=invoice.currency,
        paid_at=claim.occurred_at,
    )
    payment = await attach_payment(conn, invoice, seen, now=now)
    if payment is None:
        raise _Taken
    await receive_payment(conn, claim.tenant_id, payment.id, seen, asked_at=now, now=now)
