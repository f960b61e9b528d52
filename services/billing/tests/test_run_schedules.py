"""The scheduler: each job in one process at a time, a dead one's taken over, a failing one no harm to the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from billing import store
from billing.domain.charging import ChargeOptions, NewCustomer
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.dunning import DunningPolicy
from billing.domain.identifiers import new_id
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import OrderStatus
from billing.domain.provider_accounts import AccountChange, Environment
from billing.domain.provider_events import EventSource, NewProviderEvent
from billing.domain.providers import Notice, PaymentStatus, Provider
from billing.domain.refunds import RefundStatus
from billing.usecases.announce_overdue_refunds import announce_overdue_refunds
from billing.usecases.announce_reviews import announce_reviews
from billing.usecases.close_open_calls import close_open_calls
from billing.usecases.plan_customer import plan_customer
from billing.usecases.poll_pending_payments import poll_pending_payments
from billing.usecases.reconcile_providers import reconcile_providers
from billing.usecases.refund_payment import refund_payment
from billing.usecases.request_refund import request_refund
from billing.usecases.run_each import run_each
from billing.usecases.run_schedules import Job, Schedule, _run_due, run_schedules
from billing.usecases.save_provider_account import save_provider_account
from billing.usecases.watch_stalls import watch_stalls
from chassis.clock import Clock, utc_now
from chassis.db import Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from contracts.audit import AuditActor, Doer
from testkit.fake_http import Fault
from testkit.service import until

from .records import a_refund
from .shop import Shop, a_shop
from .test_renewals import after, owed, own_cycle, renew
from .test_run_dunning import outbox

SCHEDULE = Schedule(
    every_s=0.05,
    reconcile_every_s=3600,
    trial_notice_days=3,
    refund_alert_days=5,
    dunning=DunningPolicy(),
    charges=ChargeOptions("https://shop.example", nexus_events=False),
    admin_email=None,
)


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


async def claim(db: Database, lease_s: float = 60) -> int | None:
    async with platform_transaction(db) as conn:
        return await store.schedules.claim_run(conn, "job", lease_s=lease_s)


async def mark(db: Database, fence: int, next_in_s: float = 60) -> bool:
    async with platform_transaction(db) as conn:
        return await store.schedules.mark_run(conn, "job", fence, next_in_s=next_in_s, result={"done": 1})


async def test_one_of_several_runs_a_job(db: Database) -> None:
    fences = await asyncio.gather(*(claim(db) for _ in range(6)))
    [fence] = [fence for fence in fences if fence is not None]
    assert await mark(db, fence)
    assert await claim(db) is None  # not due
    async with platform_transaction(db) as conn:
        found = await store.schedules.find_last_result(conn, "job")
    assert found is not None
    assert found[1] == {"done": 1}


async def test_a_dead_ones_job_is_taken_over_and_it_may_not_end_it_any_more(db: Database) -> None:
    dead = await claim(db, lease_s=0.05)
    assert dead is not None
    await asyncio.sleep(0.1)
    taken = await claim(db)
    assert taken == dead + 1
    assert not await mark(db, dead)
    assert await mark(db, taken, next_in_s=0)
    assert await claim(db) == taken + 1


async def test_a_job_that_takes_long_is_ones_own_while_one_lives(db: Database) -> None:
    """It takes three leases; another scheduler asks for it all the while."""
    runs = 0

    async def run() -> dict[str, int]:
        nonlocal runs
        runs += 1
        await asyncio.sleep(1.5)
        return {}

    job = Job(name="job", every_s=60, run=run, lease_s=0.5)
    stopping = asyncio.Event()
    first = asyncio.create_task(_run_due(db, [job], stopping))
    await until(lambda: runs)
    while not first.done():
        await _run_due(db, [job], stopping)
        await asyncio.sleep(0.05)
    assert runs == 1


async def test_two_schedulers_do_everything_once(shop: Shop, box: SecretBox) -> None:
    """A period to renew, an order past its time, a payment whose hint was lost, a notice due: each once."""
    renewed = await own_cycle(shop, box, Provider.PAGBANK)
    late = await own_cycle(
        shop, box, Provider.ASAAS, external_id="sub_1", status="past_due", past_due_since=utc_now(),
        next_dunning_at=utc_now(), renews_at=None,
    )  # fmt: skip
    order = await shop.sell(expires_at=utc_now() - timedelta(minutes=1))
    payment = await shop.charge(Provider.ASAAS)
    assert payment.external_id is not None
    shop.asaas.pay(payment.external_id)
    async with transaction(shop.db, payment.tenant_id) as conn:
        await store.payments.touch_payment(conn, payment.tenant_id, payment.id, utc_now() - timedelta(hours=1))
    stopping = asyncio.Event()
    running = [
        asyncio.create_task(
            run_schedules(shop.db, shop.accounts, SCHEDULE, box=box, n8n=None, clock=utc_now, stopping=stopping)
        )
        for _ in range(2)
    ]

    async def is_done() -> bool:
        async with transaction(shop.db, payment.tenant_id) as conn:
            paid = await store.payments.get_payment(conn, payment.tenant_id, payment.id)
        invoices, _ = await owed(shop, renewed)
        notices = [one for one in await outbox(shop.db, "mail_queue") if one["template"] == "payment_failed"]
        ended = (await shop.rows(order)).order
        return (
            paid.status is PaymentStatus.PAID
            and len(invoices) == 1
            and len(notices) == 1
            and ended.status is OrderStatus.CANCELLED
        )

    await until(is_done)
    await asyncio.sleep(0.5)
    stopping.set()
    await asyncio.gather(*running)
    assert await is_done()
    [invoice], [asked] = await owed(shop, renewed)
    assert invoice.status is InvoiceStatus.PENDING
    assert shop.pagbank.effects["order"] == {str(asked.id): 1}
    assert (await shop.told_types(order)).count("order.failed") == 1
    assert late.id != renewed.id
    received = await shop.db.relay.fetch("SELECT 1 FROM outbox WHERE type = 'billing.payment.received.v1'")
    assert len(received) == 1
    async with platform_transaction(shop.db) as conn:
        names = {row["name"] for row in await conn.fetch("SELECT name FROM schedules")}
    assert names == {
        *("pending_payments", "order_expiry", "renewals", "dunning", "trial_ends", "open_calls", "stalls", "reviews"),
        *("overdue_refunds", "reconcile"),
    }


async def test_a_job_that_fails_has_its_next_turn(shop: Shop, box: SecretBox, monkeypatch: Any) -> None:
    tries = 0

    async def broken(*_: Any, **__: Any) -> dict[str, int]:
        nonlocal tries
        tries += 1
        raise RuntimeError("broken")

    monkeypatch.setattr("billing.usecases.run_schedules.run_dunning", broken)
    stopping = asyncio.Event()
    task = asyncio.create_task(
        run_schedules(shop.db, shop.accounts, SCHEDULE, box=box, n8n=None, clock=utc_now, stopping=stopping)
    )
    await until(lambda: tries >= 2)
    stopping.set()
    await task
    async with platform_transaction(shop.db) as conn:
        result = await store.schedules.find_last_result(conn, "dunning")
        others = await store.schedules.find_last_result(conn, "trial_ends")
    assert result is not None
    assert others is not None
    assert (result[1], others[1]) == ({"failed": 1}, {"seen": 0, "done": 0, "failed": 0})


async def test_it_waits_for_a_database_that_is_away(shop: Shop, box: SecretBox) -> None:
    stopping = asyncio.Event()
    gone = Database("postgresql://127.0.0.1:1/none", "billing", shop.db._secret)
    task = asyncio.create_task(
        run_schedules(gone, shop.accounts, SCHEDULE, box=box, n8n=None, clock=utc_now, stopping=stopping)
    )
    await asyncio.sleep(0.3)
    assert not task.done()
    stopping.set()
    await task


async def test_a_row_that_fails_keeps_no_other_waiting() -> None:
    async def act(row: int) -> bool:
        if row == 2:
            raise ValueError(row)
        return row > 2

    assert await run_each("job", [1, 2, 3], act) == {"seen": 3, "done": 1, "failed": 1}


def close(shop: Shop, box: SecretBox, clock: Clock) -> Awaitable[dict[str, int]]:
    return close_open_calls(shop.db, shop.accounts, box=box, nexus_events=False, clock=clock)


async def calls(db: Database) -> list[dict[str, Any]]:
    async with platform_transaction(db) as conn:
        return [dict(row) for row in await conn.fetch("SELECT * FROM provider_calls ORDER BY created_at")]


async def test_what_a_crash_left_unasked_is_asked(shop: Shop, box: SecretBox, monkeypatch: Any) -> None:
    """The process died after the commit, before the provider heard anything."""
    monkeypatch.setattr("billing.usecases.renew_subscriptions.request_charge", _dies)
    row = await own_cycle(shop, box, Provider.PAGBANK)
    with pytest.raises(asyncio.CancelledError):
        await renew(shop, box)
    assert (await close(shop, box, after(minutes=4)))["seen"] == 0
    assert (await close(shop, box, after(minutes=6)))["done"] == 1
    _, [payment] = await owed(shop, row)
    assert shop.pagbank.effects["order"] == {str(payment.id): 1}


@pytest.mark.parametrize(
    ("provider", "patience"), [(Provider.STRIPE, timedelta(hours=23)), (Provider.ASAAS, timedelta(days=3))]
)
async def test_what_is_never_answered_is_given_up(
    shop: Shop, box: SecretBox, provider: Provider, patience: timedelta
) -> None:
    row = await own_cycle(shop, box, provider)
    server = shop.stripe.server if provider is Provider.STRIPE else shop.asaas.server
    server.faults = [Fault.FAIL_500] * 100
    await renew(shop, box)
    for hours in (1, 2, 12):
        await close(shop, box, after(hours=hours))
    [call] = await calls(shop.db)
    assert call["status"] in ("planned", "unknown")
    await close(shop, box, lambda: utc_now() + patience + timedelta(minutes=1))
    [call] = await calls(shop.db)
    assert (call["status"], call["error"]) == ("refused", "given up")
    [invoice], [payment] = await owed(shop, row)
    assert payment.status is PaymentStatus.CANCELLED
    assert payment.failure_reason is not None
    assert "has not said" in payment.failure_reason
    assert invoice.status is InvoiceStatus.PENDING


async def test_a_customer_whose_answer_was_lost_is_linked(shop: Shop, box: SecretBox) -> None:
    tenant, now = uuid4(), utc_now()
    async with transaction(shop.db, tenant) as conn:
        change = AccountChange(
            provider=Provider.ASAAS,
            environment=Environment.SANDBOX,
            api_key=shop.asaas.api_key,
            webhook_secret="w" * 32,
        )
        account = await save_provider_account(
            conn, tenant, change, box=box, platform_tokens=(), by=Doer(actor=AuditActor(type="user", id="u")), now=now
        )
        planned = await plan_customer(
            conn,
            tenant,
            account,
            NewCustomer(name="Ana", email="ana@example.com", tax_id="52998224725"),
            box=box,
            now=now,
        )
    assert (await close(shop, box, after(minutes=6)))["done"] == 1
    async with transaction(shop.db, tenant) as conn:
        external_id = await store.customers.find_external_id(conn, tenant, planned.customer_id, "asaas", account.id)
    [made] = shop.asaas.world.customers.values()
    assert (made["id"], made["cpfCnpj"]) == (external_id, "52998224725")
    [call] = await calls(shop.db)
    assert "52998224725" not in str(call)


async def test_a_refund_that_a_crash_left_unasked_is_asked_for_once(shop: Shop, box: SecretBox) -> None:
    payment = await shop.charge(Provider.ASAAS)
    assert payment.external_id is not None
    shop.asaas.pay(payment.external_id)
    await poll_pending_payments(shop.db, shop.accounts, clock=after(minutes=4))
    async with transaction(shop.db, payment.tenant_id) as conn:
        refund = await request_refund(
            conn, payment.tenant_id, payment.id, amount_cents=None, reason=None, is_keyed=True,
            may_refund_sales=True, by=Doer(actor=AuditActor(type="user", id="u")), now=utc_now(),
        )  # fmt: skip
    assert (await close(shop, box, after(minutes=4)))["seen"] == 0
    shop.asaas.server.faults = [Fault.FAIL_500] * 3
    assert (await close(shop, box, after(minutes=6)))["failed"] == 1
    shop.asaas.server.faults = []
    counts = await asyncio.gather(*(close(shop, box, after(minutes=8)) for _ in range(2)))
    assert sum(count["failed"] for count in counts) == 0
    async with transaction(shop.db, payment.tenant_id) as conn:
        [done] = await store.refunds.list_refunds(conn, payment.tenant_id, payment.id)
    assert (done.id, done.status.value) == (refund.id, "done")
    [made] = shop.asaas.payment(payment.external_id)["refunds"]
    assert made["value"] == 247
    assert (await close(shop, box, after(days=1)))["seen"] == 0


async def stuck_event(db: Database, received_at: datetime) -> UUID:
    event = NewProviderEvent(
        id=new_id(received_at),
        provider=EventSource.ASAAS,
        account_id=PLATFORM_ACCOUNT,
        notice=Notice(event_id=uuid4().hex, type="PAYMENT_RECEIVED", kind="payment", object_external_id="pay_1"),
        payload=b"{}",
    )
    async with platform_transaction(db) as conn:
        await store.provider_events.insert_events(conn, [event], received_at)
    return event.id


async def test_the_administrator_is_told_of_stalls_once_an_hour(db: Database) -> None:
    start = datetime(2026, 5, 4, 12, 10, tzinfo=UTC)

    def watch(minutes: float, email: str | None = "ops@example.com") -> Awaitable[dict[str, int]]:
        return watch_stalls(db, admin_email=email, clock=lambda: start + timedelta(minutes=minutes))

    event_id = await stuck_event(db, start)
    assert await watch(4) == {"stuck": 0, "mailed": 0}
    assert await watch(6, None) == {"stuck": 1, "mailed": 0}
    counts = await asyncio.gather(*(watch(6) for _ in range(3)))
    assert sum(count["mailed"] for count in counts) == 1
    assert (await watch(40))["mailed"] == 0
    assert (await watch(60))["mailed"] == 1
    mails = await outbox(db, "mail_queue")
    assert {(mail["template"], mail["to"]["email"]) for mail in mails} == {("billing_stalled", "ops@example.com")}
    assert mails[0]["variables"] == {"count": 1, "oldest_minutes": 6, "provider": "asaas", "reason": ""}
    async with platform_transaction(db) as conn:
        await store.provider_events.mark_event(
            conn, event_id, status="processed", reason=None, tenant_id=None, now=start
        )
    assert await watch(200) == {"stuck": 0, "mailed": 0}


async def test_the_administrator_is_told_of_each_matter_under_review_once(shop: Shop) -> None:
    """Of what a webhook brought, and of what was found by asking: whoever paid waits for somebody to look."""

    def announce(email: str | None = "ops@example.com") -> Awaitable[dict[str, int]]:
        return announce_reviews(shop.db, admin_email=email, clock=utc_now)

    told, polled = await shop.charge(Provider.PAGBANK), await shop.charge(Provider.PAGBANK)
    assert await announce() == {"review": 0, "told": 0}
    shop.pagbank.pay(str(told.external_id), amount_cents=1)
    assert (await shop.deliver_pagbank(str(told.external_id))).status == "review"
    assert await announce(None) == {"review": 1, "told": 0}
    counts = await asyncio.gather(*(announce() for _ in range(3)))
    assert sum(count["told"] for count in counts) == 1
    shop.pagbank.pay(str(polled.external_id), amount_cents=2)
    await poll_pending_payments(shop.db, shop.accounts, clock=after(hours=1))
    assert await announce() == {"review": 2, "told": 1}
    assert await announce() == {"review": 2, "told": 0}
    mails = [mail for mail in await outbox(shop.db, "mail_queue") if mail["template"] == "admin_alert"]
    assert [mail["to"]["email"] for mail in mails] == ["ops@example.com"] * 2
    assert {mail["variables"]["title"] for mail in mails} == {"Pagamentos em revisão: 1"}
    first, second = (mail["variables"]["message"] for mail in mails)
    assert "/billing/events/" in first
    assert f"(pagbank, tenant {told.tenant_id}): 1 came in where 24700 was asked for" in first
    assert f"/payments/{polled.id} (pagbank, tenant {polled.tenant_id}): 2 came in where 24700" in second
    assert len({mail["idempotency_key"] for mail in mails}) == 2


async def test_a_refund_that_never_ends_is_told_once_and_asked_after_all_the_same(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    [external_id] = [one["id"] for one in shop.asaas.world.payments.values()]
    shop.asaas.pay(external_id)
    await shop.deliver_asaas("PAYMENT_RECEIVED", external_id)
    [payment] = (await shop.rows(order)).payments
    shop.asaas.world.refunds_wait = True
    by = Doer(actor=AuditActor(type="user", id="u"))
    async with transaction(shop.db, order.tenant_id) as conn:
        refund = await request_refund(
            conn, order.tenant_id, payment.id, amount_cents=700, reason=None, is_keyed=True, may_refund_sales=True,
            by=by, now=utc_now(),
        )  # fmt: skip
    await refund_payment(shop.db, order.tenant_id, refund.id, accounts=shop.accounts, clock=utc_now)

    def announce(days: float, email: str | None = "ops@example.com") -> Awaitable[dict[str, int]]:
        return announce_overdue_refunds(shop.db, alert_days=5, admin_email=email, clock=after(days=days))

    async def stands() -> tuple[str, bool]:
        async with transaction(shop.db, order.tenant_id) as conn:
            [row] = await store.refunds.list_refunds(conn, order.tenant_id, payment.id)
        return row.status.value, row.overdue_at is not None

    assert await announce(4.9) == {"overdue": 0}
    assert await stands() == ("pending", False)
    counts = await asyncio.gather(*(announce(5.1) for _ in range(3)))
    assert sorted(count["overdue"] for count in counts) == [0, 0, 1]
    assert await announce(90) == {"overdue": 0}
    assert await stands() == ("pending", True)
    assert (await shop.timeline(order)).count("refund_overdue") == 1
    [mail] = [mail for mail in await outbox(shop.db, "mail_queue") if mail["template"] == "admin_alert"]
    assert (mail["to"]["email"], mail["variables"]["title"]) == ("ops@example.com", "Reembolsos sem resposta: 1")
    for part in (str(payment.id), str(order.tenant_id), "asaas", "700 centavos BRL"):
        assert part in mail["variables"]["message"]
    shop.asaas.finish_refunds(external_id)
    await reconcile_providers(shop.db, shop.accounts, clock=utc_now)
    async with platform_transaction(shop.db) as conn:
        found = [row["id"] for row in await conn.fetch("SELECT id FROM provider_events WHERE status = 'received'")]
    for event_id in found:
        await shop.deal_with(event_id)
    assert await stands() == ("done", True)


async def test_a_refund_that_pagbank_never_executes_is_told_of_and_is_done_when_it_is(shop: Shop) -> None:
    """Also the second of two of the same amount: what went back by the first is not taken for it."""
    payment = await shop.charge(Provider.PAGBANK)
    tenant, external_id = payment.tenant_id, str(payment.external_id)
    shop.pagbank.pay(external_id)
    await shop.deliver_pagbank(external_id)

    async def refund() -> str:
        async with transaction(shop.db, tenant) as conn:
            made = await request_refund(
                conn, tenant, payment.id, amount_cents=700, reason=None, is_keyed=True, may_refund_sales=True,
                by=Doer(actor=AuditActor(type="user", id="u")), now=utc_now(),
            )  # fmt: skip
        done = await refund_payment(shop.db, tenant, made.id, accounts=shop.accounts, clock=utc_now)
        return done.refund.status.value

    assert await refund() == "done"
    shop.pagbank.world.refunds_wait = True
    assert await refund() == "pending"
    found = await announce_overdue_refunds(shop.db, alert_days=5, admin_email="a@example.com", clock=after(days=6))
    assert found == {"overdue": 1}
    shop.pagbank.finish_refunds(external_id)
    await shop.deliver_pagbank(external_id)
    async with transaction(shop.db, tenant) as conn:
        rows = await store.refunds.list_refunds(conn, tenant, payment.id)
    assert [row.status.value for row in rows] == ["done", "done"]
    assert shop.pagbank.effects["refund"].total() == 2


@pytest.mark.parametrize(
    ("status", "is_told"), [("requested", True), ("pending", True), ("done", False), ("failed", False)]
)
async def test_only_a_refund_that_has_not_ended_is_told_of(shop: Shop, status: str, is_told: bool) -> None:
    payment = await shop.charge(Provider.PAGBANK)
    async with transaction(shop.db, payment.tenant_id) as conn:
        await a_refund(conn, payment, status=RefundStatus(status), now=utc_now())
    found = await announce_overdue_refunds(shop.db, alert_days=1, admin_email=None, clock=after(days=2))
    assert found == {"overdue": int(is_told)}
    assert await outbox(shop.db, "mail_queue") == []


async def test_a_mail_of_many_matters_names_the_first_and_counts_the_rest(shop: Shop) -> None:
    payment = await shop.charge(Provider.PAGBANK)
    async with transaction(shop.db, payment.tenant_id) as conn:
        for _ in range(23):
            await a_refund(conn, payment, status=RefundStatus.PENDING, amount_cents=1, now=utc_now())
    await announce_overdue_refunds(shop.db, alert_days=1, admin_email="ops@example.com", clock=after(days=2))
    [mail] = await outbox(shop.db, "mail_queue")
    assert mail["variables"]["title"] == "Reembolsos sem resposta: 23"
    assert mail["variables"]["message"].count(str(payment.id)) == 20
    assert mail["variables"]["message"].endswith("; e mais 3.")


async def test_a_payment_restored_at_asaas_after_its_invoice_was_voided_is_told_of_and_goes_back(
    start: Any, shop: Shop
) -> None:
    """The payer pays what nobody owes: the administrator hears of it, and gives it back over the API."""
    billing = await start(
        ROLE="api",
        ASAAS_API_KEY=shop.asaas.api_key,
        ASAAS_WEBHOOK_TOKEN="asaas-token-of-the-tests-that-is-long",
        ASAAS_API_BASE=shop.asaas.url,
    )
    shop.db = billing.db
    payment = await shop.charge(Provider.ASAAS)
    tenant, external_id = payment.tenant_id, str(payment.external_id)
    void = await billing.call("POST", f"/invoices/{payment.invoice_id}/void", tenant, kind="platform_admin")
    assert (void.status_code, void.json()["status"]) == (200, "void"), void.text
    shop.asaas.restore(external_id)
    assert (await shop.deliver_asaas("PAYMENT_RESTORED", external_id)).status == "processed"
    shop.asaas.pay(external_id)
    assert (await shop.deliver_asaas("PAYMENT_RECEIVED", external_id)).status == "review"
    await announce_reviews(shop.db, admin_email="ops@example.com", clock=utc_now)
    [mail] = await outbox(shop.db, "mail_queue")
    message = mail["variables"]["message"]
    assert f"tenant {tenant}): the invoice had been voided" in message
    [path] = [word for word in message.split() if word.startswith("/billing/events/")]
    event = (await billing.call("GET", path, None, kind="platform_admin")).json()
    assert (event["tenant_id"], event["object_external_id"]) == (str(tenant), external_id)
    [shown] = (await billing.call("GET", "/payments", tenant)).json()["data"]
    assert (shown["id"], shown["review_reason"]) == (str(payment.id), "the invoice had been voided")
    given = await billing.call("POST", f"/payments/{payment.id}/refund", tenant, kind="platform_admin", json={})
    assert (given.status_code, given.json()["status"], given.json()["amount_cents"]) == (201, "done", 24700), given.text
    assert shop.asaas.payment(external_id)["status"] == "REFUNDED"
    assert await billing.told("billing.payment.received.v1") == [], "it never was anybody's revenue"


async def _dies(*_: Any, **__: Any) -> None:
    raise asyncio.CancelledError
