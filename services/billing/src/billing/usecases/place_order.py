"""Places an order: what was sold, to whom, for how much, before anybody is asked to pay. Every selling route does."""

from datetime import datetime, timedelta

import msgspec

from billing import store
from billing.domain import orders
from billing.domain.buyers import Buyer
from billing.domain.customers import Customer
from billing.domain.drafts import first_invoice, platform_order
from billing.domain.invoices import Invoice
from billing.domain.orders import Order
from billing.domain.plans import Plan, PlanPrice
from billing.domain.providers import Provider
from billing.domain.selling import SellingTerms, Wanted
from billing.domain.subscriptions import SubscriptionStatus
from billing.usecases.choose_plan import choose_plan
from billing.usecases.choose_price import choose_price
from billing.usecases.ensure_customer import ensure_customer
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.note_order import note_order
from bus.outbox import tell
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.errors import Conflict, FieldError, Invalid


class PlacedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A pending order and what it owes; `invoice` None while a trial comes first."""

    order: Order
    plan: Plan
    price: PlanPrice
    customer: Customer
    invoice: Invoice | None


async def place_order(
    conn: Connection,
    buyer: Buyer,
    wanted: Wanted,
    *,
    provider: Provider,
    has_trial: bool,
    source: str,
    expires_at: datetime | None = None,
    box: SecretBox,
    terms: SellingTerms,
    now: datetime,
) -> PlacedOrder:
    """The order, in the buyer's tenant, at the price that the plan has for sale now; told as billing.order.placed.

    `has_trial` says whether the provider can begin with one; without, the first period is paid at once. The first
    invoice is issued with the order unless a trial comes first. Whoever is signed in buys no second plan beside a
    running one; an order without sign-in is placed whatever runs, and takes nothing from it. It waits until
    `expires_at`, else for as long as the terms say.

    Raises Invalid for a plan or price that is not for sale, Conflict for a second plan.
    """
    plan, price = await _choose(conn, wanted)
    if buyer.is_signed_in:
        await _refuse_second(conn, buyer)
    customer = await ensure_customer(conn, buyer, box=box, now=now)
    order = platform_order(buyer, plan, price, customer, provider=provider, has_trial=has_trial, source=source, now=now)
    order = msgspec.structs.replace(order, expires_at=expires_at or now + timedelta(hours=terms.order_expires_h))
    await store.orders.insert_order(conn, order.tenant_id, order)
    await store.directory.insert_object(
        conn,
        order.tenant_id,
        provider=provider,
        account_id=order.account_id,
        kind="reference",
        external_id=str(order.id),
        object_id=order.id,
    )
    await tell(
        conn,
        orders.placed(order, now),
        tenant_id=order.tenant_id,
        aggregate_id=order.id,
        version=order.version,
    )
    await note_order(conn, order.tenant_id, order.id, "placed", now=now, plan=plan.slug, provider=provider.value)
    invoice = None
    if not order.trial_days:
        invoice = await issue_invoice(conn, first_invoice(order, now=now), now=now)
        await note_order(conn, order.tenant_id, order.id, "invoice_issued", now=now, number=invoice.number)
    return PlacedOrder(order=order, plan=plan, price=price, customer=customer, invoice=invoice)


async def _choose(conn: Connection, wanted: Wanted) -> tuple[Plan, PlanPrice]:
    if wanted.price is not None:
        plan, price = await choose_price(conn, wanted.price)
        if wanted.plan is not None and wanted.plan not in (plan.slug, str(plan.id)):
            raise Invalid(
                "The price is another plan's.", code="unknown_price", errors=(FieldError("price", "differs"),)
            )
        return plan, price
    if wanted.plan is None:
        raise Invalid("No plan was named.", code="unknown_plan", errors=(FieldError("plan", "is missing"),))
    return await choose_plan(conn, wanted.plan, interval=wanted.interval, currency=wanted.currency)


async def _refuse_second(conn: Connection, buyer: Buyer) -> None:
    live = await store.subscriptions.list_live(conn, buyer.tenant_id)
    running = next((one for one in live if one.status is not SubscriptionStatus.INCOMPLETE), None)
    if running is not None:
        raise Conflict(
            f"A subscription is there already; change its plan instead: POST /subscriptions/{running.id}/change-plan.",
            code="subscription_exists",
        )
