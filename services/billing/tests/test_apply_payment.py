"""Payments as their providers have them: charges of ours, Asaas' subscriptions, PagBank's pages, and strangers'."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import Order, OrderStatus
from billing.domain.payments import Payment
from billing.domain.provider_events import EventSource, ProviderEvent, ProviderEventStatus
from billing.domain.providers import Interval, Notice, Provider
from billing.domain.providers import PaymentStatus as P
from billing.domain.subscriptions import Subscription
from billing.domain.subscriptions import SubscriptionStatus as S
from chassis.db import Database, transaction
from chassis.secrets import SecretBox
from contracts.tenancy import PLATFORM_TENANT_ID

from .patience import again_while_busy
from .records import a_payment, a_subscription, an_invoice
from .shop import Shop, a_shop, enter


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


async def subscription_of(shop: Shop, order: Order) -> Subscription:
    found = (await shop.rows(order)).subscription
    assert found is not None
    return found


async def payment_now(shop: Shop, payment: Payment) -> Payment:
    async with transaction(shop.db, payment.tenant_id) as conn:
        return await store.payments.get_payment(conn, payment.tenant_id, payment.id)


async def told_of(shop: Shop, payment: Payment) -> list[str]:
    rows = await shop.db.relay.fetch(
        "SELECT type FROM outbox WHERE tenant_id = $1 AND type LIKE 'billing.%' ORDER BY created_at, id",
        payment.tenant_id,
    )
    return [row["type"].removeprefix("billing.").removesuffix(".v1") for row in rows]


def pay_charge(shop: Shop, payment: Payment) -> None:
    external_id = str(payment.external_id)
    match payment.provider:
        case Provider.STRIPE:
            shop.stripe.pay_pix(external_id)
        case Provider.ASAAS:
            shop.asaas.pay(external_id)
        case Provider.PAGBANK:
            shop.pagbank.pay(external_id)


async def tell(shop: Shop, payment: Payment) -> ProviderEvent:
    external_id = str(payment.external_id)
    match payment.provider:
        case Provider.STRIPE:
            return await shop.deliver(shop.stripe.events[-1])
        case Provider.ASAAS:
            return await shop.deliver_asaas("PAYMENT_RECEIVED", external_id)
        case Provider.PAGBANK:
            return await shop.deliver_pagbank(external_id)


@pytest.mark.parametrize("provider", list(Provider))
async def test_a_charge_is_paid_once(shop: Shop, provider: Provider) -> None:
    payment = await shop.charge(provider)
    pay_charge(shop, payment)
    events = [await tell(shop, payment) for _ in range(3)]
    assert {event.status for event in events} == {ProviderEventStatus.PROCESSED}
    paid = await payment_now(shop, payment)
    assert (paid.status, bool(paid.paid_at), paid.review_reason) == (P.PAID, True, None)
    assert await told_of(shop, payment) == ["invoice.issued", "invoice.paid", "payment.received", "pix.received"]


@pytest.mark.parametrize("provider", list(Provider))
async def test_a_charge_whose_answer_was_lost_is_known_by_its_reference(shop: Shop, provider: Provider) -> None:
    payment = await shop.charge(provider)
    async with transaction(shop.db, payment.tenant_id) as conn:
        await conn.execute("UPDATE payments SET external_id = NULL")
    await shop.db.platform.execute("DELETE FROM provider_objects WHERE kind = 'payment'")
    pay_charge(shop, payment)
    await tell(shop, payment)
    paid = await payment_now(shop, payment)
    assert (paid.status, paid.external_id) == (P.PAID, payment.external_id)


async def test_a_second_charge_for_one_payment_is_for_a_person(shop: Shop) -> None:
    payment = await shop.charge(Provider.ASAAS)
    pay_charge(shop, payment)
    await tell(shop, payment)
    twin = shop.asaas.world.payments[str(payment.external_id)] | {"id": "pay_twin"}
    shop.asaas.world.payments["pay_twin"] = twin
    event = await shop.deliver_asaas("PAYMENT_RECEIVED", "pay_twin")
    assert (event.status, event.reason) == (ProviderEventStatus.REVIEW, "the invoice was paid by another payment")
    async with transaction(shop.db, payment.tenant_id) as conn:
        rows = await store.payments.list_payments(conn, payment.tenant_id, before=None, limit=10)
    assert sorted(bool(row.review_reason) for row in rows) == [False, True]


async def test_a_second_charge_may_be_the_one_that_is_paid(shop: Shop) -> None:
    payment = await shop.charge(Provider.ASAAS)
    shop.asaas.world.payments["pay_twin"] = shop.asaas.world.payments[str(payment.external_id)] | {"id": "pay_twin"}
    shop.asaas.pay("pay_twin")
    event = await shop.deliver_asaas("PAYMENT_RECEIVED", "pay_twin")
    assert event.status is ProviderEventStatus.PROCESSED
    assert (await told_of(shop, payment)).count("invoice.paid") == 1


@pytest.mark.parametrize("provider", list(Provider))
async def test_a_strangers_payment_is_left_alone(shop: Shop, provider: Provider) -> None:
    payment = await shop.charge(provider)
    await shop.db.platform.execute("DELETE FROM provider_objects")
    pay_charge(shop, payment)
    event = await tell(shop, payment)
    assert (event.status, event.tenant_id) == (ProviderEventStatus.IGNORED, None)
    assert (await payment_now(shop, payment)).status is P.PENDING


async def test_what_a_webhook_says_of_amount_and_status_is_not_looked_at(shop: Shop) -> None:
    payment = await shop.charge(Provider.ASAAS)
    notice = Notice(
        event_id="evt_forged", type="PAYMENT_RECEIVED", kind="payment", object_external_id=payment.external_id
    )
    event = await shop.deal_with(
        await shop.store_event(EventSource.ASAAS, notice, b'{"payment":{"status":"RECEIVED"}}')
    )
    assert event.status is ProviderEventStatus.PROCESSED
    assert (await payment_now(shop, payment)).status is P.PENDING


@pytest.mark.parametrize("paid_cents", [1, 24699, 24701])
async def test_pagbanks_payer_may_pay_another_amount_and_it_is_for_a_person(shop: Shop, paid_cents: int) -> None:
    payment = await shop.charge(Provider.PAGBANK)
    shop.pagbank.pay(str(payment.external_id), amount_cents=paid_cents)
    event = await tell(shop, payment)
    assert event.status is ProviderEventStatus.REVIEW
    assert str(paid_cents) in str(event.reason)
    kept = await payment_now(shop, payment)
    assert (kept.status, bool(kept.review_reason)) == (P.PENDING, True)


@pytest.mark.parametrize("provider", [Provider.ASAAS, Provider.PAGBANK])
async def test_part_and_then_all_goes_back(shop: Shop, provider: Provider) -> None:
    payment = await shop.charge(provider)
    fake: Any = shop.asaas if provider is Provider.ASAAS else shop.pagbank
    pay_charge(shop, payment)
    await tell(shop, payment)
    fake.refund(str(payment.external_id), 700)
    await tell(shop, payment)
    partly = await payment_now(shop, payment)
    assert (partly.status, partly.refunded_cents) == (P.PARTIALLY_REFUNDED, 700)
    fake.refund(str(payment.external_id))
    await tell(shop, payment)
    assert (await payment_now(shop, payment)).status is P.REFUNDED
    assert (await told_of(shop, payment)).count("payment.refunded") == 2


@pytest.mark.parametrize(("provider", "returned_cents"), [(Provider.ASAAS, 24700), (Provider.PAGBANK, 700)])
async def test_a_refund_that_the_payers_bank_returns_is_noticed(
    shop: Shop, provider: Provider, returned_cents: int
) -> None:
    payment = await shop.charge(provider)
    external_id = str(payment.external_id)
    pay_charge(shop, payment)
    await tell(shop, payment)
    if provider is Provider.ASAAS:
        shop.asaas.refund(external_id)
        await tell(shop, payment)
        shop.asaas.fail_refunds(external_id)
    else:
        shop.pagbank.refund(external_id)
        await tell(shop, payment)
        shop.pagbank.fail_refund(external_id, returned_cents)
    for _ in range(2):
        await tell(shop, payment)
        back = await payment_now(shop, payment)
        assert back.status is (P.PAID if returned_cents == 24700 else P.PARTIALLY_REFUNDED)
        assert back.refunded_cents == 24700 - returned_cents
    async with transaction(shop.db, payment.tenant_id) as conn:
        invoice = await store.invoices.get_invoice(conn, payment.tenant_id, payment.invoice_id)
    assert (invoice.status, invoice.refunded_cents) == (InvoiceStatus.PAID, 24700 - returned_cents)
    assert (await told_of(shop, payment))[-2:] == ["payment.refunded", "payment.refund_failed"]


@pytest.mark.parametrize("lost_first", [True, False])
async def test_a_chargeback_that_is_reversed_at_asaas_is_noticed(shop: Shop, lost_first: bool) -> None:
    payment = await shop.charge(Provider.ASAAS)
    pay_charge(shop, payment)
    await tell(shop, payment)
    shop.asaas.chargeback(str(payment.external_id))
    await tell(shop, payment)
    assert (await payment_now(shop, payment)).status is P.DISPUTED
    if lost_first:
        shop.asaas.end_dispute(str(payment.external_id), won=False)
        await tell(shop, payment)
        assert (await payment_now(shop, payment)).status is P.CHARGED_BACK
    shop.asaas.end_dispute(str(payment.external_id), won=True)
    await tell(shop, payment)
    assert (await payment_now(shop, payment)).status is P.PAID
    assert (await told_of(shop, payment)).count("payment.disputed") == 2 + lost_first


async def test_a_pix_that_expired_here_may_have_been_paid_there(shop: Shop) -> None:
    payment = await shop.charge(Provider.STRIPE)
    shop.stripe.expire_pix(str(payment.external_id))
    await tell(shop, payment)
    assert (await payment_now(shop, payment)).status is P.CANCELLED
    intent = shop.stripe.world.get("payment_intent", str(payment.external_id))
    intent["status"] = "requires_action"
    shop.stripe.pay_pix(intent["id"])
    await tell(shop, payment)
    assert (await payment_now(shop, payment)).status is P.PAID


# --- PagBank's page: one payment for an order, the cycle is ours


async def test_a_pagbank_page_brings_a_cycle_of_our_own(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.PAGBANK)
    paid = shop.pagbank.pay_checkout(str(order.external_id))
    for _ in range(2):
        assert (await shop.deliver_pagbank(paid)).status is ProviderEventStatus.PROCESSED
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert rows.subscription is not None
    assert (rows.subscription.external_id, bool(rows.subscription.renews_at)) == (None, True)
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID]


async def test_a_card_that_pagbank_declines_fails_the_order_until_another_pays(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.PAGBANK)
    paid = shop.pagbank.pay_checkout(str(order.external_id))
    declined = shop.pagbank.world.orders[paid] | {"id": "ORDE_DECLINED"}  # with the same transfer's id, at that
    charge = declined["charges"][0] | {"id": "CHAR_DECLINED", "status": "DECLINED"}
    declined["charges"] = [charge | {"amount": {"value": 24700, "currency": "BRL"}}]
    shop.pagbank.world.orders["ORDE_DECLINED"] = declined
    await shop.deliver_pagbank("ORDE_DECLINED")
    assert (await shop.rows(order)).order.status is OrderStatus.FAILED
    await shop.deliver_pagbank(paid)
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert sorted(one.status for one in rows.payments) == [P.FAILED, P.PAID]


async def test_pagbanks_pages_end_by_our_own_time(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.PAGBANK)
    notice = Notice(event_id="e1", type="checkout.expired", kind="checkout", object_external_id=order.external_id)
    event = await shop.deal_with(await shop.store_event(EventSource.PAGBANK, notice))
    assert event.status is ProviderEventStatus.IGNORED
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING


# --- Asaas' subscriptions: payments without invoices


def payments_at(shop: Shop, order: Order) -> list[str]:
    return [str(one["id"]) for one in shop.asaas.payments_of(str(order.id))]


async def test_asaas_first_payment_settles_the_order_and_the_next_is_a_periods(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = payments_at(shop, order)
    shop.asaas.pay(first)
    await shop.deliver_asaas("PAYMENT_CONFIRMED", first)
    bought = await shop.rows(order)
    assert bought.order.status is OrderStatus.PAID
    second = shop.asaas.renew(str(order.external_id))
    await shop.deliver_asaas("PAYMENT_CREATED", second)
    rows = await shop.rows(order)
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID, InvoiceStatus.PENDING]
    assert (rows.invoices[1].external_id, rows.invoices[1].order_id) == (second, None)
    assert rows.invoices[1].period_start == (await subscription_of(shop, order)).current_period_end
    shop.asaas.pay(second)
    for _ in range(2):
        await shop.deliver_asaas("PAYMENT_CONFIRMED", second)
    rows = await shop.rows(order)
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID, InvoiceStatus.PAID]
    assert (await subscription_of(shop, order)).current_period_end == rows.invoices[1].period_end
    assert (await shop.told_types(order)).count("invoice.paid") == 2


async def test_an_overdue_payment_at_asaas_makes_late_and_its_money_makes_good(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = payments_at(shop, order)
    shop.asaas.pay(first)
    await shop.deliver_asaas("PAYMENT_CONFIRMED", first)
    second = shop.asaas.renew(str(order.external_id))
    shop.asaas.overdue(second)
    for _ in range(2):
        await shop.deliver_asaas("PAYMENT_OVERDUE", second)
    late = await subscription_of(shop, order)
    assert (late.status, bool(late.past_due_since), bool(late.next_dunning_at)) == (S.PAST_DUE, True, True)
    third = shop.asaas.renew(str(order.external_id))
    shop.asaas.pay(third)
    await shop.deliver_asaas("PAYMENT_CONFIRMED", third)
    assert (await subscription_of(shop, order)).status is S.PAST_DUE
    shop.asaas.pay(second)
    await shop.deliver_asaas("PAYMENT_RECEIVED", second)
    good = await subscription_of(shop, order)
    assert (good.status, good.past_due_since, good.next_dunning_at) == (S.ACTIVE, None, None)
    rows = await shop.rows(order)
    assert good.current_period_end == max(one.period_end for one in rows.invoices if one.period_end)
    told = await shop.told_types(order)
    assert (told.count("subscription.past_due"), told.count("subscription.resumed")) == (1, 1)


async def test_a_payment_withdrawn_at_asaas_is_owed_no_more(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = payments_at(shop, order)
    shop.asaas.pay(first)
    await shop.deliver_asaas("PAYMENT_CONFIRMED", first)
    second = shop.asaas.renew(str(order.external_id))
    await shop.deliver_asaas("PAYMENT_CREATED", second)
    shop.asaas.delete(second)
    for _ in range(2):
        await shop.deliver_asaas("PAYMENT_DELETED", second)
    assert [one.status for one in (await shop.rows(order)).invoices] == [InvoiceStatus.PAID, InvoiceStatus.VOID]


async def test_a_first_payment_that_is_overdue_fails_the_order_until_it_is_paid(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = payments_at(shop, order)
    shop.asaas.overdue(first)
    await shop.deliver_asaas("PAYMENT_OVERDUE", first)
    assert (await shop.rows(order)).order.status is OrderStatus.FAILED
    shop.asaas.pay(first)
    await shop.deliver_asaas("PAYMENT_RECEIVED", first)
    rows = await shop.rows(order)
    assert (rows.order.status, rows.invoices[0].status) == (OrderStatus.PAID, InvoiceStatus.PAID)


async def test_another_value_at_asaas_is_for_a_person(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = payments_at(shop, order)
    shop.asaas.pay(first)
    await shop.deliver_asaas("PAYMENT_CONFIRMED", first)
    second = shop.asaas.renew(str(order.external_id))
    shop.asaas.world.payments[second]["value"] = 1
    shop.asaas.pay(second)
    event = await shop.deliver_asaas("PAYMENT_CONFIRMED", second)
    assert event.status is ProviderEventStatus.REVIEW
    assert (await shop.rows(order)).invoices[1].status is InvoiceStatus.PENDING


@pytest.mark.parametrize("paid", ["both", "first", "second", "neither"])
async def test_every_order_of_asaas_payments_ends_alike(shop: Shop, paid: str) -> None:
    ends = []
    for order_of_events in itertools.permutations(("first", "second", "subscription")):
        order = await shop.sell(provider=Provider.ASAAS)
        payments = {"first": payments_at(shop, order)[0], "second": shop.asaas.renew(str(order.external_id))}
        for name, payment_id in payments.items():
            (shop.asaas.pay if paid in ("both", name) else shop.asaas.overdue)(payment_id)
        for name in (*order_of_events, *order_of_events):
            if name == "subscription":
                await shop.deliver_asaas_subscription("SUBSCRIPTION_UPDATED", str(order.external_id))
            else:
                await shop.deliver_asaas("PAYMENT_UPDATED", payments[name])
        rows = await shop.rows(order)
        names = {payment_id: name for name, payment_id in payments.items()}
        ends.append(
            (
                rows.order.status,
                rows.subscription.status if rows.subscription else None,
                sorted((one.status, one.attempts, one.order_id is None) for one in rows.invoices),
                sorted((names[str(one.external_id)], one.status, one.order_id is None) for one in rows.payments),
                await shop.told_types(order),
            )
        )
    assert all(end == ends[0] for end in ends)
    assert ends[0][0] is (OrderStatus.FAILED if paid == "neither" else OrderStatus.PAID)


async def test_fifty_at_once_have_one_effect(shop: Shop) -> None:
    payment = await shop.charge(Provider.PAGBANK)
    pay_charge(shop, payment)
    await asyncio.gather(*(again_while_busy(lambda: tell(shop, payment)) for _ in range(50)))
    assert await told_of(shop, payment) == ["invoice.issued", "invoice.paid", "payment.received", "pix.received"]


async def test_an_order_paid_twice_over_two_pages_keeps_the_second_for_a_person(shop: Shop) -> None:
    order = await shop.sell(is_recurring=False)
    session = shop.stripe.pay(str(order.external_id))
    await shop.deliver(shop.happened("checkout.session.completed"))
    intent = shop.stripe.world.get("payment_intent", session["payment_intent"])
    shop.stripe.world.add("payment_intent", "pi", intent | {"id": "pi_second"})
    event = await shop.deliver(
        shop.stripe.world.emit("payment_intent.succeeded", shop.stripe.world.get("payment_intent", "pi_second"))
    )
    assert (event.status, event.reason) == (ProviderEventStatus.REVIEW, "the invoice was paid by another payment")


async def test_a_second_charge_for_a_period_of_our_own_is_for_a_person(shop: Shop) -> None:
    tenant = uuid4()
    async with transaction(shop.db, tenant) as conn:
        running = await a_subscription(conn, tenant, order={"provider": Provider.ASAAS})
        invoice = await an_invoice(
            conn, tenant, provider=Provider.ASAAS, customer_id=running.customer_id, subscription_id=running.id,
            period_start=running.current_period_end,
        )  # fmt: skip
        payment = await a_payment(conn, tenant, invoice, external_id="pay_first", status=P.PAID)
        await enter(conn, payment, "reference", str(payment.id))
    other = await shop.charge(Provider.ASAAS)
    second = shop.asaas.world.payments[str(other.external_id)]
    shop.asaas.world.payments["pay_second"] = second | {"id": "pay_second", "externalReference": str(payment.id)}
    shop.asaas.pay("pay_second")
    event = await shop.deliver_asaas("PAYMENT_RECEIVED", "pay_second")
    assert (event.status, event.reason) == (ProviderEventStatus.REVIEW, "the invoice was paid by another payment")


async def test_a_reference_that_stands_for_nothing_any_more_is_left_alone(shop: Shop) -> None:
    payment = await shop.charge(Provider.PAGBANK)
    await shop.db.platform.execute("DELETE FROM provider_objects WHERE kind = 'payment'")
    await shop.db.platform.execute("UPDATE provider_objects SET object_id = $1", uuid4())
    pay_charge(shop, payment)
    event = await tell(shop, payment)
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "it is the payment of no order")


async def test_a_trial_at_pagbank_is_paid_when_it_is(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.PAGBANK, trial_days=7)
    made = shop.pagbank.pay_checkout(str(order.external_id))
    charges, shop.pagbank.world.orders[made]["charges"] = shop.pagbank.world.orders[made]["charges"], []
    event = await shop.deliver_pagbank(made)
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "its order owes nothing yet")
    shop.pagbank.world.orders[made]["charges"] = charges
    assert (await shop.deliver_pagbank(made)).status is ProviderEventStatus.PROCESSED
    rows = await shop.rows(order)
    assert (rows.order.status, [one.status for one in rows.invoices]) == (OrderStatus.PAID, [InvoiceStatus.PAID])


async def test_a_trial_at_asaas_ends_with_its_first_payment(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS, trial_days=7)
    [first] = payments_at(shop, order)
    shop.asaas.pay(first)
    for _ in range(2):
        await shop.deliver_asaas("PAYMENT_CONFIRMED", first)
    rows = await shop.rows(order)
    assert (rows.order.status, [one.status for one in rows.invoices]) == (OrderStatus.PAID, [InvoiceStatus.PAID])
    assert rows.invoices[0].order_id == order.id


async def test_a_payment_withdrawn_at_asaas_before_it_was_known_is_nothing(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = payments_at(shop, order)
    second = shop.asaas.renew(str(order.external_id))
    shop.asaas.delete(second)
    event = await shop.deliver_asaas("PAYMENT_DELETED", second)
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "its order is not paid")
    shop.asaas.pay(first)
    await shop.deliver_asaas("PAYMENT_CONFIRMED", first)
    event = await shop.deliver_asaas("PAYMENT_DELETED", second)
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "it was withdrawn before it was known")
    assert len((await shop.rows(order)).invoices) == 1


@pytest.mark.parametrize("knows_price", [True, False])
async def test_a_change_of_plan_that_waits_at_asaas_is_paid_at_its_price(shop: Shop, knows_price: bool) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = payments_at(shop, order)
    shop.asaas.pay(first)
    await shop.deliver_asaas("PAYMENT_CONFIRMED", first)
    async with transaction(shop.db, order.tenant_id) as conn:
        plan = await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, "profissional")
        assert plan is not None
        price = await store.plans.find_price_for_sale(conn, PLATFORM_TENANT_ID, plan.id, Interval.MONTH, "BRL")
        assert price is not None
        waiting = msgspec.structs.replace(
            await subscription_of(shop, order), next_plan_id=plan.id, next_price_id=price.id if knows_price else uuid4()
        )
        await store.subscriptions.update_subscription(conn, order.tenant_id, waiting)
    second = shop.asaas.renew(str(order.external_id))
    shop.asaas.world.payments[second]["value"] = price.amount_cents
    shop.asaas.pay(second)
    event = await shop.deliver_asaas("PAYMENT_CONFIRMED", second)
    assert event.status is (ProviderEventStatus.PROCESSED if knows_price else ProviderEventStatus.REVIEW)
    paid = (await shop.rows(order)).invoices[1]
    assert (paid.status is InvoiceStatus.PAID) is knows_price
    assert (paid.plan_slug == "profissional") is knows_price
    assert (await subscription_of(shop, order)).plan_slug == ("profissional" if knows_price else "essencial")


async def test_a_try_on_an_open_page_decides_nothing(shop: Shop) -> None:
    order = await shop.sell(is_recurring=False)
    session = shop.stripe.pay(str(order.external_id))
    intent = shop.stripe.world.get("payment_intent", session["payment_intent"])
    intent |= {"status": "requires_payment_method", "last_payment_error": {"code": "card_declined", "message": "no"}}
    session |= {"status": "open", "payment_status": "unpaid", "payment_intent": None}
    event = await shop.deliver(shop.stripe.world.emit("payment_intent.payment_failed", intent))
    assert event.status is ProviderEventStatus.PROCESSED
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING
