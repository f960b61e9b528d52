"""Stripe's invoices: each paid one is one of ours, of the order or of a period, whatever came before it."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import Order, OrderStatus
from billing.domain.provider_events import ProviderEventStatus
from billing.domain.providers import PaymentStatus
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from chassis.db import Database, transaction
from chassis.secrets import SecretBox
from testkit.fake_stripe import Object

from .patience import again_while_busy
from .shop import Shop, a_shop


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


async def bought(shop: Shop, **fields: Any) -> tuple[Order, str]:
    """A paid order and its subscription's id at Stripe."""
    order = await shop.sell(**fields)
    assert order.external_id is not None
    session = shop.stripe.pay(order.external_id)
    await shop.deliver(shop.happened("checkout.session.completed"))
    return order, session["subscription"]


async def subscription_of(shop: Shop, order: Order) -> Subscription:
    found = (await shop.rows(order)).subscription
    assert found is not None
    return found


async def test_the_first_invoice_brings_the_purchase_before_its_page_is_told_of(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(str(order.external_id))
    await shop.deliver(shop.happened("invoice.paid"))
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID]
    await shop.deliver(shop.happened("checkout.session.completed"))
    assert await shop.rows(order) == rows


async def test_a_renewal_is_an_invoice_of_its_own(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    before = await subscription_of(shop, order)
    renewal = shop.stripe.renew(subscription_id)
    for _ in range(2):
        await shop.deliver(shop.happened("invoice.paid"))
    rows = await shop.rows(order)
    first, second = rows.invoices
    assert second.status is InvoiceStatus.PAID
    assert (second.external_id, second.order_id, second.subscription_id) == (renewal["id"], None, before.id)
    assert (first.period_end, second.period_start) == (before.current_period_end, before.current_period_end)
    after = await subscription_of(shop, order)
    assert (after.current_period_start, after.current_period_end) == (second.period_start, second.period_end)
    assert [one.invoice_id for one in rows.payments] == [first.id, second.id]
    told = await shop.told_types(order)
    assert (told.count("invoice.issued"), told.count("invoice.paid"), told.count("payment.received")) == (2, 2, 2)


async def test_a_renewal_that_fails_is_late_until_it_is_paid(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    renewal = shop.stripe.fail_renewal(subscription_id)
    await shop.deliver(shop.happened("payment_intent.payment_failed"))
    await shop.deliver(shop.happened("invoice.payment_failed"))
    rows = await shop.rows(order)
    assert (rows.invoices[1].status, rows.invoices[1].attempts) == (InvoiceStatus.PENDING, 1)
    assert rows.invoices[1].last_failure
    assert rows.invoices[1].next_attempt_at
    late = await subscription_of(shop, order)
    assert (late.status, bool(late.past_due_since)) == (SubscriptionStatus.PAST_DUE, True)
    assert rows.order.status is OrderStatus.PAID
    shop.stripe.retry_invoice(renewal["id"], paid=False)
    await shop.deliver(shop.happened("invoice.payment_failed"))
    assert (await shop.rows(order)).invoices[1].attempts == 2
    shop.stripe.retry_invoice(renewal["id"])
    await shop.deliver(shop.happened("invoice.paid"))
    rows = await shop.rows(order)
    assert rows.invoices[1].status is InvoiceStatus.PAID
    paid = await subscription_of(shop, order)
    assert (paid.status, paid.past_due_since, paid.dunning_step) == (SubscriptionStatus.ACTIVE, None, 0)
    told = await shop.told_types(order)
    assert told.count("invoice.payment_failed") == 2
    assert (told.count("subscription.past_due"), told.count("subscription.resumed")) == (1, 1)


async def test_a_trial_ends_with_an_invoice_of_its_first_period(shop: Shop) -> None:
    order, subscription_id = await bought(shop, trial_days=14)
    assert (await shop.rows(order)).invoices == []
    shop.stripe.end_trial(subscription_id)
    await shop.deliver_all(shop.stripe.events)
    rows = await shop.rows(order)
    [invoice] = rows.invoices
    assert (invoice.status, invoice.amount_cents) == (InvoiceStatus.PAID, 24700)
    assert (await subscription_of(shop, order)).status is SubscriptionStatus.ACTIVE
    assert (await shop.told_types(order)).count("subscription.activated") == 1


async def test_the_invoice_of_a_trials_end_may_be_the_first_that_is_heard_of(shop: Shop) -> None:
    order = await shop.sell(trial_days=14)
    session = shop.stripe.pay(str(order.external_id))
    shop.stripe.end_trial(session["subscription"])
    await shop.deliver(shop.happened("invoice.paid"))
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID]
    assert rows.invoices[0].order_id is None


async def test_a_later_period_may_be_told_of_before_the_purchase(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(str(order.external_id))
    shop.stripe.renew(session["subscription"])
    await shop.deliver(shop.happened("invoice.paid"))
    rows = await shop.rows(order)
    first, second = rows.invoices
    assert (first.order_id, first.external_id) == (order.id, session["invoice"])
    assert (first.status, second.status) == (InvoiceStatus.PAID, InvoiceStatus.PAID)
    await shop.deliver_all(shop.stripe.events)
    assert await shop.rows(order) == rows


async def test_a_void_invoice_is_owed_no_more(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    renewal = shop.stripe.fail_renewal(subscription_id)
    await shop.deliver(shop.happened("invoice.payment_failed"))
    shop.stripe.void(renewal["id"])
    for _ in range(2):
        await shop.deliver(shop.happened("invoice.voided"))
    assert (await shop.rows(order)).invoices[1].status is InvoiceStatus.VOID
    assert (await shop.told_types(order)).count("invoice.voided") == 1


async def test_money_for_a_void_invoice_is_for_a_person(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    renewal = shop.stripe.fail_renewal(subscription_id)
    shop.stripe.void(renewal["id"])
    await shop.deliver(shop.happened("invoice.voided"))
    renewal["status"] = "open"
    shop.stripe.retry_invoice(renewal["id"])
    event = await shop.deliver(shop.happened("invoice.paid"))
    assert (event.status, event.reason) == (ProviderEventStatus.REVIEW, "the invoice had been voided")
    rows = await shop.rows(order)
    assert rows.invoices[1].status is InvoiceStatus.VOID
    assert rows.payments[1].review_reason == "the invoice had been voided"


async def test_an_invoice_paid_without_a_payment_is_one_itself(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    renewal = shop.stripe.renew(subscription_id)
    for payment in shop.stripe.world.all("invoice_payment", invoice=renewal["id"]):
        payment["payment"] = {"type": "charge", "payment_intent": None}  # marked as paid by hand, at Stripe
    await shop.deliver(shop.happened("invoice.paid"))
    rows = await shop.rows(order)
    assert rows.invoices[1].status is InvoiceStatus.PAID
    assert rows.payments[1].external_id == renewal["id"]


async def test_drafts_and_invoices_of_nothing_are_ignored(shop: Shop) -> None:
    order, subscription_id = await bought(shop, trial_days=14)
    event = await shop.deliver(shop.happened("invoice.paid"))
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "nothing is owed by it")
    renewal = shop.stripe.renew(subscription_id)
    renewal["status"] = "draft"
    event = await shop.deliver(shop.happened("invoice.created"))
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "it is a draft")
    assert (await shop.rows(order)).invoices == []


async def test_a_strangers_invoice_is_left_alone(shop: Shop) -> None:
    _, subscription_id = await bought(shop)
    renewal = shop.stripe.renew(subscription_id)
    details = renewal["parent"]["subscription_details"]
    details |= {"subscription": None, "metadata": {"order_id": "of-another-system"}}
    event = await shop.deliver(shop.happened("invoice.paid"))
    assert event.status is ProviderEventStatus.IGNORED


async def test_a_period_of_an_unpaid_order_is_for_a_person(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(str(order.external_id))
    first = shop.stripe.world.get("invoice", session["invoice"])
    intent = shop.stripe.world.get("payment_intent", first["_intent"])
    intent |= {"amount_received": 1}  # its first payment is under review
    shop.stripe.renew(session["subscription"])
    event = await shop.deliver(shop.happened("invoice.paid"))
    assert event.status is ProviderEventStatus.REVIEW
    rows = await shop.rows(order)
    assert (rows.order.status, rows.subscription, len(rows.invoices)) == (OrderStatus.PENDING, None, 1)


async def test_a_refund_and_a_dispute_reach_the_invoice_that_was_paid(shop: Shop) -> None:
    order, _ = await bought(shop)
    [payment] = (await shop.rows(order)).payments
    assert payment.external_id is not None
    shop.stripe.refund(payment.external_id, 700)
    for _ in range(2):
        await shop.deliver(shop.happened("charge.refunded"))
    rows = await shop.rows(order)
    assert (rows.payments[0].status, rows.payments[0].refunded_cents) == (PaymentStatus.PARTIALLY_REFUNDED, 700)
    assert (rows.invoices[0].status, rows.invoices[0].refunded_cents) == (InvoiceStatus.PAID, 700)
    rest = shop.stripe.refund(payment.external_id)
    await shop.deliver(shop.happened("charge.refunded"))
    rows = await shop.rows(order)
    assert (rows.payments[0].status, rows.order.status) == (PaymentStatus.REFUNDED, OrderStatus.REFUNDED)
    assert rows.invoices[0].status is InvoiceStatus.REFUNDED
    shop.stripe.settle_refund(rest["id"], succeeded=False)
    for _ in range(2):
        await shop.deliver(shop.happened("refund.failed"))
    rows = await shop.rows(order)
    assert (rows.payments[0].status, rows.order.status) == (PaymentStatus.PARTIALLY_REFUNDED, OrderStatus.PAID)
    assert (rows.invoices[0].status, rows.invoices[0].refunded_cents) == (InvoiceStatus.PAID, 700)
    told = await shop.told(order)
    failed = [one for one in told if one["type"] == "billing.payment.refund_failed.v1"]
    assert [(one["amount_restored_cents"], one["refund_id"]) for one in failed] == [(24000, None)]
    assert [one["amount_refunded_cents"] for one in told if one["type"] == "billing.payment.refunded.v1"] == [
        700,
        24000,
    ]


@pytest.mark.parametrize(("outcome", "status"), [("won", PaymentStatus.PAID), ("lost", PaymentStatus.CHARGED_BACK)])
async def test_a_dispute_and_its_end_are_told(shop: Shop, outcome: str, status: PaymentStatus) -> None:
    order, _ = await bought(shop)
    [payment] = (await shop.rows(order)).payments
    assert payment.external_id is not None
    shop.stripe.dispute(payment.external_id)
    await shop.deliver(shop.happened("charge.dispute.created"))
    assert (await shop.rows(order)).payments[0].status is PaymentStatus.DISPUTED
    shop.stripe.dispute(payment.external_id, outcome)
    for _ in range(2):
        await shop.deliver(shop.happened("charge.dispute.closed"))
    assert (await shop.rows(order)).payments[0].status is status
    told = await shop.told(order)
    assert [one["outcome"] for one in told if one["type"] == "billing.payment.disputed.v1"] == ["open", outcome]
    disputes = [kind for kind in await shop.timeline(order) if kind.startswith("dispute")]
    assert disputes == ["dispute_open", f"dispute_{outcome}"]


async def test_a_refund_may_be_told_of_before_the_payment(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(str(order.external_id))
    intent: Object = shop.stripe.world.get("invoice", session["invoice"])
    shop.stripe.refund(intent["_intent"])
    await shop.deliver(shop.happened("charge.refunded"))
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.REFUNDED
    assert rows.invoices[0].status is InvoiceStatus.REFUNDED
    told = await shop.told_types(order)
    assert (told.count("payment.received"), told.count("payment.refunded"), told.count("order.refunded")) == (1, 1, 1)
    await shop.deliver_all(shop.stripe.events)
    assert await shop.rows(order) == rows
    assert await shop.told_types(order) == told


async def test_a_paid_invoice_whose_payment_stripe_does_not_know_is_paid(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    renewal = shop.stripe.renew(subscription_id)
    for payment in shop.stripe.world.all("invoice_payment", invoice=renewal["id"]):
        payment["payment"]["payment_intent"] = "pi_gone"
    await shop.deliver(shop.happened("invoice.paid"))
    assert (await shop.rows(order)).invoices[1].status is InvoiceStatus.PAID


async def test_an_order_whose_page_is_not_there_waits(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(str(order.external_id))
    paid = shop.happened("invoice.paid")
    shop.stripe.world.get("invoice", session["invoice"])["billing_reason"] = "subscription_cycle"
    async with transaction(shop.db, order.tenant_id) as conn:
        await conn.execute("UPDATE orders SET external_id = 'cs_test_gone'")
    assert (await shop.deliver(paid)).status is ProviderEventStatus.REVIEW
    async with transaction(shop.db, order.tenant_id) as conn:
        await conn.execute("UPDATE orders SET external_id = NULL")
    session["client_reference_id"] = None
    assert (await shop.deliver(paid | {"id": "evt_again"})).status is ProviderEventStatus.REVIEW
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING


async def test_an_open_invoice_of_an_unpaid_order_is_ignored(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(str(order.external_id), unpaid=True)
    shop.stripe.world.get("invoice", session["invoice"])["billing_reason"] = "subscription_cycle"
    event = await shop.deliver(shop.happened("invoice.finalized"))
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "its order is not paid")


async def test_a_subscription_that_no_order_has_brought_is_billed_all_the_same(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    async with transaction(shop.db, order.tenant_id) as conn:
        await conn.execute("UPDATE subscriptions SET order_id = NULL")
    shop.stripe.renew(subscription_id)
    for event_type in ("invoice.paid", "customer.subscription.updated", "invoice.paid"):
        event = await shop.deliver(shop.happened(event_type))
        assert event.status is ProviderEventStatus.PROCESSED
    rows = await shop.rows(order)
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID, InvoiceStatus.PAID]


async def test_two_events_of_one_period_make_one_invoice(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    shop.stripe.renew(subscription_id)
    events = [
        shop.happened("invoice.paid"),
        shop.happened("invoice.finalized"),
        shop.happened("payment_intent.succeeded"),
    ]
    await asyncio.gather(*(again_while_busy(partial(shop.deliver, event)) for event in events))
    assert len((await shop.rows(order)).invoices) == 2
