"""Answers a claim that somebody paid elsewhere: from our own order, or from Stripe's session, never from the claim."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts
from billing.domain import orders
from billing.domain.claims import UNKNOWN, USED, why_not_order, why_not_page
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.orders import Order, OrderStatus
from billing.domain.providers import CheckoutState, Interval, NotAtProvider, Provider
from billing.domain.selling import SellingTerms
from billing.stripe_api import StripeApi
from billing.usecases.apply_checkout import apply_checkout
from billing.usecases.locate_object import Located, locate_object
from billing.usecases.note_order import note_order
from billing.usecases.record_claim import record_claim
from billing.usecases.refuse_claim import refuse_claim
from bus.inbox import first_time
from bus.outbox import tell
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.errors import Unavailable
from contracts.tenants import PaymentClaimed

_ANSWERS: Final = "billing.claims"
#: Whoever claims the same session at the same moment is seen the next time round.
_ROUNDS: Final = 3


async def confirm_claim(
    db: Database,
    accounts: Accounts,
    claim: PaymentClaimed,
    message_id: UUID,
    *,
    box: SecretBox,
    terms: SellingTerms,
    clock: Clock,
) -> None:
    """Told, with the claim's id: billing.order.paid once the money is known of, else billing.order.failed (see
    `refuse_claim`).

    A session is used by one claim. That of another tenant's order is refused at once, in the words of one that nobody
    knows. Of a session that no order of ours is for, an order is made under the claim's tenant, and what Stripe says of
    it settles that; an attested claim of an unknown session is believed, for the plan's price. An order that is not
    paid yet bears the claim's id from now on: should it be paid after all, that is told with it. Stripe is asked with
    no transaction open. The same message twice, or several at once, have one effect.

    Raises ProviderMisconfigured without a Stripe account to ask, ProviderUnavailable when it does not answer.
    """

    async def refuse(reason: str, order: Order | None = None) -> None:
        await refuse_claim(db, claim, reason, message_id, order=order, box=box, terms=terms, now=clock())

    for _ in range(_ROUNDS):
        found = await _located(db, claim.session_id)
        if found is not None and found[1].tenant_id != claim.tenant_id:
            await refuse(UNKNOWN)
            return
        if found is not None:
            reason, order = await _answer_for(db, accounts, claim, found, message_id, clock)
            if reason is not None:
                await refuse(reason, order)
            return
        page, interval = None, None
        if not claim.is_attested:
            try:
                page, interval = await _seen(accounts, claim.session_id)
            except NotAtProvider:
                await refuse(UNKNOWN)
                return
            if page.reference is not None and await _adopt(db, claim.session_id, page):
                continue  # our own order, whose page's id was lost
            if reason := why_not_page(claim, page):
                await refuse(reason)
                return
        reason = await record_claim(
            db, claim, page, interval, answered=(_ANSWERS, message_id), box=box, terms=terms, clock=clock
        )
        if reason is not None:
            await refuse(reason)
            return
    raise Unavailable("The session is being claimed by others as well.")


async def _located(db: Database, session_id: str) -> tuple[Provider, Located] | None:
    for provider in Provider:
        found = await locate_object(db, provider, PLATFORM_ACCOUNT, [("checkout", session_id)])
        if found is not None:
            return provider, found
    return None


async def _seen(accounts: Accounts, session_id: str) -> tuple[CheckoutState, Interval | None]:
    api = await accounts.of_platform(Provider.STRIPE)
    assert isinstance(api, StripeApi)
    page = await api.get_checkout(session_id)
    if page.subscription_external_id is None:
        return page, None
    return page, (await api.get_subscription(page.subscription_external_id)).interval


async def _adopt(db: Database, session_id: str, page: CheckoutState) -> bool:
    """Whether the page is our own order's, by what only our key writes; then it is entered as such."""
    names = [("reference", page.reference)]
    found = await locate_object(db, Provider.STRIPE, PLATFORM_ACCOUNT, names)
    if found is None or page.metadata.get("order_id") != page.reference:
        return False
    async with transaction(db, found.tenant_id) as conn:
        return await store.directory.insert_object(
            conn,
            found.tenant_id,
            provider=Provider.STRIPE,
            account_id=PLATFORM_ACCOUNT,
            kind="checkout",
            external_id=session_id,
            object_id=found.object_id,
        )


async def _answer_for(
    db: Database,
    accounts: Accounts,
    claim: PaymentClaimed,
    located: tuple[Provider, Located],
    message_id: UUID,
    clock: Clock,
) -> tuple[str | None, Order]:
    """Why not, and the order; None once it is told as paid."""
    provider, found = located
    async with transaction(db, found.tenant_id) as conn:
        order = await store.orders.lock_order(conn, found.tenant_id, found.object_id)
        reason = why_not_order(claim, order)
        if reason is None:
            order = await _bearing(conn, order, claim, clock())
            if order.status is OrderStatus.PAID:
                if await first_time(conn, _ANSWERS, message_id):
                    await _tell_paid(conn, order, clock())
                return None, order
    if reason is None and provider is Provider.STRIPE:
        api = await accounts.of_platform(provider)
        assert isinstance(api, StripeApi)
        await apply_checkout(db, api, PLATFORM_ACCOUNT, claim.session_id, clock=clock)
    if reason is None:
        async with transaction(db, found.tenant_id) as conn:
            order = await store.orders.get_order(conn, found.tenant_id, found.object_id)
        if order.status is OrderStatus.PAID and order.claim_id == claim.claim_id:
            return None, order  # and told so, with the claim's id
        reason = USED if order.claim_id != claim.claim_id else order.failure_reason or "the session is not paid"
    return reason, order


async def _bearing(conn: Connection, order: Order, claim: PaymentClaimed, now: datetime) -> Order:
    """The order, to be told of with the claim's id from now on."""
    if order.claim_id == claim.claim_id:
        return order
    claimed = msgspec.structs.replace(order, claim_id=claim.claim_id, version=order.version + 1, updated_at=now)
    await store.orders.update_order(conn, order.tenant_id, claimed)
    await note_order(conn, order.tenant_id, order.id, "claimed", now=now, claim=str(claim.claim_id))
    return claimed


async def _tell_paid(conn: Connection, order: Order, now: datetime) -> None:
    subscription = await store.subscriptions.find_of_order(conn, order.tenant_id, order.id)
    invoice = await store.invoices.find_of_order(conn, order.tenant_id, order.id)
    payment = await store.payments.find_settling(conn, order.tenant_id, invoice.id) if invoice else None
    event = orders.paid(
        order,
        now,
        subscription_id=subscription.id if subscription else None,
        invoice_id=invoice.id if invoice else None,
        payment_id=payment.id if payment else None,
        paid_cents=payment.amount_cents if payment else 0,
    )
    await tell(conn, event, tenant_id=order.tenant_id, aggregate_id=order.id, version=order.version)
