"""The Stripe adapter against the fake over a socket: each call, both shapes, and every way in which a call fails."""

import asyncio
import collections
import contextlib
import logging
import random
import re
import socket
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from billing.domain.providers import (
    ChargeRequest,
    CheckoutRequest,
    Interval,
    Method,
    NotAtProvider,
    Payer,
    PaymentStatus,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnknown,
)
from billing.stripe_api import InlinePrice, StripeApi
from billing.stripe_api.transport import API_VERSION
from testkit.fake_http import Fault
from testkit.fake_stripe import Crash, FakeStripe, Shape

ORDER = UUID("0195a1c2-0000-7000-8000-000000000001")
PAYMENT = UUID("0195a1c2-0000-7000-8000-000000000002")
KEY = "sk_test_a_key_that_must_not_leak"


@pytest.fixture(params=["basil", "acacia"])
def shape(request: pytest.FixtureRequest) -> Shape:
    found: Shape = request.param
    return found


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with FakeStripe(api_key=KEY).serving() as running:
        yield running


@pytest.fixture
async def api(fake: FakeStripe) -> AsyncIterator[StripeApi]:
    async with StripeApi(KEY, base_url=fake.url) as found:
        yield found


def checkout(**changes: Any) -> CheckoutRequest:
    fields: dict[str, Any] = {
        "reference": ORDER,
        "plan_slug": "essencial",
        "title": "Plano Essencial",
        "description": "Tudo & mais",
        "amount_cents": 24_700,
        "currency": "BRL",
        "interval": Interval.MONTH,
        "trial_days": 0,
        "payer": Payer(email="ana@example.com"),
        "success_url": "https://shop.example/success?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/cancel",
        "metadata": {"tenant_id": "t-1"},
    }
    return CheckoutRequest(**(fields | changes))


def pix(**changes: Any) -> ChargeRequest:
    fields: dict[str, Any] = {
        "reference": PAYMENT,
        "amount_cents": 24_700,
        "currency": "BRL",
        "method": Method.PIX,
        "payer": Payer(email="ana@example.com", name="Ana", tax_id="52998224725"),
        "description": "Plano Essencial",
        "due_on": date(2026, 3, 1),
        "expires_at": datetime.now(UTC) + timedelta(hours=1),
    }
    return ChargeRequest(**(fields | changes))


async def subscribe(fake: FakeStripe, api: StripeApi, **changes: Any) -> str:
    """The id of a subscription that was just paid for."""
    made = await api.create_checkout(checkout(**changes), key=str(uuid4()))
    fake.pay(made.external_id)
    return str((await api.get_checkout(made.external_id)).subscription_external_id)


async def buy_once(fake: FakeStripe, api: StripeApi, **changes: Any) -> str:
    """The id of a payment that was just made."""
    made = await api.create_checkout(checkout(interval=None, **changes), key=str(uuid4()))
    fake.pay(made.external_id)
    return str((await api.get_checkout(made.external_id)).payment_external_id)


# Checkout


async def test_a_page_for_a_plan_carries_what_the_order_is_known_by(fake: FakeStripe, api: StripeApi) -> None:
    made = await api.create_checkout(checkout(), key="order-1")
    assert made.url.startswith(fake.url)
    assert made.expires_at is not None
    assert made.expires_at > datetime.now(UTC)
    session = fake.world.get("checkout.session", made.external_id)
    expected = {"order_id": str(ORDER), "plan_id": "essencial", "tenant_id": "t-1"}
    assert session["metadata"] == session["_subscription_metadata"] == expected
    assert (session["mode"], session["payment_method_types"], session["amount_total"], session["currency"]) == (
        "subscription",
        ["card"],
        24_700,
        "brl",
    )
    assert session["client_reference_id"] == str(ORDER)
    state = await api.get_checkout(made.external_id)
    assert (state.status, state.payment_status, state.is_paid) == ("open", "unpaid", False)
    assert (state.reference, state.amount_cents, state.currency) == (str(ORDER), 24_700, "BRL")
    assert state.metadata == expected
    assert not state.livemode
    sent = fake.server.requests[0]
    assert sent.headers["stripe-version"] == API_VERSION
    assert sent.headers["idempotency-key"] == "order-1"
    assert sent.headers["authorization"] == f"Bearer {KEY}"


async def test_a_paid_page_leads_to_everything_that_it_made(fake: FakeStripe, api: StripeApi) -> None:
    made = await api.create_checkout(checkout(methods=(Method.ANY,)), key="order-1")
    fake.pay(made.external_id, name="Ana Lima")
    state = await api.get_checkout(made.external_id)
    assert (state.status, state.payment_status, state.is_paid) == ("complete", "paid", True)
    assert (state.payer_email, state.payer_name) == ("ana@example.com", "Ana Lima")
    assert state.customer_external_id is not None
    assert state.payment_external_id is None  # a subscription's is its invoice's
    subscription = await api.get_subscription(str(state.subscription_external_id))
    invoice = await api.get_invoice(str(state.invoice_external_id))
    assert subscription.status == "active"
    assert invoice.status == "paid"
    assert invoice.subscription_external_id == subscription.external_id


async def test_a_one_time_page_takes_pix_and_marks_the_payment(fake: FakeStripe, api: StripeApi) -> None:
    request = checkout(interval=None, methods=(Method.PIX, Method.CARD, Method.DEBIT_CARD), description="")
    made = await api.create_checkout(request, key="order-1")
    session = fake.world.get("checkout.session", made.external_id)
    assert session["payment_method_types"] == ["pix", "card"]
    fake.pay(made.external_id)
    state = await api.get_checkout(made.external_id)
    assert (state.is_paid, state.subscription_external_id) == (True, None)
    assert state.customer_external_id is not None
    payment = await api.get_payment(str(state.payment_external_id))
    assert (payment.status, payment.reference, payment.method) == (PaymentStatus.PAID, str(ORDER), Method.PIX)
    assert re.fullmatch(r"E[0-9]{20}[a-zA-Z0-9]{11}", payment.end_to_end_id or "")


async def test_a_completed_page_may_be_unpaid_until_the_bank_tells(fake: FakeStripe, api: StripeApi) -> None:
    for interval in (None, Interval.MONTH):
        for succeeded in (True, False):
            made = await api.create_checkout(checkout(interval=interval), key=str(uuid4()))
            fake.pay(made.external_id, unpaid=True)
            state = await api.get_checkout(made.external_id)
            assert (state.status, state.payment_status, state.is_paid) == ("complete", "unpaid", False)
            fake.settle_async(made.external_id, succeeded=succeeded)
            assert (await api.get_checkout(made.external_id)).is_paid is succeeded


async def test_a_trial_is_complete_without_a_payment(fake: FakeStripe, api: StripeApi) -> None:
    made = await api.create_checkout(checkout(trial_days=14), key="order-1")
    fake.pay(made.external_id)
    state = await api.get_checkout(made.external_id)
    assert (state.payment_status, state.is_paid, state.amount_cents) == ("no_payment_required", True, 0)
    subscription = await api.get_subscription(str(state.subscription_external_id))
    assert subscription.status == "trialing"
    assert subscription.trial_end == subscription.current_period_end
    fake.end_trial(subscription.external_id)
    assert (await api.get_subscription(subscription.external_id)).status == "active"


async def test_a_known_customer_buys_again_with_a_pushed_price(fake: FakeStripe, api: StripeApi) -> None:
    price_id = uuid4()
    pushed = await api.push_plan(
        uuid4(), "Essencial", "", [(price_id, 24_700, "BRL", Interval.MONTH)], product_external_id=None, key="plan-1"
    )
    subscription = await api.get_subscription(await subscribe(fake, api))
    payer = Payer(email="ana@example.com", external_id=subscription.customer_external_id)
    request = checkout(payer=payer, price_external_id=pushed.price_external_ids[price_id])
    made = await api.create_checkout(request, key="order-2")
    assert made.customer_external_id == subscription.customer_external_id
    fake.pay(made.external_id)
    again = await api.get_checkout(made.external_id)
    second = await api.get_subscription(str(again.subscription_external_id))
    assert second.customer_external_id == subscription.customer_external_id
    assert second.price_external_id == pushed.price_external_ids[price_id]
    assert again.payer_email == "ana@example.com"


async def test_a_page_is_expired_once_and_only_while_it_is_open(fake: FakeStripe, api: StripeApi) -> None:
    made = await api.create_checkout(checkout(), key="order-1")
    assert (await api.expire_checkout(made.external_id, key="expire-1")).status == "expired"
    assert (await api.expire_checkout(made.external_id, key="expire-1")).status == "expired"  # the kept answer
    with pytest.raises(ProviderRefused, match="expired"):
        await api.expire_checkout(made.external_id, key="expire-2")


async def test_what_stripe_cannot_sell_is_refused_with_its_reason(fake: FakeStripe, api: StripeApi) -> None:
    refused = [
        (checkout(methods=(Method.PIX,)), "subscription"),
        (checkout(interval=None, methods=(Method.PIX,), currency="USD"), "currency"),
        (checkout(interval=None, amount_cents=49), "at least"),
        (checkout(payer=Payer(email="not an address")), "email"),
        (checkout(success_url="javascript:alert(1)"), "URL"),
        (checkout(price_external_id="price_gone"), "price_gone"),
        (checkout(payer=Payer(email="a@b.example", external_id="cus_gone")), "cus_gone"),
        (checkout(metadata={f"k{n}": "v" for n in range(50)}), "50 keys"),
    ]
    for request, reason in refused:
        with pytest.raises(ProviderRefused, match=reason):
            await api.create_checkout(request, key=str(uuid4()))
    assert fake.made("checkout.session") == 0


async def test_a_page_whose_answer_is_lost_for_good_is_found_by_its_order(fake: FakeStripe, api: StripeApi) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    for _ in range(120):
        await api.create_checkout(checkout(reference=uuid4()), key=str(uuid4()))
    fake.front.crashes = [Crash.AFTER]
    for _ in range(2):
        with pytest.raises(ProviderUnknown):
            await api.create_checkout(checkout(), key="order-1")
    for _ in range(120):
        await api.create_checkout(checkout(reference=uuid4()), key=str(uuid4()))
    found = await api.find_checkout(ORDER, since)
    assert found is not None
    assert (found.reference, found.status) == (str(ORDER), "open")
    assert await api.find_checkout(uuid4(), since) is None
    assert await api.find_checkout(ORDER, datetime.now(UTC) + timedelta(minutes=1)) is None


# Portal and plans


async def test_the_portal_is_the_customers(fake: FakeStripe, api: StripeApi) -> None:
    subscription = await api.get_subscription(await subscribe(fake, api))
    customer_id = str(subscription.customer_external_id)
    url = await api.create_portal(customer_id, "https://shop.example/account", key="portal-1")
    async with httpx.AsyncClient(trust_env=False) as browser:
        assert "Plano Essencial" in (await browser.get(url)).text
    with pytest.raises(ProviderRefused, match="cus_gone"):
        await api.create_portal("cus_gone", "https://shop.example/account", key="portal-2")


async def test_a_plan_pushed_twice_is_one_product_with_one_price_each(fake: FakeStripe, api: StripeApi) -> None:
    plan_id, monthly, yearly = uuid4(), uuid4(), uuid4()
    first = await api.push_plan(
        plan_id,
        "Essencial",
        "Tudo",
        [(monthly, 24_700, "BRL", Interval.MONTH)],
        product_external_id=None,
        key="push-1",
    )
    again = await api.push_plan(
        plan_id,
        "Essencial 2",
        "",
        [(monthly, 24_700, "BRL", Interval.MONTH), (yearly, 236_400, "BRL", Interval.YEAR)],
        product_external_id=first.product_external_id,
        key="push-2",
    )
    assert again.product_external_id == first.product_external_id
    assert again.price_external_ids[monthly] == first.price_external_ids[monthly]
    assert (fake.made("product"), fake.made("price")) == (1, 2)
    product = fake.world.get("product", first.product_external_id)
    assert (product["name"], product["description"], product["metadata"]) == (
        "Essencial 2",
        None,
        {"plan_id": str(plan_id)},
    )
    price = fake.world.get("price", again.price_external_ids[yearly])
    assert (price["unit_amount"], price["currency"], price["recurring"]["interval"]) == (236_400, "brl", "year")


async def test_a_push_that_broke_off_anywhere_is_finished_by_the_next(fake: FakeStripe, api: StripeApi) -> None:
    plan_id, prices = uuid4(), [(uuid4(), 100 * n, "BRL", Interval.MONTH) for n in range(1, 13)]
    for attempt in range(40):
        # A look, a miss, a product, two looks for prices, twelve prices: each loses its answer in turn.
        fake.server.faults = [*([None] * (attempt % 20)), Fault.DROP_REPLY]
        try:
            pushed = await api.push_plan(plan_id, "P", "", prices, product_external_id=None, key=f"push-{attempt // 3}")
        except (ProviderUnknown, ProviderUnavailable):
            continue
        assert len(set(pushed.price_external_ids.values())) == 12
    fake.server.faults = []
    pushed = await api.push_plan(plan_id, "P", "", prices, product_external_id=None, key="push-last")
    assert (fake.made("product"), fake.made("price")) == (1, 12)
    assert set(pushed.price_external_ids) == {price_id for price_id, _, _, _ in prices}


# Subscriptions and invoices


async def test_a_subscription_is_read_in_both_shapes(fake: FakeStripe, api: StripeApi, shape: Shape) -> None:
    fake.world.shape = shape
    subscription_id = await subscribe(fake, api)
    state = await api.get_subscription(subscription_id)
    assert (state.status, state.amount_cents, state.currency, state.interval) == (
        "active",
        24_700,
        "BRL",
        Interval.MONTH,
    )
    assert state.reference == str(ORDER)
    assert state.current_period_start is not None
    assert state.current_period_end is not None
    assert timedelta(days=28) <= state.current_period_end - state.current_period_start <= timedelta(days=31)
    assert (state.trial_end, state.cancelled_at, state.cancel_at_period_end) == (None, None, False)
    raw = fake.world.get("subscription", subscription_id)
    assert state.item_external_id == raw["items"]["data"][0]["id"]
    assert state.metadata == {"order_id": str(ORDER), "plan_id": "essencial", "tenant_id": "t-1"}


async def test_an_invoice_is_read_in_both_shapes(fake: FakeStripe, api: StripeApi, shape: Shape) -> None:
    fake.world.shape = shape
    subscription_id = await subscribe(fake, api)
    before = await api.get_subscription(subscription_id)
    renewed = await api.get_invoice(fake.renew(subscription_id)["id"])
    after = await api.get_subscription(subscription_id)
    assert (renewed.status, renewed.billing_reason, renewed.attempts) == ("paid", "subscription_cycle", 1)
    assert (renewed.amount_cents, renewed.amount_paid_cents, renewed.currency) == (24_700, 24_700, "BRL")
    assert (renewed.subscription_external_id, renewed.reference) == (subscription_id, str(ORDER))
    assert renewed.customer_external_id == after.customer_external_id
    # What the line pays for, not the invoice's own period, which is the one before.
    assert (renewed.period_start, renewed.period_end) == (before.current_period_end, after.current_period_end)
    assert renewed.paid_at is not None
    assert renewed.number is not None
    assert str(renewed.url).startswith(fake.url)
    payment = await api.get_payment(str(renewed.payment_external_id))
    assert (payment.status, payment.invoice_external_id) == (PaymentStatus.PAID, renewed.external_id)
    assert payment.reference is None
    if shape == "basil":
        assert payment.subscription_external_id == subscription_id


async def test_a_missed_payment_is_past_due_until_it_is_made(fake: FakeStripe, api: StripeApi, shape: Shape) -> None:
    fake.world.shape = shape
    subscription_id = await subscribe(fake, api)
    invoice_id = fake.fail_renewal(subscription_id)["id"]
    missed = await api.get_invoice(invoice_id)
    assert (missed.status, missed.attempts, missed.amount_paid_cents) == ("open", 1, 0)
    assert missed.next_attempt_at is not None
    assert (await api.get_subscription(subscription_id)).status == "past_due"
    payment = await api.get_payment(str(missed.payment_external_id))
    assert (payment.status, payment.failure_reason) == (PaymentStatus.FAILED, "Your card was declined.")
    fake.retry_invoice(invoice_id)
    assert (await api.get_invoice(invoice_id)).status == "paid"
    assert (await api.get_subscription(subscription_id)).status == "active"
    assert (await api.get_payment(str(missed.payment_external_id))).failure_reason is None


async def test_an_open_invoice_is_voided_and_a_paid_one_is_not(fake: FakeStripe, api: StripeApi, shape: Shape) -> None:
    fake.world.shape = shape
    subscription_id = await subscribe(fake, api)
    paid, missed = fake.renew(subscription_id)["id"], fake.fail_renewal(subscription_id)["id"]
    assert (await api.void_invoice(missed, key="void-1")).status == "void"
    with pytest.raises(ProviderRefused, match="paid"):
        await api.void_invoice(paid, key="void-2")


async def test_a_subscription_ends_with_its_period_or_does_not(fake: FakeStripe, api: StripeApi) -> None:
    subscription_id = await subscribe(fake, api)
    state = await api.set_cancel_at_period_end(subscription_id, True, key="end-1")
    assert (state.cancel_at_period_end, state.status, state.cancelled_at) == (True, "active", None)
    state = await api.set_cancel_at_period_end(subscription_id, False, key="end-2")
    assert (state.cancel_at_period_end, state.status) == (False, "active")
    fake.cancel_in_portal(subscription_id)  # by cancel_at alone
    assert (await api.get_subscription(subscription_id)).cancel_at_period_end
    state = await api.set_cancel_at_period_end(subscription_id, False, key="end-3")
    assert not state.cancel_at_period_end
    fake.cancel_in_portal(subscription_id)
    fake.renew(subscription_id)
    state = await api.get_subscription(subscription_id)
    assert (state.status, state.cancelled_at is not None) == ("cancelled", True)


async def test_an_end_in_a_later_period_is_not_this_periods(fake: FakeStripe, api: StripeApi) -> None:
    subscription_id = await subscribe(fake, api)
    raw = fake.world.get("subscription", subscription_id)
    raw["cancel_at"] = raw["items"]["data"][0]["current_period_end"] + 1
    assert not (await api.get_subscription(subscription_id)).cancel_at_period_end


async def test_a_subscription_is_cancelled_once_and_stays_so(fake: FakeStripe, api: StripeApi) -> None:
    subscription_id = await subscribe(fake, api)
    fake.server.faults = [Fault.DROP_REPLY]
    with pytest.raises(ProviderUnknown):
        await api.cancel_subscription(subscription_id, key="cancel-1")
    for key in ("cancel-1", "cancel-2"):
        state = await api.cancel_subscription(subscription_id, key=key)
        assert (state.status, state.cancelled_at is not None) == ("cancelled", True)
    assert [event["type"] for event in fake.events].count("customer.subscription.deleted") == 1
    with pytest.raises(ProviderRefused, match="canceled"):
        await api.set_cancel_at_period_end(subscription_id, False, key="resume-1")
    with pytest.raises(NotAtProvider):
        await api.cancel_subscription("sub_gone", key="cancel-3")


UPGRADE = InlinePrice(amount_cents=58_000, currency="BRL", interval=Interval.MONTH, title="Plano Profissional")


async def test_a_price_changes_now_and_is_paid_later(fake: FakeStripe, api: StripeApi) -> None:
    state = await api.get_subscription(await subscribe(fake, api))
    changed = await api.change_subscription_price(
        state.external_id, str(state.item_external_id), UPGRADE, proration="none", key="change-1"
    )
    assert (changed.amount_cents, changed.item_external_id) == (58_000, state.item_external_id)
    assert changed.current_period_end == state.current_period_end
    assert fake.made("invoice") == 1
    again = await api.change_subscription_price(
        state.external_id, str(state.item_external_id), UPGRADE, proration="none", key="change-1"
    )
    assert again.price_external_id == changed.price_external_id
    assert (await api.get_invoice(fake.renew(state.external_id)["id"])).amount_cents == 58_000


async def test_a_price_that_is_paid_at_once_changes_only_when_it_is(fake: FakeStripe, api: StripeApi) -> None:
    state = await api.get_subscription(await subscribe(fake, api))
    item_id = str(state.item_external_id)
    fake.world.declines = True
    with pytest.raises(ProviderRefused, match="declined"):
        await api.change_subscription_price(
            state.external_id, item_id, UPGRADE, proration="always_invoice", key="change-1"
        )
    assert (await api.get_subscription(state.external_id)).amount_cents == 24_700
    fake.world.declines = False
    changed = await api.change_subscription_price(
        state.external_id, item_id, UPGRADE, proration="always_invoice", key="change-2"
    )
    assert changed.amount_cents == 58_000
    latest = fake.world.get("subscription", state.external_id)["latest_invoice"]
    invoice = await api.get_invoice(latest)
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_update")
    assert abs(invoice.amount_cents - (58_000 - 24_700)) <= 1  # nearly the whole period is left
    assert invoice.period_end == changed.current_period_end


async def test_a_difference_waits_for_the_renewal(fake: FakeStripe, api: StripeApi) -> None:
    state = await api.get_subscription(await subscribe(fake, api))
    pushed = await api.push_plan(
        uuid4(), "P", "", [(ORDER, 58_000, "BRL", Interval.MONTH)], product_external_id=None, key="push-1"
    )
    changed = await api.change_subscription_price(
        state.external_id,
        str(state.item_external_id),
        pushed.price_external_ids[ORDER],
        proration="create_prorations",
        key="change-1",
    )
    assert (changed.price_external_id, fake.made("invoice")) == (pushed.price_external_ids[ORDER], 1)
    renewed = await api.get_invoice(fake.renew(state.external_id)["id"])
    assert abs(renewed.amount_cents - (2 * 58_000 - 24_700)) <= 1
    assert renewed.period_start == state.current_period_end  # the lines of the change are not what it pays for


async def test_another_interval_begins_a_new_period(fake: FakeStripe, api: StripeApi) -> None:
    state = await api.get_subscription(await subscribe(fake, api))
    yearly = InlinePrice(amount_cents=236_400, currency="BRL", interval=Interval.YEAR, title="Anual")
    changed = await api.change_subscription_price(
        state.external_id, str(state.item_external_id), yearly, proration="always_invoice", key="change-1"
    )
    assert (changed.interval, changed.amount_cents) == (Interval.YEAR, 236_400)
    assert changed.current_period_start is not None
    assert changed.current_period_end is not None
    assert (changed.current_period_end - changed.current_period_start).days in (365, 366)
    monthly = await api.change_subscription_price(
        state.external_id, str(state.item_external_id), UPGRADE, proration="always_invoice", key="change-2"
    )
    latest = fake.world.get("subscription", state.external_id)["latest_invoice"]
    invoice = await api.get_invoice(latest)
    # What is left of the year is credited on a line that ends later than the month that is paid for.
    assert (invoice.period_start, invoice.period_end) == (monthly.current_period_start, monthly.current_period_end)
    assert (invoice.amount_cents, invoice.status) == (0, "paid")


# PIX and payments


async def test_a_pix_charge_has_its_code_and_is_paid(fake: FakeStripe, api: StripeApi, shape: Shape) -> None:
    fake.world.shape = shape
    request = pix()
    made = await api.create_pix(request, key="pix-1")
    assert (made.status, made.raw) == (PaymentStatus.PENDING, {})
    assert made.pix is not None
    assert made.pix.copy_paste.startswith("00020101")
    assert made.pix.txid == "***"
    assert request.expires_at is not None
    assert made.pix.expires_at == request.expires_at.replace(microsecond=0)
    assert str(made.url).startswith(fake.url)
    waiting = await api.get_payment(made.external_id)
    assert (waiting.status, waiting.method, waiting.reference) == (PaymentStatus.PENDING, Method.PIX, str(PAYMENT))
    assert (waiting.amount_cents, waiting.paid_at) == (24_700, None)
    fake.pay_pix(made.external_id)
    paid = await api.get_payment(made.external_id)
    assert (paid.status, paid.amount_cents, paid.currency) == (PaymentStatus.PAID, 24_700, "BRL")
    assert paid.paid_at is not None
    assert len(str(paid.end_to_end_id)) == 32
    assert (paid.invoice_external_id, paid.subscription_external_id, paid.failure_reason) == (None, None, None)


async def test_a_codes_payer_and_text_are_as_they_came(fake: FakeStripe, api: StripeApi) -> None:
    customer_id = (await api.get_subscription(await subscribe(fake, api))).customer_external_id
    payer = Payer(email="ana@example.com", external_id=customer_id)
    made = await api.create_pix(pix(payer=payer, description=""), key="pix-1")
    assert made.customer_external_id == customer_id
    assert (await api.get_pix(made.external_id)) == made
    code = fake.world.get("payment_intent", made.external_id)["next_action"]["pix_display_qr_code"]
    code["data"] = "a code of another kind"
    shown = (await api.get_pix(made.external_id)).pix
    assert shown is not None
    assert (shown.copy_paste, shown.txid) == ("a code of another kind", "***")
    fake.pay_pix(made.external_id)
    assert (await api.get_pix(made.external_id)).pix is None


async def test_an_expired_code_is_over_and_a_withdrawn_one_too(fake: FakeStripe, api: StripeApi) -> None:
    expired = await api.create_pix(pix(), key="pix-1")
    fake.expire_pix(expired.external_id)
    assert (await api.get_payment(expired.external_id)).status is PaymentStatus.CANCELLED
    withdrawn = await api.create_pix(pix(expires_at=None), key="pix-2")
    state = await api.cancel_payment(withdrawn.external_id, key="withdraw-1")
    assert (state.status, state.url) == (PaymentStatus.CANCELLED, None)
    paid = await api.create_pix(pix(), key="pix-3")
    fake.pay_pix(paid.external_id)
    with pytest.raises(ProviderRefused, match="succeeded"):
        await api.cancel_payment(paid.external_id, key="withdraw-2")


async def test_what_is_no_pix_charge_is_refused(fake: FakeStripe, api: StripeApi) -> None:
    for request, reason in [
        (pix(currency="USD"), "brl"),
        (pix(amount_cents=49), "0.50"),
        (pix(expires_at=datetime.now(UTC) + timedelta(seconds=5)), "60"),
        (pix(expires_at=datetime.now(UTC) + timedelta(days=15)), "60"),
    ]:
        with pytest.raises(ProviderRefused, match=reason):
            await api.create_pix(request, key=str(uuid4()))
    assert fake.made("payment_intent") == 0


async def test_a_charge_whose_answer_is_lost_for_good_is_found_by_its_payment(fake: FakeStripe, api: StripeApi) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    fake.front.crashes = [Crash.AFTER]
    with pytest.raises(ProviderUnknown):
        await api.create_pix(pix(), key="pix-1")
    await buy_once(fake, api)
    found = await api.find_payment(PAYMENT, since)
    assert found is not None
    assert (found.status, found.reference) == (PaymentStatus.PENDING, str(PAYMENT))
    assert await api.find_payment(uuid4(), since) is None


async def test_refunds_add_up_and_end(fake: FakeStripe, api: StripeApi, shape: Shape) -> None:
    fake.world.shape = shape
    payment_id = await buy_once(fake, api)
    first = await api.refund(payment_id, 4_700, key="refund-1")
    assert (first.status, first.amount_cents) == ("done", 4_700)
    assert (await api.refund(payment_id, 4_700, key="refund-1")).external_id == first.external_id
    state = await api.get_payment(payment_id)
    assert (state.status, state.refunded_cents) == (PaymentStatus.PARTIALLY_REFUNDED, 4_700)
    with pytest.raises(ProviderRefused, match="greater"):
        await api.refund(payment_id, 20_001, key="refund-2")
    assert (await api.refund(payment_id, None, key="refund-3")).amount_cents == 20_000
    state = await api.get_payment(payment_id)
    assert (state.status, state.refunded_cents, state.amount_cents) == (PaymentStatus.REFUNDED, 24_700, 24_700)
    with pytest.raises(ProviderRefused, match="already been refunded"):
        await api.refund(payment_id, 1, key="refund-4")


async def test_a_refund_counts_when_it_is_done(fake: FakeStripe, api: StripeApi) -> None:
    payment_id = await buy_once(fake, api)
    fake.world.refunds_pend = True
    first = await api.refund(payment_id, 700, key="refund-1")
    second = await api.refund(payment_id, 4_000, key="refund-2")
    assert (first.status, second.status) == ("pending", "pending")
    assert (await api.get_payment(payment_id)).status is PaymentStatus.PAID
    fake.settle_refund(first.external_id, succeeded=False)
    fake.settle_refund(second.external_id)
    state = await api.get_payment(payment_id)
    assert (state.status, state.refunded_cents) == (PaymentStatus.PARTIALLY_REFUNDED, 4_000)
    unpaid = await api.create_pix(pix(), key="pix-1")
    with pytest.raises(ProviderRefused, match="successful charge"):
        await api.refund(unpaid.external_id, None, key="refund-3")


async def test_more_refunds_than_a_charge_lists_are_counted_by_stripe(fake: FakeStripe, api: StripeApi) -> None:
    payment_id = await buy_once(fake, api)
    for number in range(12):
        await api.refund(payment_id, 100, key=f"refund-{number}")
    assert (await api.get_payment(payment_id)).refunded_cents == 1_200


async def test_a_dispute_is_open_then_lost_or_won(fake: FakeStripe, api: StripeApi, shape: Shape) -> None:
    fake.world.shape = shape
    lost, won = await buy_once(fake, api), await buy_once(fake, api)
    for payment_id in (lost, won):
        fake.dispute(payment_id)
        assert (await api.get_payment(payment_id)).status is PaymentStatus.DISPUTED
        with pytest.raises(ProviderRefused, match="charged back"):
            await api.refund(payment_id, None, key=f"refund-{payment_id}")
    fake.dispute(lost, "lost")
    fake.dispute(won, "won")
    assert (await api.get_payment(lost)).status is PaymentStatus.CHARGED_BACK
    assert (await api.get_payment(won)).status is PaymentStatus.PAID
    asked = await buy_once(fake, api)
    fake.dispute(asked)["status"] = "warning_under_review"
    assert (await api.get_payment(asked)).status is PaymentStatus.PAID  # the bank has only asked


# Reconciliation and the account


async def test_events_are_listed_page_by_page(fake: FakeStripe, api: StripeApi) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    for _ in range(15):
        await subscribe(fake, api)
    assert len(fake.events) > 100
    notices = [notice async for notice in api.list_events(since)]
    assert [notice.event_id for notice in notices] == [event["id"] for event in reversed(fake.events)]
    completed = next(notice for notice in notices if notice.type == "checkout.session.completed")
    assert (completed.kind, completed.reference) == ("checkout", str(ORDER))
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert [notice async for notice in api.list_events(later)] == []


async def test_the_account_answers_for_its_key(fake: FakeStripe, api: StripeApi) -> None:
    assert await api.get_account_id() == fake.world.account_id


# Keys and failures


async def test_a_key_has_its_effect_once(fake: FakeStripe, api: StripeApi) -> None:
    first = await api.create_checkout(checkout(), key="order-1")
    assert (await api.create_checkout(checkout(), key="order-1")).external_id == first.external_id
    with pytest.raises(ProviderRefused, match="same parameters"):
        await api.create_checkout(checkout(amount_cents=1_000), key="order-1")
    assert fake.made("checkout.session", "order-1") == fake.made("checkout.session") == 1


async def test_a_charge_has_the_same_parameters_whenever_it_is_asked_for(fake: FakeStripe, api: StripeApi) -> None:
    request = pix()
    fake.server.faults = [Fault.DROP_REPLY]
    with pytest.raises(ProviderUnknown):
        await api.create_pix(request, key="pix-1")
    await asyncio.sleep(1.1)  # an end counted in seconds from now would be another one
    await api.create_pix(request, key="pix-1")
    assert fake.made("payment_intent", "pix-1") == 1


async def test_calls_at_once_with_one_key_have_one_effect(fake: FakeStripe, api: StripeApi) -> None:
    fake.front.latency_s = 0.2
    answers = await asyncio.gather(
        *(api.create_checkout(checkout(), key="order-1") for _ in range(10)), return_exceptions=True
    )
    busy = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, ProviderUnknown) for answer in busy)
    assert len(busy) == 9
    assert fake.made("checkout.session") == 1
    await api.create_checkout(checkout(), key="order-1")
    assert fake.made("checkout.session") == 1


@pytest.mark.parametrize(
    ("fault", "expected", "effects"),
    [
        (Fault.REFUSE_429, ProviderUnavailable, 0),
        (Fault.FAIL_500, ProviderUnknown, 0),
        (Fault.FAIL_500_AFTER, ProviderUnknown, 1),
        (Fault.DROP_REPLY, ProviderUnknown, 1),
        (Fault.GARBAGE, ProviderUnknown, 1),
    ],
)
async def test_a_write_that_fails_is_made_good_with_its_key(
    fake: FakeStripe, api: StripeApi, fault: Fault, expected: type[Exception], effects: int
) -> None:
    fake.server.faults = [fault]
    with pytest.raises(expected) as caught:
        await api.create_checkout(checkout(), key="order-1")
    assert type(caught.value) is expected
    assert fake.made("checkout.session", "order-1") == effects
    await api.create_checkout(checkout(), key="order-1")
    assert fake.made("checkout.session", "order-1") == 1


async def test_stripe_says_when_to_come_back(fake: FakeStripe, api: StripeApi) -> None:
    fake.server.faults = [Fault.REFUSE_429]
    with pytest.raises(ProviderUnavailable) as caught:
        await api.get_account_id()
    assert caught.value.retry_after_s == 1


async def test_orders_have_one_page_each_whatever_fails(fake: FakeStripe, api: StripeApi) -> None:
    """How a caller gets there: the same key while it may help, a look where Stripe has kept a 500, then a new key."""
    chance, since = random.Random(18), datetime.now(UTC) - timedelta(minutes=1)
    sick = [Fault.REFUSE_429, Fault.FAIL_500, Fault.FAIL_500_AFTER, Fault.DROP_REPLY, Fault.GARBAGE]
    fake.server.faults = [chance.choice(sick) if chance.random() < 0.3 else None for _ in range(2_000)]
    fake.front.crashes = [chance.choice(list(Crash)) if chance.random() < 0.2 else None for _ in range(2_000)]
    orders = [uuid4() for _ in range(100)]
    for order in orders:
        attempt = 0
        while True:
            try:
                await api.create_checkout(checkout(reference=order), key=f"{order}:{attempt}")
                break
            except ProviderUnknown as unknown:
                if unknown.code != "provider_result_stays_unknown":
                    continue
            except ProviderUnavailable:
                continue
            found, is_known = None, False
            while not is_known:
                with contextlib.suppress(ProviderUnavailable):
                    found, is_known = await api.find_checkout(order, since), True
            if found is not None:
                break
            attempt += 1
    made = collections.Counter(one["client_reference_id"] for one in fake.world.all("checkout.session"))
    assert made == collections.Counter(map(str, orders))
    assert len(fake.server.requests) > 1.3 * len(orders)  # faults were met


@pytest.mark.parametrize("fault", [Fault.REFUSE_429, Fault.FAIL_500, Fault.DROP_REPLY, Fault.GARBAGE])
async def test_a_read_that_fails_leaves_nothing_unknown(fake: FakeStripe, api: StripeApi, fault: Fault) -> None:
    made = await api.create_checkout(checkout(), key="order-1")
    fake.server.faults = [fault]
    with pytest.raises(ProviderUnavailable) as caught:
        await api.get_checkout(made.external_id)
    assert type(caught.value) is ProviderUnavailable
    assert (await api.get_checkout(made.external_id)).external_id == made.external_id


async def test_an_answer_that_takes_too_long_is_not_waited_for(
    fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.stripe_api.transport.READ_S", 0.3)
    fake.server.hang_s = 1.0
    async with StripeApi(KEY, base_url=fake.url) as api:
        fake.server.faults = [Fault.HANG]
        with pytest.raises(ProviderUnknown):
            await api.create_checkout(checkout(), key="order-1")
        await api.create_checkout(checkout(), key="order-1")
        assert fake.made("checkout.session") == 1
        fake.server.faults = [Fault.HANG]
        with pytest.raises(ProviderUnavailable):
            await api.get_account_id()


async def test_a_500_that_stripe_kept_stays_unknown(fake: FakeStripe, api: StripeApi) -> None:
    for crash, effects in [(Crash.BEFORE, 0), (Crash.AFTER, 1)]:
        fake.front.crashes = [crash]
        key = f"order-{crash}"
        codes = []
        for _ in range(3):
            with pytest.raises(ProviderUnknown) as caught:
                await api.create_checkout(checkout(), key=key)
            codes.append(caught.value.code)
        assert codes == [
            "provider_result_unknown",
            "provider_result_stays_unknown",
            "provider_result_stays_unknown",
        ]
        assert fake.made("checkout.session", key) == effects


async def test_an_unreachable_stripe_is_left_alone_after_a_while() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        async with StripeApi(KEY, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}") as api:
            said = []
            for _ in range(10):
                with pytest.raises(ProviderUnavailable) as caught:
                    await api.create_checkout(checkout(), key="order-1")
                said.append(caught.value.detail)
    assert said[:8] == ["Stripe cannot be reached."] * 8
    assert "tried again shortly" in said[9]


async def test_refusals_do_not_open_the_breaker(fake: FakeStripe, api: StripeApi) -> None:
    for number in range(12):
        with pytest.raises(ProviderRefused):
            await api.create_checkout(checkout(amount_cents=1, interval=None), key=f"order-{number}")
    assert await api.get_account_id() == fake.world.account_id


async def test_a_key_that_is_not_accepted_is_misconfigured_and_never_shown(fake: FakeStripe) -> None:
    for bad in ("", "sk live", "sk_live_é", "sk\nx", "k" * 256):
        with pytest.raises(ProviderMisconfigured):
            StripeApi(bad, base_url=fake.url)
    wrong = "sk_test_wrong_key_4242"
    async with StripeApi(wrong, base_url=fake.url) as api:
        with pytest.raises(ProviderMisconfigured) as caught:
            await api.get_account_id()
    assert "4242" not in str(caught.value)
    assert "sk_test" not in str(caught.value)
    fake.front.permits = lambda request: request.method == "GET"
    async with StripeApi(KEY, base_url=fake.url) as api:
        await api.get_account_id()
        with pytest.raises(ProviderMisconfigured) as caught:
            await api.create_checkout(checkout(), key="order-1")
    assert "sk_test" not in str(caught.value)


async def test_nothing_that_is_sent_gets_into_the_log(
    fake: FakeStripe, api: StripeApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await api.create_pix(pix(), key="pix-1")
        async with StripeApi("sk_test_wrong_key_4242", base_url=fake.url) as stranger:
            with pytest.raises(ProviderMisconfigured):
                await stranger.get_account_id()
    assert "POST" in caplog.text  # httpx names the call
    for secret in (KEY, "4242", "52998224725", "ana@example.com", "ana%40example.com"):
        assert secret not in caplog.text


async def test_a_key_in_stripes_words_is_blotted_out(fake: FakeStripe, api: StripeApi) -> None:
    request = checkout(price_external_id="sk_live_51abcDEF")
    with pytest.raises(ProviderRefused) as caught:
        await api.create_checkout(request, key="order-1")
    assert "51abc" not in caught.value.detail
    assert "***" in caught.value.detail


@pytest.mark.parametrize("external_id", ["cs_gone", "", "../account", "a/b", "é", "x" * 256, "cs_1?expand=x", "cs 1"])
async def test_what_is_not_there_is_not_there(fake: FakeStripe, api: StripeApi, external_id: str) -> None:
    reads: list[Any] = [api.get_checkout, api.get_subscription, api.get_invoice, api.get_payment]
    for read in reads:
        with pytest.raises(NotAtProvider):
            await read(external_id)
    writes: list[Any] = [api.expire_checkout, api.void_invoice, api.cancel_payment, api.cancel_subscription]
    for number, write in enumerate(writes):
        with pytest.raises(NotAtProvider):
            await write(external_id, key=f"k-{number}")
    assert all(request.path.count("/") <= 5 for request in fake.server.requests)


async def test_a_page_that_is_no_stripe_is_not_taken_for_an_answer(fake: FakeStripe) -> None:
    async with StripeApi(KEY, base_url=f"{fake.url}/elsewhere") as api:  # its HTML 404 is not "no such session"
        with pytest.raises(ProviderUnavailable):
            await api.get_checkout("cs_1")
        with pytest.raises(ProviderUnknown):
            await api.create_checkout(checkout(), key="order-1")


async def test_an_object_in_a_state_that_is_new_to_us_is_not_guessed_at(fake: FakeStripe, api: StripeApi) -> None:
    subscription_id = await subscribe(fake, api)
    fake.world.get("subscription", subscription_id)["status"] = "hibernating"
    with pytest.raises(ProviderUnavailable, match="cannot read"):
        await api.get_subscription(subscription_id)


async def test_a_price_of_another_rhythm_has_no_interval_of_ours(fake: FakeStripe, api: StripeApi) -> None:
    subscription_id = await subscribe(fake, api)
    item = fake.world.get("subscription", subscription_id)["items"]["data"][0]
    item["quantity"] = 3
    for recurring in ({"interval": "week"}, {"interval": "month", "interval_count": 3}, None):
        item["price"]["recurring"] = recurring
        state = await api.get_subscription(subscription_id)
        assert (state.interval, state.amount_cents) == (None, 3 * 24_700)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("incomplete", "incomplete"),
        ("incomplete_expired", "cancelled"),
        ("trialing", "trialing"),
        ("active", "active"),
        ("past_due", "past_due"),
        ("unpaid", "past_due"),
        ("paused", "paused"),
        ("canceled", "cancelled"),
    ],
)
async def test_every_status_has_a_word_of_ours(fake: FakeStripe, api: StripeApi, theirs: str, ours: str) -> None:
    subscription_id = await subscribe(fake, api)
    fake.world.get("subscription", subscription_id)["status"] = theirs
    assert (await api.get_subscription(subscription_id)).status == ours
