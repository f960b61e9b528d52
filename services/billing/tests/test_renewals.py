"""Cycles that we run ourselves: each period is invoiced and asked for once, paid it runs on, unpaid it is late."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from billing import store
from billing.domain.charging import ChargeOptions
from billing.domain.drafts import subscription_of
from billing.domain.dunning import DunningPolicy
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.payments import Payment
from billing.domain.plans import Plan, PlanPrice
from billing.domain.providers import Interval, PaymentStatus, Provider
from billing.domain.renewals import next_period
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from billing.usecases.close_open_calls import close_open_calls
from billing.usecases.poll_pending_payments import poll_pending_payments
from billing.usecases.renew_subscriptions import renew_subscriptions
from billing.usecases.run_dunning import run_dunning
from chassis.clock import Clock, utc_now
from chassis.db import Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from contracts.tenancy import PLATFORM_TENANT_ID
from testkit.fake_http import Fault

from .records import a_customer, a_subscription
from .shop import Shop, a_shop
from .test_run_dunning import ORDER, current, outbox

S = SubscriptionStatus
OPTIONS = ChargeOptions("https://shop.example", nexus_events=False)
POLICY = DunningPolicy((0, 3, 7))


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


async def own_cycle(shop: Shop, box: SecretBox, provider: Provider, **fields: Any) -> Subscription:
    """A monthly subscription by PIX whose first month ended a minute ago."""
    tenant, now = uuid4(), utc_now()
    end = now - timedelta(minutes=1)
    async with transaction(shop.db, tenant) as conn:
        customer = await a_customer(conn, tenant, now=now)
        sealed = box.seal("52998224725", tenant, "customers", customer.id)
        await store.customers.upsert_customer(conn, tenant, msgspec.structs.replace(customer, tax_id=sealed))
        return await a_subscription(
            conn,
            tenant,
            now=now - timedelta(days=31),
            order={"provider": provider, "customer_id": customer.id},
            **{"current_period_end": end, "renews_at": end} | fields,
        )


def after(**delta: float) -> Clock:
    """A clock that is ahead."""
    return lambda: utc_now() + timedelta(**delta)


async def renew(shop: Shop, box: SecretBox, **later: float) -> dict[str, int]:
    return await renew_subscriptions(
        shop.db,
        shop.accounts,
        box=box,
        options=OPTIONS,
        policy=POLICY,
        clock=lambda: utc_now() + timedelta(**later),
    )


async def owed(shop: Shop, row: Subscription) -> tuple[list[Invoice], list[Payment]]:
    async with transaction(shop.db, row.tenant_id) as conn:
        invoices = await store.invoices.list_invoices(conn, row.tenant_id, before=None, limit=100)
        payments = await store.payments.list_payments(conn, row.tenant_id, before=None, limit=100)
    return list(reversed(invoices)), list(reversed(payments))


def pay(shop: Shop, payment: Payment) -> None:
    assert payment.external_id is not None
    match payment.provider:
        case Provider.STRIPE:
            shop.stripe.pay_pix(payment.external_id)
        case Provider.ASAAS:
            shop.asaas.pay(payment.external_id)
        case Provider.PAGBANK:
            shop.pagbank.pay(payment.external_id)


@pytest.mark.parametrize("provider", list(Provider))
async def test_a_period_is_invoiced_asked_for_paid_and_followed_by_the_next(
    shop: Shop, box: SecretBox, provider: Provider
) -> None:
    row = await own_cycle(shop, box, provider)
    counts = await asyncio.gather(*(renew(shop, box) for _ in range(3)))
    assert sum(count["failed"] for count in counts) == 0
    assert sum(count["done"] for count in counts) == 1
    [invoice], [payment] = await owed(shop, row)
    assert (invoice.status, invoice.amount_cents) == (InvoiceStatus.PENDING, 24700)
    assert invoice.period_start == row.current_period_end
    assert (payment.status, payment.method.value) == (PaymentStatus.PENDING, "pix")
    assert payment.external_id is not None
    assert payment.pix_copy_paste is not None
    [mail] = await outbox(shop.db, "mail_queue")
    assert mail["template"] == "pix_code"
    assert mail["variables"]["copy_paste"] == payment.pix_copy_paste
    assert (await current(shop.db, row)).status is S.ACTIVE
    pay(shop, payment)
    await poll_pending_payments(shop.db, shop.accounts, clock=lambda: utc_now() + timedelta(minutes=4))
    [invoice], [payment] = await owed(shop, row)
    assert (invoice.status, payment.status) == (InvoiceStatus.PAID, PaymentStatus.PAID)
    after = await current(shop.db, row)
    assert (after.status, after.current_period_start) == (S.ACTIVE, invoice.period_start)
    assert after.renews_at == after.current_period_end == invoice.period_end
    assert (await renew(shop, box))["seen"] == 0
    await renew(shop, box, days=32)
    invoices, payments = await owed(shop, row)
    assert [one.period_start for one in invoices] == [invoice.period_start, invoice.period_end]
    assert len(payments) == 2


async def test_unpaid_past_its_due_date_it_is_late_and_paid_it_goes_on(shop: Shop, box: SecretBox) -> None:
    row = await own_cycle(shop, box, Provider.ASAAS)
    for days in (0, 1, 2, 3.1, 3.2, 4):
        await renew(shop, box, days=days)
    late = await current(shop.db, row)
    assert (late.status, late.renews_at) == (S.PAST_DUE, None)
    assert late.past_due_since is not None
    [invoice], [payment] = await owed(shop, row)
    assert (invoice.attempts, invoice.last_failure) == (1, "overdue")
    for days in (4, 8, 12):
        await run_dunning(shop.db, POLICY, clock=after(days=days))
    assert (await current(shop.db, row)).status is S.SUSPENDED
    mails = [mail for mail in await outbox(shop.db, "mail_queue") if mail["template"] != "pix_code"]
    assert [mail["template"] for mail in mails] == ["payment_failed", "payment_failed", "subscription_suspended"]
    assert {mail["variables"]["copy_paste"] for mail in mails} == {payment.pix_copy_paste}
    pay(shop, payment)
    await poll_pending_payments(shop.db, shop.accounts, clock=lambda: utc_now() + timedelta(days=13))
    paid = await current(shop.db, row)
    assert (paid.status, paid.past_due_since, paid.dunning_step) == (S.ACTIVE, None, 0)
    types = [one["type"].split(".")[2] for one in await outbox(shop.db, "billing.subscription.")]
    assert types == ["past_due", "suspended", "resumed"]


async def test_it_ends_with_its_period(shop: Shop, box: SecretBox) -> None:
    row = await own_cycle(shop, box, Provider.PAGBANK, cancel_at_period_end=True, cancel_reason="requested")
    await asyncio.gather(*(renew(shop, box) for _ in range(2)))
    ended = await current(shop.db, row)
    assert (ended.status, ended.cancel_reason, ended.renews_at) == (S.CANCELLED, "requested", None)
    assert await owed(shop, row) == ([], [])
    told = [one["type"] for one in await outbox(shop.db, "billing.subscription.")]
    assert told.count("billing.subscription.cancelled.v1") == 1


async def test_whoever_cancels_after_the_invoice_owes_nothing(shop: Shop, box: SecretBox) -> None:
    row = await own_cycle(shop, box, Provider.ASAAS)
    await renew(shop, box)
    async with transaction(shop.db, row.tenant_id) as conn:
        before = await store.subscriptions.lock_subscription(conn, row.tenant_id, row.id)
        await store.subscriptions.update_subscription(
            conn, row.tenant_id, msgspec.structs.replace(before, cancel_at_period_end=True)
        )
    await renew(shop, box, days=4)
    [invoice], _ = await owed(shop, row)
    assert invoice.status is InvoiceStatus.VOID
    assert (await current(shop.db, row)).status is S.CANCELLED


async def test_a_change_of_plan_that_waited_comes_with_the_new_period(shop: Shop, box: SecretBox) -> None:
    async with transaction(shop.db, PLATFORM_TENANT_ID) as conn:
        plan = await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, "profissional")
        assert isinstance(plan, Plan)
        price = await store.plans.find_price_for_sale(conn, PLATFORM_TENANT_ID, plan.id, Interval.MONTH, "BRL")
        assert isinstance(price, PlanPrice)
    row = await own_cycle(shop, box, Provider.ASAAS, next_plan_id=plan.id, next_price_id=price.id)
    await renew(shop, box)
    [invoice], [payment] = await owed(shop, row)
    assert invoice.amount_cents == payment.amount_cents == price.amount_cents
    assert (await current(shop.db, row)).plan_slug == "essencial"  # nothing is given before it is paid
    pay(shop, payment)
    await poll_pending_payments(shop.db, shop.accounts, clock=after(minutes=4))
    changed = await current(shop.db, row)
    assert (changed.plan_slug, changed.amount_cents, changed.next_price_id) == (
        "profissional",
        price.amount_cents,
        None,
    )
    [told] = await outbox(shop.db, "billing.subscription.")
    assert (told["type"], told["data"]["previous_plan"]["plan_slug"]) == (
        "billing.subscription.changed.v1",
        "essencial",
    )


async def test_a_provider_that_is_away_is_asked_again_under_the_same_key(shop: Shop, box: SecretBox) -> None:
    """The invoice is there at once, its charge once the provider answers, and the mail with the code then."""
    row = await own_cycle(shop, box, Provider.ASAAS)
    shop.asaas.server.faults = [Fault.FAIL_500] * 3
    assert (await renew(shop, box))["failed"] == 1
    [_], [payment] = await owed(shop, row)
    assert payment.external_id is None
    assert await outbox(shop.db, "mail_queue") == []
    shop.asaas.server.faults = []

    async def close(**later: float) -> dict[str, int]:
        return await close_open_calls(
            shop.db, shop.accounts, box=box, nexus_events=False, clock=lambda: utc_now() + timedelta(**later)
        )

    assert (await close(seconds=30))["seen"] == 0
    counts = await asyncio.gather(close(seconds=90), close(seconds=90))
    assert sum(count["failed"] for count in counts) == 0
    [payment] = (await owed(shop, row))[1]
    assert payment.external_id is not None
    assert shop.asaas.effects["payment"] == {str(payment.id): 1}
    assert len(await outbox(shop.db, "mail_queue")) == 1
    assert (await close(days=1))["seen"] == 0


async def test_a_refused_charge_leaves_the_period_owed(shop: Shop, box: SecretBox) -> None:
    row = await own_cycle(shop, box, Provider.ASAAS, amount_cents=100)  # Asaas takes nothing under R$ 5
    assert (await renew(shop, box))["failed"] == 1
    [invoice], [payment] = await owed(shop, row)
    assert (invoice.status, payment.status) == (InvoiceStatus.PENDING, PaymentStatus.CANCELLED)
    await renew(shop, box, days=4)
    assert (await current(shop.db, row)).status is S.PAST_DUE


async def test_a_cycle_of_the_providers_is_not_ours_to_renew(shop: Shop, box: SecretBox) -> None:
    row = await own_cycle(shop, box, Provider.ASAAS, external_id="sub_1")
    ending = await own_cycle(shop, box, Provider.ASAAS, external_id="sub_2", cancel_at_period_end=True)
    await renew(shop, box)
    assert ((await current(shop.db, row)).renews_at, await owed(shop, row)) == (None, ([], []))
    assert (await current(shop.db, ending)).status is S.CANCELLED


async def test_nothing_of_the_payer_stands_in_the_calls(shop: Shop, box: SecretBox) -> None:
    await own_cycle(shop, box, Provider.ASAAS)
    await renew(shop, box)
    async with platform_transaction(shop.db) as conn:
        stored = await conn.fetchval(
            "SELECT string_agg(params::text || coalesce(result::text, ''), '') FROM provider_calls"
        )
    assert "52998224725" not in stored


@given(days=st.integers(0, 2500), interval=st.sampled_from(list(Interval)))
def test_periods_have_no_gap_and_keep_their_day(days: int, interval: Interval) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days)
    row = msgspec.structs.replace(
        subscription_of(ORDER, now=start), interval=interval, current_period_start=start, current_period_end=start
    )
    ends = []
    for _ in range(14):
        begin, end = next_period(row, start)
        assert begin == row.current_period_end
        assert timedelta(days=28) <= end - begin <= timedelta(days=366)
        ends.append(end.day)
        row = msgspec.structs.replace(row, current_period_start=begin, current_period_end=end)
    assert all(day == start.day or day >= 28 for day in ends)
    assert start.day > 28 or max(ends) == start.day
