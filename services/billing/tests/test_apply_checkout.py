"""Stripe's payment pages: only one that is paid, or begins a trial, fulfils its order, and exactly once."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from billing import store
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import OrderStatus
from billing.domain.provider_events import ProviderEventStatus
from billing.domain.providers import PaymentStatus, Provider
from billing.domain.subscriptions import SubscriptionStatus
from chassis.db import Database, transaction
from chassis.secrets import SecretBox
from testkit.fake_stripe import Object

from .patience import again_while_busy
from .shop import Shop, a_shop, enter

PURCHASE = [
    "invoice.issued", "invoice.paid", "order.paid", "payment.received", "subscription.activated",
    "subscription.created",
]  # fmt: skip


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


def page_of(order: Any) -> str:
    assert order.external_id is not None
    return str(order.external_id)


async def test_a_paid_page_brings_everything_once(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(page_of(order), name="Ana Souza")
    event = await shop.deliver(shop.happened("checkout.session.completed"))
    assert (event.status, event.reason, event.tenant_id) == (ProviderEventStatus.PROCESSED, None, order.tenant_id)
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert rows.subscription is not None
    assert rows.subscription.status is SubscriptionStatus.ACTIVE
    [invoice] = rows.invoices
    assert (invoice.status, invoice.subscription_id) == (InvoiceStatus.PAID, rows.subscription.id)
    assert (invoice.period_end, bool(invoice.url)) == (rows.subscription.current_period_end, True)
    [payment] = rows.payments
    assert (payment.status, payment.amount_cents) == (PaymentStatus.PAID, 24700)
    told = await shop.told_types(order)
    assert told == PURCHASE
    mails = await shop.db.relay.fetchval(
        "SELECT count(*) FROM outbox WHERE exchange = '' AND routing_key = $1", "mail_queue"
    )
    await shop.deliver_all(shop.stripe.events)
    assert await shop.rows(order) == rows
    assert await shop.told_types(order) == told
    assert mails == await shop.db.relay.fetchval("SELECT count(*) FROM outbox WHERE routing_key = 'mail_queue'") == 1
    assert (await shop.timeline(order)).count("paid") == 1


async def test_who_paid_is_known_to_the_portal(shop: Shop) -> None:
    order = await shop.sell()
    page = shop.stripe.pay(page_of(order))
    await shop.deliver(shop.happened("checkout.session.completed"))
    async with transaction(shop.db, order.tenant_id) as conn:
        known = await store.customers.find_external_id(
            conn, order.tenant_id, order.customer_id, "stripe", PLATFORM_ACCOUNT
        )
    assert known == page["customer"]


async def test_a_completed_page_that_is_unpaid_gives_nothing(shop: Shop) -> None:
    order = await shop.sell()
    before = await shop.rows(order)
    shop.stripe.pay(page_of(order), unpaid=True)
    events = list(shop.stripe.events)
    for event in [*events, *events]:
        await shop.deliver(event)
    rows = await shop.rows(order)
    assert (rows.order.status, rows.subscription) == (OrderStatus.PENDING, None)
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PENDING]
    assert rows.order == before.order
    assert await shop.told_types(order) == ["invoice.issued"]
    assert (await shop.timeline(order)).count("awaiting_payment") == 1


@pytest.mark.parametrize("is_recurring", [True, False])
async def test_what_the_bank_says_later_counts(shop: Shop, is_recurring: bool) -> None:
    order = await shop.sell(is_recurring=is_recurring)
    shop.stripe.pay(page_of(order), unpaid=True)
    await shop.deliver_all(shop.stripe.events)
    shop.stripe.settle_async(page_of(order))
    await shop.deliver(shop.happened("checkout.session.async_payment_succeeded"))
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert rows.subscription is not None
    assert (rows.subscription.external_id is None) is not is_recurring
    assert await shop.told_types(order) == PURCHASE
    await shop.deliver_all(shop.stripe.events)
    assert await shop.rows(order) == rows


@pytest.mark.parametrize("is_recurring", [True, False])
async def test_a_payment_that_fails_later_fails_the_order(shop: Shop, is_recurring: bool) -> None:
    order = await shop.sell(is_recurring=is_recurring)
    shop.stripe.pay(page_of(order), unpaid=True)
    shop.stripe.settle_async(page_of(order), succeeded=False)
    await shop.deliver_all([*shop.stripe.events, *reversed(shop.stripe.events)])
    rows = await shop.rows(order)
    assert (rows.order.status, rows.subscription) == (OrderStatus.FAILED, None)
    assert rows.order.failure_reason
    told = await shop.told_types(order)
    assert told.count("order.failed") == told.count("invoice.payment_failed") == 1
    assert "order.paid" not in told


async def test_a_page_that_expires_ends_the_order(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.expire(page_of(order))
    for _ in range(2):
        await shop.deliver(shop.happened("checkout.session.expired"))
    rows = await shop.rows(order)
    assert (rows.order.status, rows.order.failure_reason) == (OrderStatus.CANCELLED, "expired")
    assert [one.status for one in rows.invoices] == [InvoiceStatus.VOID]
    assert await shop.told_types(order) == ["invoice.issued", "invoice.voided", "order.failed"]


async def test_a_trial_begins_without_money(shop: Shop) -> None:
    order = await shop.sell(trial_days=14)
    shop.stripe.pay(page_of(order))
    await shop.deliver_all([*shop.stripe.events, *shop.stripe.events])
    rows = await shop.rows(order)
    assert rows.subscription is not None
    assert (rows.order.status, rows.subscription.status) == (OrderStatus.PAID, SubscriptionStatus.TRIALING)
    assert rows.subscription.trial_end is not None
    assert (rows.invoices, rows.payments) == ([], [])
    assert await shop.told_types(order) == ["order.paid", "subscription.created"]


async def test_nothing_paid_is_no_trial_for_an_order_that_has_none(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(page_of(order))
    session |= {"amount_total": 0, "payment_status": "no_payment_required"}
    event = await shop.deliver(shop.happened("checkout.session.completed"))
    assert (event.status, bool(event.reason)) == (ProviderEventStatus.REVIEW, True)
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING


def _change_intent(**fields: Any) -> Any:
    def change(shop: Shop, session: Object) -> None:
        invoice = shop.stripe.world.get("invoice", session["invoice"])
        intent = shop.stripe.world.get("payment_intent", invoice["_intent"])
        intent.update(fields)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _change_intent(amount=100, amount_received=100),
        _change_intent(amount=24701, amount_received=24701),
        _change_intent(amount_received=24699),
        _change_intent(currency="usd"),
    ],
)
async def test_money_of_another_amount_or_currency_is_for_a_person(shop: Shop, change: Any) -> None:
    order = await shop.sell()
    change(shop, shop.stripe.pay(page_of(order)))
    for _ in range(2):
        event = await shop.deliver(shop.happened("checkout.session.completed"))
        assert event.status is ProviderEventStatus.REVIEW
        assert "asked for" in (event.reason or "")
    rows = await shop.rows(order)
    assert (rows.order.status, rows.subscription) == (OrderStatus.PENDING, None)
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PENDING]
    [payment] = rows.payments
    assert payment.review_reason
    assert "order.paid" not in await shop.told_types(order)
    assert "payment_under_review" in await shop.timeline(order)


async def test_a_page_made_by_others_with_our_reference_pays_nothing(shop: Shop) -> None:
    order = await shop.sell()
    other = await shop.sell()
    # A payment link takes a client_reference_id from its address: whoever opens it may name any order.
    session = shop.stripe.world.get("checkout.session", page_of(other))
    session["client_reference_id"] = str(order.id)
    session["metadata"] = {}
    async with transaction(shop.db, other.tenant_id) as conn:
        await conn.execute("UPDATE orders SET external_id = NULL")
    await shop.db.platform.execute("DELETE FROM provider_objects WHERE kind = 'checkout' AND object_id = $1", other.id)
    shop.stripe.pay(page_of(other))
    event = await shop.deliver(shop.happened("checkout.session.completed"))
    assert event.status is ProviderEventStatus.REVIEW
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING


async def test_a_page_of_nobody_is_left_alone(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.world.get("checkout.session", page_of(order))
    session |= {"client_reference_id": None, "metadata": {"order_id": "of-another-system"}}
    await shop.db.platform.execute("DELETE FROM provider_objects WHERE kind = 'checkout'")
    shop.stripe.pay(page_of(order))
    event = await shop.deliver(shop.happened("checkout.session.completed"))
    assert event.status is ProviderEventStatus.IGNORED


async def test_a_page_whose_answer_was_lost_is_found_by_its_reference(shop: Shop) -> None:
    order = await shop.sell(is_recorded=False)
    [session] = shop.stripe.world.all("checkout.session", client_reference_id=str(order.id))
    shop.stripe.pay(session["id"])
    await shop.deliver(shop.happened("checkout.session.completed"))
    rows = await shop.rows(order)
    assert (rows.order.status, rows.order.external_id) == (OrderStatus.PAID, session["id"])


async def test_an_unknown_page_changes_nothing(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(page_of(order))
    forged = dict(shop.happened("checkout.session.completed"))
    forged["data"] = {"object": forged["data"]["object"] | {"id": "cs_test_made_up"}}
    event = await shop.deliver(forged)
    assert event.status is ProviderEventStatus.IGNORED
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING


async def test_fifty_at_once_have_one_effect(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(page_of(order))
    await asyncio.gather(*(again_while_busy(partial(shop.deliver, event)) for event in shop.stripe.events * 6))
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert (len(rows.invoices), len(rows.payments)) == (1, 1)
    assert await shop.told_types(order) == PURCHASE


async def test_a_purchase_takes_nothing_from_what_runs(shop: Shop) -> None:
    first = await shop.sell()
    shop.stripe.pay(page_of(first))
    await shop.deliver(shop.happened("checkout.session.completed"))
    second = await shop.sell(tenant=first.tenant_id, customer_id=first.customer_id)
    shop.stripe.pay(page_of(second))
    await shop.deliver(shop.happened("checkout.session.completed"))
    running = (await shop.rows(first)).subscription
    assert running is not None
    assert running.status is SubscriptionStatus.ACTIVE
    assert "runs_beside_others" in await shop.timeline(second)


async def test_a_page_that_names_no_order_is_left_alone(shop: Shop) -> None:
    payment = await shop.charge(Provider.STRIPE)
    order = await shop.sell()
    session = shop.stripe.world.get("checkout.session", page_of(order))
    session |= {"client_reference_id": str(payment.id), "metadata": {}}
    await shop.db.platform.execute("DELETE FROM provider_objects WHERE kind = 'checkout'")
    event = await shop.deliver(shop.stripe.world.emit("checkout.session.completed", session))
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "it is the page of no order")


async def test_an_open_page_made_by_others_with_our_reference_is_left_alone(shop: Shop) -> None:
    order, other = await shop.sell(), await shop.sell()
    await shop.db.platform.execute("DELETE FROM provider_objects WHERE kind = 'checkout' AND object_id = $1", other.id)
    session = shop.stripe.world.get("checkout.session", page_of(other))
    session |= {"client_reference_id": str(order.id), "metadata": {}}
    event = await shop.deliver(shop.stripe.world.emit("checkout.session.completed", session))
    assert event.status is ProviderEventStatus.IGNORED


async def test_money_for_an_order_that_began_with_a_trial_is_for_a_person(shop: Shop) -> None:
    order = await shop.sell(trial_days=14)
    session = shop.stripe.pay(page_of(order))
    session |= {"amount_total": 24700, "payment_status": "paid"}
    event = await shop.deliver(shop.happened("checkout.session.completed"))
    assert (event.status, event.reason) == (
        ProviderEventStatus.REVIEW,
        "it was paid for an order that owes nothing yet",
    )


async def test_a_page_that_does_not_name_its_payment_waits_for_its_invoice(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(page_of(order))
    invoice_id, session["invoice"] = session["invoice"], None
    await shop.deliver(shop.happened("checkout.session.completed"))
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING
    await shop.deliver(shop.happened("invoice.paid"))
    rows = await shop.rows(order)
    assert (rows.order.status, rows.invoices[0].external_id) == (OrderStatus.PAID, invoice_id)


async def test_a_customer_that_is_known_stays_the_tenants(shop: Shop) -> None:
    order = await shop.sell()
    async with transaction(shop.db, order.tenant_id) as conn:
        await store.customers.upsert_external_id(
            conn, order.tenant_id, order.customer_id, "stripe", PLATFORM_ACCOUNT, "cus_known", shop.clock()
        )
    shop.stripe.pay(page_of(order))
    await shop.deliver(shop.happened("checkout.session.completed"))
    async with transaction(shop.db, order.tenant_id) as conn:
        known = await store.customers.find_external_id(
            conn, order.tenant_id, order.customer_id, "stripe", PLATFORM_ACCOUNT
        )
    assert known == "cus_known"


async def test_stripes_invoice_that_is_anothers_pays_nothing(shop: Shop) -> None:
    order, other = await shop.sell(), await shop.sell()
    session = shop.stripe.pay(page_of(order))
    async with transaction(shop.db, other.tenant_id) as conn:
        await enter(conn, other, "invoice", session["invoice"])
    event = await shop.deliver(shop.happened("checkout.session.completed"))
    assert (event.status, event.reason) == (ProviderEventStatus.REVIEW, "Stripe's invoice is known as another one")
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING


async def test_stripes_payment_that_is_anothers_pays_nothing(shop: Shop) -> None:
    order, other = await shop.sell(), await shop.charge(Provider.ASAAS)
    session = shop.stripe.pay(page_of(order))
    intent = shop.stripe.world.get("invoice", session["invoice"])["_intent"]
    async with transaction(shop.db, other.tenant_id) as conn:
        await store.directory.insert_object(
            conn,
            other.tenant_id,
            provider="stripe",
            account_id=PLATFORM_ACCOUNT,
            kind="payment",
            external_id=intent,
            object_id=other.id,
        )
    event = await shop.deliver(shop.happened("checkout.session.completed"))
    assert (event.status, event.reason) == (ProviderEventStatus.REVIEW, "the payment is known as another invoice's")


async def test_the_failed_invoice_of_a_second_page_leaves_the_first_alone(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(page_of(order), unpaid=True)
    await shop.deliver(shop.happened("checkout.session.completed"))
    shop.stripe.settle_async(page_of(order))
    await shop.deliver(shop.happened("invoice.paid"))
    paid = await shop.rows(order)
    second = shop.stripe.world.get("invoice", session["invoice"]) | {
        "id": "in_second",
        "status": "void",
        "attempt_count": 1,
    }
    shop.stripe.world.add("invoice", "in", second)
    session |= {"invoice": "in_second", "payment_status": "unpaid"}
    await shop.deliver(shop.happened("checkout.session.completed") | {"id": "evt_second"})
    assert await shop.rows(order) == paid
