"""Reconciliation: whatever webhooks were lost, every paid order is found and fulfilled, once."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.accounts import seal_account_secrets
from billing.domain.identifiers import new_id
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import OrderStatus
from billing.domain.payments import Payment
from billing.domain.provider_accounts import Environment, ProviderAccount
from billing.domain.provider_events import EventSource
from billing.domain.providers import Notice, Provider
from billing.domain.providers import PaymentStatus as P
from billing.domain.refunds import RefundStatus
from billing.stripe_api import StripeApi
from billing.usecases.reconcile_providers import Reconciled, reconcile_providers
from chassis.clock import utc_now
from chassis.db import Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from testkit.fake_http import Fault

from .records import a_refund
from .shop import Shop, a_shop

LOST_TOKEN = "a-token-of-asaas-of-more-than-32-letters"


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


async def reconcile(shop: Shop, *, days: int = 3) -> Reconciled:
    return await reconcile_providers(shop.db, shop.accounts, days=days, clock=shop.clock)


async def deal_with_all(shop: Shop) -> list[str]:
    """What came of the events that nobody has dealt with yet, as the consumer would."""
    async with platform_transaction(shop.db) as conn:
        rows = await conn.fetch("SELECT id FROM provider_events WHERE status = 'received' ORDER BY id")
    return [(await shop.deal_with(row["id"])).status.value for row in rows]


async def test_a_purchase_at_stripe_whose_webhooks_were_lost_is_found(shop: Shop) -> None:
    order = await shop.sell()
    session = shop.stripe.pay(str(order.external_id))
    shop.stripe.renew(session["subscription"])
    counts = await reconcile(shop)
    assert (counts.accounts, counts.failed, counts.stored) == (3, 0, counts.listed)
    assert counts.stored > 0
    await deal_with_all(shop)
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID, InvoiceStatus.PAID]
    told = await shop.told_types(order)
    again = await reconcile(shop)
    assert (again.listed, again.stored) == (counts.listed, 0)
    await shop.deliver_all(shop.stripe.events)
    assert await shop.rows(order) == rows
    assert await shop.told_types(order) == told


async def test_what_a_webhook_has_brought_is_not_stored_again(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(str(order.external_id))
    await shop.deliver_all(shop.stripe.events)
    assert (await reconcile(shop)).stored == 0


async def test_only_so_many_days_are_looked_at(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(str(order.external_id))
    for event in shop.stripe.events:
        event["created"] -= 2 * 86_400
    assert (await reconcile(shop, days=1)).listed == 0
    assert (await reconcile(shop, days=3)).stored > 0


@pytest.mark.parametrize("provider", [Provider.ASAAS, Provider.PAGBANK])
async def test_a_paid_charge_whose_webhook_was_lost_is_found(shop: Shop, provider: Provider) -> None:
    payment = await shop.charge(provider)
    assert (await reconcile(shop)).stored == 0
    (shop.asaas.pay if provider is Provider.ASAAS else shop.pagbank.pay)(str(payment.external_id))
    assert (await reconcile(shop)).stored == 1
    assert (await reconcile(shop)).stored == 0
    assert await deal_with_all(shop) == ["processed"]
    assert (await payment_now(shop, payment)).status is P.PAID
    counts = await reconcile(shop)
    assert counts.stored == 0


async def payment_now(shop: Shop, payment: Payment) -> Payment:
    async with transaction(shop.db, payment.tenant_id) as conn:
        return await store.payments.get_payment(conn, payment.tenant_id, payment.id)


async def test_an_asaas_purchase_and_its_renewal_are_found(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [first] = shop.asaas.payments_of(str(order.id))
    second = shop.asaas.renew(str(order.external_id))
    shop.asaas.pay(first["id"])
    shop.asaas.pay(second)
    await reconcile(shop)
    await deal_with_all(shop)
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert [one.status for one in rows.invoices] == [InvoiceStatus.PAID, InvoiceStatus.PAID]


async def test_a_page_at_pagbank_that_was_paid_is_found(shop: Shop) -> None:
    order, unpaid = await shop.sell(provider=Provider.PAGBANK), await shop.sell(provider=Provider.PAGBANK)
    gone = await shop.sell(provider=Provider.PAGBANK)
    del shop.pagbank.world.checkouts[str(gone.external_id)]
    assert (await reconcile(shop)).stored == 0
    shop.pagbank.pay_checkout(str(order.external_id))
    assert (await reconcile(shop)).stored == 1
    assert await deal_with_all(shop) == ["processed"]
    assert (await shop.rows(order)).order.status is OrderStatus.PAID
    assert (await shop.rows(unpaid)).order.status is OrderStatus.PENDING
    assert (await reconcile(shop)).stored == 0


async def test_a_lost_refund_at_asaas_is_found_in_both_its_parts(shop: Shop) -> None:
    payment = await shop.charge(Provider.ASAAS)
    shop.asaas.pay(str(payment.external_id))
    await shop.deliver_asaas("PAYMENT_RECEIVED", str(payment.external_id))
    for refunded_cents, status in ((700, P.PARTIALLY_REFUNDED), (None, P.REFUNDED)):
        shop.asaas.refund(str(payment.external_id), refunded_cents)
        assert (await reconcile(shop)).stored == 1
        await deal_with_all(shop)
        assert (await payment_now(shop, payment)).status is status


@pytest.mark.parametrize("provider", [Provider.ASAAS, Provider.PAGBANK])
async def test_a_lost_return_of_a_refund_is_found(shop: Shop, provider: Provider) -> None:
    """A refund under way at Asaas that fails, a part that PagBank had given back: long after the payment was made."""
    payment = await shop.charge(provider)
    external_id = str(payment.external_id)
    if provider is Provider.ASAAS:
        shop.asaas.pay(external_id)
        shop.asaas.world.refunds_wait = True
        at_asaas = shop.asaas.world.payments[external_id]
        at_asaas["dateCreated"] = at_asaas["paymentDate"] = "2026-01-02"
    else:
        shop.pagbank.pay(external_id)
    await reconcile(shop)
    await shop.deliver_asaas("PAYMENT_RECEIVED", external_id) if provider is Provider.ASAAS else None
    await deal_with_all(shop)
    assert (await payment_now(shop, payment)).status is P.PAID
    api = await shop.accounts.of_platform(provider)
    assert not isinstance(api, StripeApi)
    async with transaction(shop.db, payment.tenant_id) as conn:
        refund = await a_refund(conn, payment, amount_cents=700)
        asked = await api.refund(external_id, 700, "x", key=refund.key)
        pending = msgspec.structs.replace(refund, status=RefundStatus.PENDING, external_id=asked.external_id)
        await store.refunds.update_refund(conn, payment.tenant_id, pending)
    if provider is Provider.ASAAS:
        assert (await reconcile(shop)).stored == 0, "under way"
        shop.asaas.fail_refunds(external_id)
        ends = RefundStatus.FAILED
    else:
        ends = RefundStatus.DONE
    assert (await reconcile(shop)).stored == 1
    assert await deal_with_all(shop) == ["processed"]
    async with transaction(shop.db, payment.tenant_id) as conn:
        found = await store.refunds.find_refund(conn, payment.tenant_id, refund.id)
    assert found is not None
    assert found.status is ends
    assert (await reconcile(shop)).stored == 0


def later(minutes: float) -> datetime:
    return utc_now() + timedelta(minutes=minutes)


async def test_a_whole_return_at_pagbank_is_told_in_the_words_of_the_payment(shop: Shop) -> None:
    """At once it is taken for a redelivery, and found by a reconciliation; later it is another event."""
    payment = await shop.charge(Provider.PAGBANK)
    external_id = str(payment.external_id)
    shop.pagbank.pay(external_id)
    await shop.deliver_pagbank(external_id)
    shop.pagbank.refund(external_id)
    await shop.deliver_pagbank(external_id)
    assert (await payment_now(shop, payment)).status is P.REFUNDED
    shop.pagbank.fail_refund(external_id)
    await shop.deliver_pagbank(external_id)
    assert (await payment_now(shop, payment)).status is P.REFUNDED
    assert (await reconcile(shop)).stored == 1
    await deal_with_all(shop)
    assert (await payment_now(shop, payment)).status is P.PAID
    for minutes, change, status in (
        (11, shop.pagbank.refund, P.REFUNDED),
        (22, shop.pagbank.fail_refund, P.PAID),
    ):
        shop.clock = partial(later, minutes)
        change(external_id)
        event = await shop.deliver_pagbank(external_id)
        assert event.deliveries > 1
        assert (await payment_now(shop, payment)).status is status
    told = await shop.db.relay.fetchval(
        "SELECT count(*) FROM outbox WHERE type = 'billing.provider_event.received.v1' AND aggregate_id = $1", event.id
    )
    assert told == 2, "once for each time that it is news"


async def test_whose_money_went_back_is_asked_after_in_turn(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.usecases.find_missing_events._MAX_ASKED", 1)
    payments = [await shop.charge(Provider.PAGBANK) for _ in range(3)]
    for payment in payments:
        shop.pagbank.pay(str(payment.external_id))
        shop.pagbank.refund(str(payment.external_id))
        await shop.deliver_pagbank(str(payment.external_id))
    known = len(shop.pagbank.server.requests)
    for _ in payments:
        await reconcile(shop)
    asked = [request.path for request in shop.pagbank.server.requests[known:]]
    assert sorted(asked) == sorted(f"/orders/{payment.external_id}" for payment in payments)


async def test_a_lost_end_of_a_chargeback_is_found(shop: Shop) -> None:
    payment = await shop.charge(Provider.ASAAS)
    external_id = str(payment.external_id)
    shop.asaas.pay(external_id)
    shop.asaas.chargeback(external_id)
    await shop.deliver_asaas("PAYMENT_CHARGEBACK_REQUESTED", external_id)
    at_asaas = shop.asaas.world.payments[external_id]
    at_asaas["dateCreated"] = at_asaas["paymentDate"] = "2026-01-02"
    assert (await reconcile(shop)).stored == 0
    shop.asaas.end_dispute(external_id, won=True)
    assert (await reconcile(shop)).stored == 1
    await deal_with_all(shop)
    assert (await payment_now(shop, payment)).status is P.PAID


async def test_strangers_payments_are_not_stored(shop: Shop) -> None:
    payment = await shop.charge(Provider.ASAAS)
    shop.asaas.pay(str(payment.external_id))
    await shop.db.platform.execute("DELETE FROM provider_objects")
    counts = await reconcile(shop)
    assert (counts.listed > 0, counts.stored) == (True, 0)


async def test_money_under_review_is_not_found_again_and_again(shop: Shop) -> None:
    payment = await shop.charge(Provider.PAGBANK)
    shop.pagbank.pay(str(payment.external_id), amount_cents=100)
    assert (await reconcile(shop)).stored == 1
    assert await deal_with_all(shop) == ["review"]
    assert (await reconcile(shop)).stored == 0


async def test_a_charge_that_pagbank_does_not_know_keeps_nobody_waiting(shop: Shop) -> None:
    unknown, paid = await shop.charge(Provider.PAGBANK), await shop.charge(Provider.PAGBANK)
    del shop.pagbank.world.orders[str(unknown.external_id)]
    shop.pagbank.pay(str(paid.external_id))
    counts = await reconcile(shop)
    assert (counts.stored, counts.failed) == (1, 0)


async def a_tenants_account(shop: Shop, box: SecretBox, tenant: UUID, *, is_active: bool = True) -> ProviderAccount:
    now = shop.clock()
    account_id = new_id(now)
    key, _, _ = seal_account_secrets(
        box, account_id, tenant, api_key=shop.asaas.api_key, api_secret=None, webhook_secret=None
    )
    account = ProviderAccount(
        id=account_id,
        tenant_id=tenant,
        provider=Provider.ASAAS,
        environment=Environment.SANDBOX,
        api_key=key,
        api_key_hint="****",
        api_secret=None,
        webhook_secret=None,
        config={},
        is_active=is_active,
        created_by="test",
        updated_by="test",
        created_at=now,
        updated_at=now,
    )
    async with transaction(shop.db, tenant) as conn:
        await store.provider_accounts.upsert_account(conn, tenant, account)
    return account


async def test_a_tenants_own_account_is_reconciled_too(shop: Shop, box: SecretBox, tenant: UUID) -> None:
    account = await a_tenants_account(shop, box, tenant)
    payment = await shop.charge(Provider.ASAAS, tenant=tenant, account_id=account.id)
    shop.asaas.pay(str(payment.external_id))
    counts = await reconcile(shop)
    assert (counts.accounts, counts.failed, counts.stored) == (4, 0, 1)
    async with platform_transaction(shop.db) as conn:
        row = await conn.fetchrow("SELECT * FROM provider_events")
    assert row is not None
    assert (row["account_id"], row["tenant_id"]) == (account.id, tenant)
    await deal_with_all(shop)
    assert (await payment_now(shop, payment)).status is P.PAID


async def test_an_account_out_of_use_is_left_alone(shop: Shop, box: SecretBox, tenant: UUID) -> None:
    await a_tenants_account(shop, box, tenant, is_active=False)
    assert (await reconcile(shop)).accounts == 3


@pytest.mark.parametrize("fault", [Fault.FAIL_500, Fault.REFUSE_429, Fault.DROP_REPLY, Fault.GARBAGE])
async def test_an_account_that_cannot_be_asked_keeps_nobody_waiting(shop: Shop, fault: Fault) -> None:
    payment = await shop.charge(Provider.PAGBANK)
    shop.pagbank.pay(str(payment.external_id))
    shop.stripe.server.faults = [fault] * 20
    shop.asaas.server.faults = [fault] * 20
    counts = await reconcile(shop)
    assert (counts.accounts, counts.failed, counts.stored) == (3, 2, 1)


async def test_an_account_whose_key_is_refused_is_counted(shop: Shop) -> None:
    shop.stripe.front.api_key = "sk_test_rolled"
    assert (await reconcile(shop)).failed == 1


@pytest.mark.parametrize(
    ("url", "resumed"),
    [
        ("http://127.0.0.1:9/api/payment-gateway/webhooks/asaas", 1),
        ("http://127.0.0.1:9/webhooks/asaas", 1),
        ("http://127.0.0.1:9/somebody/elses/hook", 0),
    ],
)
async def test_a_paused_queue_at_asaas_goes_on(shop: Shop, url: str, resumed: int) -> None:
    webhook_id = shop.asaas.add_webhook(url, LOST_TOKEN)
    for _ in range(20):
        shop.asaas.send({"event": "PAYMENT_CREATED", "payment": {}})
    await shop.asaas.settle()
    assert shop.asaas.webhook(webhook_id)["interrupted"]
    shop.asaas.hold()
    assert (await reconcile(shop)).resumed == resumed
    assert shop.asaas.webhook(webhook_id)["interrupted"] is not bool(resumed)


async def test_stuck_events_are_told_again(shop: Shop) -> None:
    now = shop.clock()
    ages = {
        "stuck": ("received", now - timedelta(hours=1), 0),
        "failed": ("failed", now - timedelta(hours=1), 2),
        "hopeless": ("failed", now - timedelta(hours=1), 10),
        "fresh": ("received", now - timedelta(minutes=1), 0),
        "ancient": ("received", now - timedelta(days=60), 0),
        "done": ("processed", now - timedelta(hours=1), 1),
    }
    for name, (status, received_at, attempts) in ages.items():
        event_id = await shop.store_event(EventSource.STRIPE, Notice(event_id=name, type="x", kind="other"))
        async with platform_transaction(shop.db) as conn:
            await conn.execute(
                "UPDATE provider_events SET status = $2, received_at = $3, attempts = $4, reason = 'x' WHERE id = $1",
                event_id,
                status,
                received_at,
                attempts,
            )
    assert (await reconcile(shop)).retold == 2
    names = await told(shop)
    assert sorted(name for name in ages if names.count(name) == 2) == ["failed", "stuck"]


async def told(shop: Shop) -> list[str]:
    """The event ids of the provider events that were told of, as often as they were."""
    rows = await shop.db.relay.fetch(
        "SELECT convert_from(body, 'UTF8')::jsonb #>> '{data,provider_event_id}' AS id FROM outbox WHERE type = $1",
        "billing.provider_event.received.v1",
    )
    async with platform_transaction(shop.db) as conn:
        names = {
            str(row["id"]): row["event_id"] for row in await conn.fetch("SELECT id, event_id FROM provider_events")
        }
    return [names[row["id"]] for row in rows]
