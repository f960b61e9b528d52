"""Orders that nobody paid in time end, once; one that was paid after all is paid, whatever became of the hint."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.domain.brazil_days import day_in_brazil
from billing.domain.charging import NewCharge
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import Order, OrderStatus
from billing.domain.providers import Method, Payer, PaymentStatus, Provider
from billing.domain.subscriptions import SubscriptionStatus
from billing.usecases.expire_orders import expire_orders
from billing.usecases.plan_call import plan_call
from billing.usecases.plan_charge import plan_charge
from billing.usecases.poll_pending_payments import poll_pending_payments
from billing.usecases.request_charge import request_charge
from chassis.clock import utc_now
from chassis.db import Database, transaction
from chassis.secrets import SecretBox
from testkit.fake_http import Fault, Request

from .records import a_customer, an_invoice, an_order
from .shop import Shop, a_shop

DONE = {"seen": 1, "done": 1, "failed": 0}


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


class Asked(msgspec.Struct):
    """The parameters of a call, whatever they were."""


async def lose_page(shop: Shop, order: Order) -> None:
    """Notes that the order's page was asked for; its answer never came."""
    async with transaction(shop.db, order.tenant_id) as conn:
        await plan_call(
            conn,
            order.tenant_id,
            provider=order.provider.value,
            account_id=order.account_id,
            operation="checkout",
            key=f"checkout-{order.id}",
            params=Asked(),
            now=utc_now(),
        )


async def expire(shop: Shop, **later: float) -> dict[str, int]:
    return await expire_orders(
        shop.db, shop.accounts, clock=lambda: utc_now() + timedelta(**(later or {"days": 3, "minutes": 1}))
    )


@pytest.mark.parametrize("provider", list(Provider))
@pytest.mark.parametrize("is_recorded", [True, False])
async def test_an_order_ends_once(shop: Shop, provider: Provider, is_recorded: bool) -> None:
    order = await shop.sell(provider=provider, is_recurring=provider is not Provider.PAGBANK, is_recorded=is_recorded)
    if not is_recorded:
        await lose_page(shop, order)
    assert (await expire(shop, days=2))["seen"] == 0
    counts = await asyncio.gather(*(expire(shop) for _ in range(2)))
    assert sum(count["failed"] for count in counts) == 0
    rows = await shop.rows(order)
    assert (rows.order.status, rows.order.failure_reason) == (OrderStatus.CANCELLED, "expired")
    assert [invoice.status for invoice in rows.invoices] == [InvoiceStatus.VOID]
    assert rows.subscription is None
    assert await shop.told_types(order) == ["invoice.issued", "invoice.voided", "order.failed"]
    assert (await expire(shop))["seen"] == 0


@pytest.mark.parametrize("provider", list(Provider))
async def test_an_order_by_pix_ends_with_its_code(shop: Shop, box: SecretBox, provider: Provider) -> None:
    """Nobody looks for a page that was never asked for; PagBank's code cannot be withdrawn, and ends by itself."""
    order = await pix_order(shop, box, provider)
    assert await expire(shop) == DONE
    rows = await shop.rows(order)
    assert (rows.order.status, [one.status for one in rows.invoices]) == (OrderStatus.CANCELLED, [InvoiceStatus.VOID])
    [payment] = rows.payments
    is_kept = provider is Provider.PAGBANK
    assert payment.status is (PaymentStatus.PENDING if is_kept else PaymentStatus.CANCELLED)
    pages = [one for one in shop.stripe.server.requests if "checkout" in one.path]
    assert pages == []


@pytest.mark.parametrize("provider", list(Provider))
async def test_an_order_by_pix_that_was_paid_is_paid(shop: Shop, box: SecretBox, provider: Provider) -> None:
    order = await pix_order(shop, box, provider)
    [payment] = (await shop.rows(order)).payments
    assert payment.external_id is not None
    pay(shop, provider, payment.external_id)
    assert (await expire(shop))["done"] == 0
    rows = await shop.rows(order)
    assert (rows.order.status, [one.status for one in rows.invoices]) == (OrderStatus.PAID, [InvoiceStatus.PAID])
    assert rows.subscription is not None
    assert rows.subscription.renews_at is not None


async def pix_order(shop: Shop, box: SecretBox, provider: Provider) -> Order:
    """An order with a PIX charge and no page."""
    tenant, now = uuid4(), utc_now()
    async with transaction(shop.db, tenant) as conn:
        customer = await a_customer(conn, tenant, now=now)
        sealed = box.seal("52998224725", tenant, "customers", customer.id)
        await store.customers.upsert_customer(conn, tenant, msgspec.structs.replace(customer, tax_id=sealed))
        order = await an_order(conn, tenant, now=now, provider=provider, customer_id=customer.id)
        invoice = await an_invoice(conn, tenant, order=order, now=now)
        wanted = NewCharge(
            method=Method.PIX, amount_cents=invoice.amount_cents, due_on=day_in_brazil(now), description="Essencial"
        )
        payer = Payer(email="ana@example.com", name="Ana", tax_id="52998224725")
        payment = await plan_charge(conn, invoice, wanted, payer, notification_url=None, now=now)
    await request_charge(shop.db, shop.accounts, tenant, payment.id, box=box, nexus_events=False, clock=utc_now)
    return order


async def test_what_could_still_be_paid_is_withdrawn(shop: Shop) -> None:
    stripe, asaas = await shop.sell(), await shop.sell(provider=Provider.ASAAS)
    pagbank = await shop.sell(provider=Provider.PAGBANK, is_recurring=False)
    await expire(shop)
    assert pagbank.external_id is not None
    assert shop.pagbank.world.checkout(pagbank.external_id)["status"] == "INACTIVE"
    assert stripe.external_id is not None
    assert shop.stripe.world.get("checkout.session", stripe.external_id)["status"] == "expired"
    assert asaas.external_id is not None
    assert shop.asaas.world.subscription(asaas.external_id)["deleted"] is True


async def test_a_page_that_was_paid_is_paid(shop: Shop) -> None:
    """No webhook ever came: the pages and Asaas' payment are asked after before the order ends."""
    stripe, asaas = await shop.sell(), await shop.sell(provider=Provider.ASAAS)
    pagbank = await shop.sell(provider=Provider.PAGBANK, is_recurring=False)
    assert stripe.external_id is not None
    shop.stripe.pay(stripe.external_id)
    [first] = shop.asaas.payments_of(str(asaas.id))
    shop.asaas.pay(first["id"])
    shop.pagbank.pay_checkout(str(pagbank.external_id))
    counts = await asyncio.gather(*(expire(shop) for _ in range(2)))
    assert sum(count["failed"] + count["done"] for count in counts) == 0
    for order in (stripe, asaas, pagbank):
        rows = await shop.rows(order)
        assert rows.order.status is OrderStatus.PAID
        assert [invoice.status for invoice in rows.invoices] == [InvoiceStatus.PAID]
        assert [payment.status for payment in rows.payments] == [PaymentStatus.PAID]
        assert rows.subscription is not None
        assert rows.subscription.status is SubscriptionStatus.ACTIVE
        assert (rows.subscription.external_id is None) == (order is pagbank), "PagBank's cycle is ours"
        told = await shop.told_types(order)
        assert told.count("order.paid") == 1
        assert "order.failed" not in told


async def test_a_page_whose_bank_has_not_decided_waits(shop: Shop) -> None:
    order = await shop.sell()
    assert order.external_id is not None
    shop.stripe.pay(order.external_id, unpaid=True, method="boleto")
    assert (await expire(shop))["done"] == 0
    waiting = (await shop.rows(order)).order
    assert waiting.status is OrderStatus.PENDING
    assert (await expire(shop))["seen"] == 0  # others have their turn meanwhile
    shop.stripe.settle_async(order.external_id)
    await expire(shop, days=4)
    assert (await shop.rows(order)).order.status is OrderStatus.PAID


async def test_a_page_at_pagbank_may_be_paid_while_it_is_being_closed(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.PAGBANK, is_recurring=False)

    def pay_first(request: Request) -> bool:
        if request.path.endswith("/inactivate"):
            shop.pagbank.pay_checkout(str(order.external_id))
        return False

    shop.pagbank.server.faulty, shop.pagbank.server.faults = pay_first, [Fault.FAIL_500]
    assert (await expire(shop))["done"] == 0
    rows = await shop.rows(order)
    assert (rows.order.status, [one.status for one in rows.payments]) == (OrderStatus.PAID, [PaymentStatus.PAID])


@pytest.mark.parametrize("is_paid", [True, False])
async def test_a_card_that_pagbank_looks_into_is_waited_for(shop: Shop, is_paid: bool) -> None:
    order = await shop.sell(provider=Provider.PAGBANK, is_recurring=False)
    tried = shop.pagbank.analyse_checkout(str(order.external_id))
    assert (await expire(shop))["done"] == 0
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING
    assert (await expire(shop))["seen"] == 0  # others have their turn meanwhile
    charge = shop.pagbank.order(tried)["charges"][0]
    if is_paid:
        shop.pagbank.pay(tried)
    else:
        charge["status"] = "DECLINED"
    await expire(shop, days=4)
    ended = (await shop.rows(order)).order
    assert ended.status is (OrderStatus.PAID if is_paid else OrderStatus.FAILED)


async def test_a_code_of_a_page_that_nobody_paid_ends_with_it(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.PAGBANK, is_recurring=False)
    tried = shop.pagbank.world.try_checkout(str(order.external_id))["id"]
    assert (await expire(shop)) == DONE
    assert (await shop.rows(order)).order.status is OrderStatus.CANCELLED
    shop.pagbank.pay(tried)
    shop.clock = lambda: utc_now() + timedelta(days=4)
    await shop.deliver_pagbank(tried)
    rows = await shop.rows(order)
    assert (rows.order.status, [one.status for one in rows.invoices]) == (OrderStatus.PAID, [InvoiceStatus.PAID])
    assert rows.subscription is not None, "money that comes after all still counts"


async def test_late_money_beside_another_purchase_is_for_a_person(shop: Shop, box: SecretBox) -> None:
    """A code of PagBank's cannot be withdrawn: whoever ordered anew, and paid both, is to have one of them back."""
    order = await pix_order(shop, box, Provider.PAGBANK)
    [payment] = (await shop.rows(order)).payments
    assert await expire(shop) == DONE
    again = await shop.sell(provider=Provider.PAGBANK, is_recurring=False, tenant=order.tenant_id)
    await shop.deliver_pagbank(shop.pagbank.pay_checkout(str(again.external_id)))
    assert (await shop.rows(again)).order.status is OrderStatus.PAID
    shop.pagbank.pay(str(payment.external_id))
    shop.clock = lambda: utc_now() + timedelta(days=4)
    event = await shop.deliver_pagbank(str(payment.external_id))
    assert (event.status, event.reason) == ("review", "its order had run out, and another subscription runs")
    assert (await shop.rows(order)).order.status is OrderStatus.CANCELLED


async def test_late_money_for_an_order_that_ran_out_pays_it_once(shop: Shop, box: SecretBox) -> None:
    order = await pix_order(shop, box, Provider.PAGBANK)
    [payment] = (await shop.rows(order)).payments
    assert await expire(shop) == DONE
    shop.pagbank.pay(str(payment.external_id))
    shop.clock = lambda: utc_now() + timedelta(days=4)
    for _ in range(2):
        await shop.deliver_pagbank(str(payment.external_id))
    rows = await shop.rows(order)
    [invoice] = rows.invoices
    assert (rows.order.status, invoice.status, invoice.voided_at) == (OrderStatus.PAID, InvoiceStatus.PAID, None)
    assert rows.subscription is not None
    assert rows.subscription.status is SubscriptionStatus.ACTIVE
    told = await shop.told_types(order)
    assert (told.count("order.failed"), told.count("order.paid"), told.count("invoice.paid")) == (1, 1, 1)


async def test_a_provider_that_is_away_ends_no_order(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    shop.asaas.server.faults = [Fault.FAIL_500] * 5
    assert (await expire(shop))["failed"] == 1
    shop.asaas.server.faults = []
    assert (await shop.rows(order)).order.status is OrderStatus.PENDING
    assert (await expire(shop))["seen"] == 0
    assert await expire(shop, days=3, minutes=15) == DONE


async def test_a_lost_answer_withdraws_once(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.server.faulty = lambda request: request.path.endswith("/expire")
    shop.stripe.server.faults = [Fault.DROP_REPLY]
    assert await expire(shop) == DONE
    assert (await shop.rows(order)).order.status is OrderStatus.CANCELLED


async def test_an_order_of_a_lost_account_ends(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    async with transaction(shop.db, order.tenant_id) as conn:
        await conn.execute("UPDATE orders SET expires_at = now() WHERE id = $1", order.id)
    shop.accounts.platform = type(shop.accounts.platform)()
    assert (await expire(shop))["done"] == 1


async def poll(shop: Shop, **later: float) -> dict[str, int]:
    return await poll_pending_payments(
        shop.db, shop.accounts, clock=lambda: utc_now() + timedelta(**(later or {"minutes": 4}))
    )


def pay(shop: Shop, provider: Provider, external_id: str) -> None:
    pays: dict[Provider, Any] = {
        Provider.STRIPE: shop.stripe.pay_pix,
        Provider.ASAAS: shop.asaas.pay,
        Provider.PAGBANK: shop.pagbank.pay,
    }
    pays[provider](external_id)


@pytest.mark.parametrize("provider", list(Provider))
async def test_a_lost_hint_is_made_good(shop: Shop, provider: Provider) -> None:
    payment = await shop.charge(provider)
    assert payment.external_id is not None
    assert (await poll(shop, minutes=2))["seen"] == 0
    assert (await poll(shop))["done"] == 0
    pay(shop, provider, payment.external_id)
    counts = await asyncio.gather(*(poll(shop, minutes=8) for _ in range(3)))
    assert sum(count["failed"] for count in counts) == 0
    async with transaction(shop.db, payment.tenant_id) as conn:
        paid = await store.payments.get_payment(conn, payment.tenant_id, payment.id)
        invoice = await store.invoices.get_invoice(conn, payment.tenant_id, payment.invoice_id)
    assert (paid.status, invoice.status) == (PaymentStatus.PAID, InvoiceStatus.PAID)
    events = await shop.db.relay.fetch("SELECT type FROM outbox WHERE type = 'billing.payment.received.v1'")
    assert len(events) == 1
    assert (await poll(shop, days=1))["seen"] == 0


async def test_old_payments_are_asked_after_ever_more_rarely(shop: Shop) -> None:
    payment = await shop.charge(Provider.ASAAS)
    seen = [(await poll(shop, hours=hours))["seen"] for hours in range(1, 49)]
    assert 8 <= sum(seen) <= 20
    assert (await poll(shop, days=91))["seen"] == 0
    assert payment.account_id == PLATFORM_ACCOUNT


async def test_one_that_cannot_be_asked_after_keeps_nobody_waiting(shop: Shop) -> None:
    """The provider does not know it, or its account is gone: it is noted as asked, and the next has its turn."""
    lost = await shop.charge(Provider.ASAAS)
    assert lost.external_id is not None
    del shop.asaas.world.payments[lost.external_id]
    counts = await poll(shop)
    assert (counts["seen"], counts["done"]) == (1, 0)
    assert (await poll(shop))["seen"] == 0
    orphan = await shop.charge(Provider.PAGBANK)
    shop.accounts.platform = type(shop.accounts.platform)()
    assert (await poll(shop))["failed"] == 1
    assert (await poll(shop))["seen"] == 0
    assert orphan.external_id is not None
