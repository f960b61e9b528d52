"""The one way in which money is taken in: once, of the right amount, for what is owed; all else is for a person."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from billing import store
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order, OrderStatus
from billing.domain.payments import Payment
from billing.domain.providers import Method, PaymentState, RefundState, SubscriptionState
from billing.domain.providers import PaymentStatus as P
from billing.domain.refunds import RefundStatus
from billing.domain.subscriptions import SubscriptionStatus
from billing.usecases.fulfil_order import fulfil_order
from billing.usecases.receive_payment import receive_payment
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.db import Connection, Database, transaction
from contracts.errors import NotFound

from .patience import again_while_busy
from .records import a_payment, a_refund, a_subscription, an_invoice, an_order

NOW = datetime.fromisoformat("2026-05-04T12:00:00+00:00")
RUNNING = SubscriptionState(
    external_id="sub_1",
    status="active",
    amount_cents=24700,
    currency="BRL",
    current_period_start=NOW,
    current_period_end=NOW + timedelta(days=31),
)


def state(payment: Payment, status: P = P.PAID, **fields: Any) -> PaymentState:
    """What the payment's provider says of it."""
    return msgspec.structs.replace(
        PaymentState(
            external_id=payment.external_id or "pi_1",
            status=status,
            amount_cents=payment.amount_cents,
            currency=payment.currency,
            method=Method.CARD,
        ),
        **fields,
    )


class Desk:
    """A pending payment of a tenant, and what is said of it."""

    def __init__(self, db: Database, tenant: UUID, payment: Payment, invoice: Invoice, order: Order | None) -> None:
        self.db, self.tenant = db, tenant
        self.payment, self.invoice, self.order = payment, invoice, order

    async def receive(
        self, status: P = P.PAID, *, after_s: float = 0, payment: Payment | None = None,
        subscription_seen: SubscriptionState | None = None, **fields: Any,
    ) -> Payment:  # fmt: skip
        at = NOW + timedelta(seconds=after_s)
        subject = payment or self.payment
        async with transaction(self.db, self.tenant) as conn:
            return await receive_payment(
                conn, self.tenant, subject.id, state(subject, status, **fields), subscription_seen=subscription_seen,
                asked_at=at, now=at,
            )  # fmt: skip

    async def invoice_now(self) -> Invoice:
        async with transaction(self.db, self.tenant) as conn:
            return await store.invoices.get_invoice(conn, self.tenant, self.invoice.id)

    async def order_now(self) -> Order:
        assert self.order is not None
        async with transaction(self.db, self.tenant) as conn:
            return await store.orders.get_order(conn, self.tenant, self.order.id)

    async def told(self) -> list[str]:
        rows = await self.db.relay.fetch(
            "SELECT type FROM outbox WHERE tenant_id = $1 AND type LIKE 'billing.%' ORDER BY created_at, id",
            self.tenant,
        )
        return [row["type"].removeprefix("billing.").removesuffix(".v1") for row in rows][1:]  # less invoice.issued

    async def mails(self) -> int:
        return int(await self.db.relay.fetchval("SELECT count(*) FROM outbox WHERE routing_key = 'mail_queue'"))


async def a_desk(db: Database, tenant: UUID, *, with_order: bool = True, **payment: Any) -> Desk:
    async with transaction(db, tenant) as conn:
        order = await an_order(conn, tenant) if with_order else None
        invoice = await (an_invoice(conn, tenant, order=order) if order else an_invoice(conn, tenant))
        fields = {"status": P.PENDING, "paid_at": None} | payment
        return Desk(db, tenant, await a_payment(conn, tenant, invoice, **fields), invoice, order)


PURCHASE = [
    "subscription.created", "subscription.activated", "order.paid", "invoice.paid", "payment.received",
]  # fmt: skip


async def test_money_settles_the_invoice_and_fulfils_the_order_once(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    first = await desk.receive(subscription_seen=RUNNING)
    assert (first.status, first.paid_at, first.version) == (P.PAID, NOW, 2)
    assert await desk.told() == PURCHASE
    for after_s in (0, 5):
        again = await desk.receive(after_s=after_s, subscription_seen=RUNNING)
        assert msgspec.structs.replace(again, observed_at=None) == msgspec.structs.replace(first, observed_at=None)
    assert await desk.told() == PURCHASE
    assert await desk.mails() == 1
    assert (await desk.invoice_now()).status is InvoiceStatus.PAID
    assert (await desk.order_now()).status is OrderStatus.PAID


async def test_a_charge_without_an_order_settles_its_invoice(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant, with_order=False, method=Method.PIX)
    await desk.receive(method=Method.PIX, end_to_end_id="E1")
    assert await desk.told() == ["invoice.paid", "payment.received", "pix.received"]
    assert (await desk.invoice_now()).status is InvoiceStatus.PAID


async def test_another_tenants_payment_is_not_found(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    stranger = uuid4()
    async with transaction(db, stranger) as conn:
        with pytest.raises(NotFound):
            await receive_payment(conn, stranger, desk.payment.id, state(desk.payment), asked_at=NOW, now=NOW)
    assert await desk.told() == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"amount_cents": 24699}, "24699 came in where 24700 was asked for"),
        ({"amount_cents": 24701}, "24701 came in where 24700 was asked for"),
        ({"amount_cents": 1}, "1 came in where 24700 was asked for"),
        ({"currency": "USD"}, "USD came in where BRL was asked for"),
    ],
)
async def test_other_money_settles_nothing(db: Database, tenant: UUID, fields: dict[str, Any], words: str) -> None:
    desk = await a_desk(db, tenant)
    for after_s in range(3):
        kept = await desk.receive(after_s=after_s, **fields)
        assert (kept.status, kept.review_reason, kept.version) == (P.PENDING, words, 2)
    assert await desk.told() == []
    assert (await desk.invoice_now()).status is InvoiceStatus.PENDING
    assert (await desk.order_now()).status is OrderStatus.PENDING
    async with transaction(db, tenant) as conn:
        entries = await store.orders.list_entries(conn, tenant, desk.payment.order_id or uuid4())
    assert [one.kind for one in entries] == ["payment_under_review"]


async def test_money_for_a_void_invoice_is_for_a_person(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    async with transaction(db, tenant) as conn:
        await withdraw_invoice(conn, await store.invoices.lock_invoice(conn, tenant, desk.invoice.id), now=NOW)
    kept = await desk.receive()
    assert kept.review_reason == "the invoice had been voided"
    assert (await desk.invoice_now()).status is InvoiceStatus.VOID
    assert await desk.told() == ["invoice.voided"]


async def test_a_second_payment_of_an_invoice_is_for_a_person(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    async with transaction(db, tenant) as conn:
        second = await a_payment(conn, tenant, desk.invoice, status=P.PENDING, paid_at=None)
    await desk.receive()
    kept = await desk.receive(payment=second)
    assert kept.review_reason == "the invoice was paid by another payment"
    assert (await desk.told()).count("payment.received") == 1


@pytest.mark.parametrize("name", ["end_to_end_id", "external_id"])
async def test_one_transfer_is_credited_once(db: Database, tenant: UUID, name: str) -> None:
    desk = await a_desk(db, tenant, with_order=False, external_id=None)
    other = await a_desk(db, uuid4(), with_order=False, external_id=None)
    first: dict[str, Any] = {"external_id": "pi_first"} | {name: "one-and-the-same"}
    second: dict[str, Any] = {"external_id": "pi_second"} | {name: "one-and-the-same"}
    await desk.receive(**first)
    kept = await other.receive(**second)
    assert kept.review_reason == "its transfer was credited to another payment"
    assert (await other.invoice_now()).status is InvoiceStatus.PENDING
    assert await other.told() == []


@pytest.mark.parametrize("with_order", [True, False])
async def test_a_failed_try_is_told_once_and_may_be_made_good(db: Database, tenant: UUID, with_order: bool) -> None:
    desk = await a_desk(db, tenant, with_order=with_order)
    for after_s in range(2):
        failed = await desk.receive(P.FAILED, after_s=after_s, failure_reason="card_declined")
        assert (failed.status, failed.failure_reason) == (P.FAILED, "card_declined")
    owed = await desk.invoice_now()
    assert (owed.status, owed.attempts, owed.last_failure) == (InvoiceStatus.PENDING, 1, "card_declined")
    assert await desk.told() == ["invoice.payment_failed", *(["order.failed"] if with_order else [])]
    await desk.receive(after_s=3)
    assert (await desk.invoice_now()).status is InvoiceStatus.PAID
    if with_order:
        assert (await desk.order_now()).status is OrderStatus.PAID


async def test_a_payment_that_was_given_up_may_come_after_all(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    assert (await desk.receive(P.CANCELLED)).status is P.CANCELLED
    assert await desk.told() == []
    assert (await desk.receive(after_s=1)).status is P.PAID
    assert await desk.told() == PURCHASE


async def test_old_news_changes_nothing(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    paid = await desk.receive(after_s=10)
    for status in P:
        assert await desk.receive(status, after_s=9, refunded_cents=24700) == paid
    assert await desk.told() == PURCHASE


@pytest.mark.parametrize("status", [P.PENDING, P.FAILED, P.CANCELLED])
async def test_nothing_unpays_what_was_paid(db: Database, tenant: UUID, status: P) -> None:
    desk = await a_desk(db, tenant)
    await desk.receive()
    assert (await desk.receive(status, after_s=1)).status is P.PAID
    assert await desk.told() == PURCHASE
    assert (await desk.invoice_now()).status is InvoiceStatus.PAID


async def test_part_and_then_all_goes_back(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    await desk.receive()
    for after_s in (1, 2):
        await desk.receive(P.PARTIALLY_REFUNDED, after_s=after_s, refunded_cents=700)
    invoice = await desk.invoice_now()
    assert (invoice.status, invoice.refunded_cents) == (InvoiceStatus.PAID, 700)
    assert (await desk.order_now()).status is OrderStatus.PAID
    for after_s in (3, 4):
        await desk.receive(P.REFUNDED, after_s=after_s, refunded_cents=24700)
    assert (await desk.invoice_now()).status is InvoiceStatus.REFUNDED
    assert (await desk.order_now()).status is OrderStatus.REFUNDED
    assert (await desk.told())[len(PURCHASE) :] == ["payment.refunded", "order.refunded", "payment.refunded"]


async def test_a_refund_may_be_the_first_that_is_heard(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    await desk.receive(P.REFUNDED, refunded_cents=24700)
    assert (await desk.invoice_now()).status is InvoiceStatus.REFUNDED
    assert (await desk.order_now()).status is OrderStatus.REFUNDED
    told = await desk.told()
    assert sorted(told) == sorted([*PURCHASE, "payment.refunded", "order.refunded"])


async def test_a_refund_that_is_returned_leaves_order_and_invoice_paid(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    await desk.receive()
    async with transaction(db, tenant) as conn:
        refund = await a_refund(conn, desk.payment, status=RefundStatus.DONE)
    await desk.receive(P.REFUNDED, after_s=1, refunded_cents=24700)
    for after_s in (2, 3):
        back = await desk.receive(after_s=after_s)
        assert (back.status, back.refunded_cents) == (P.PAID, 0)
    invoice, order = await desk.invoice_now(), await desk.order_now()
    assert (invoice.status, invoice.refunded_cents, order.status) == (InvoiceStatus.PAID, 0, OrderStatus.PAID)
    told = (await desk.told())[len(PURCHASE) :]
    assert told == ["order.refunded", "payment.refunded", "audit.recorded", "payment.refund_failed"]
    async with transaction(db, tenant) as conn:
        [failed] = await store.refunds.list_refunds(conn, tenant, desk.payment.id)
        timeline = [entry.kind for entry in await store.orders.list_entries(conn, tenant, order.id)]
    assert (failed.id, failed.status) == (refund.id, RefundStatus.FAILED)
    assert timeline[-3:] == ["refunded", "refund_failed", "refund_returned"]
    gone = await desk.receive(P.REFUNDED, after_s=4, refunded_cents=24700)
    assert (gone.status, (await desk.order_now()).status) == (P.REFUNDED, OrderStatus.REFUNDED), "and goes back again"


async def test_an_answer_from_before_the_refund_does_not_undo_it(db: Database, tenant: UUID) -> None:
    """Two ask at once: who asked last may have been answered first, and be heard after the refund is known."""
    desk = await a_desk(db, tenant)
    await desk.receive()
    async with transaction(db, tenant) as conn:
        seen = state(desk.payment, P.REFUNDED, refunded_cents=24700)
        await receive_payment(
            conn, tenant, desk.payment.id, seen, asked_at=NOW + timedelta(seconds=1), now=NOW + timedelta(seconds=3)
        )
    await desk.receive(after_s=2)
    assert (await desk.order_now()).status is OrderStatus.REFUNDED
    assert "payment.refund_failed" not in await desk.told()


@pytest.mark.parametrize("is_listed", [True, False])
async def test_refunds_of_money_under_review_come_to_their_end(db: Database, tenant: UUID, is_listed: bool) -> None:
    desk = await a_desk(db, tenant)
    async with transaction(db, tenant) as conn:
        second = await a_payment(conn, tenant, desk.invoice, status=P.PENDING, paid_at=None)
        refund = await a_refund(conn, second, status=RefundStatus.PENDING, external_id="re_1")
    await desk.receive()
    await desk.receive(payment=second)
    listed = (RefundState(external_id="re_1", status="done", amount_cents=24700),) if is_listed else ()
    await desk.receive(P.REFUNDED, after_s=1, payment=second, refunded_cents=24700, refunds=listed)
    async with transaction(db, tenant) as conn:
        found = await store.refunds.find_refund(conn, tenant, refund.id)
    assert found is not None
    assert found.status is RefundStatus.DONE


async def test_what_goes_back_of_money_under_review_touches_no_invoice(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    async with transaction(db, tenant) as conn:
        second = await a_payment(conn, tenant, desk.invoice, status=P.PENDING, paid_at=None)
    await desk.receive()
    await desk.receive(payment=second)
    await desk.receive(P.REFUNDED, after_s=1, payment=second, refunded_cents=24700)
    assert (await desk.invoice_now()).refunded_cents == 0
    assert (await desk.order_now()).status is OrderStatus.PAID
    assert await desk.told() == PURCHASE


@pytest.mark.parametrize(("end", "outcome"), [(P.PAID, "won"), (P.CHARGED_BACK, "lost")])
async def test_a_dispute_is_told_with_its_end(db: Database, tenant: UUID, end: P, outcome: str) -> None:
    desk = await a_desk(db, tenant)
    await desk.receive()
    for after_s in (1, 2):
        await desk.receive(P.DISPUTED, after_s=after_s)
    for after_s in (3, 4):
        assert (await desk.receive(end, after_s=after_s)).status is end
    rows = await db.relay.fetch(
        "SELECT convert_from(body, 'UTF8')::jsonb #>> '{data,outcome}' AS outcome FROM outbox WHERE type = $1"
        " ORDER BY created_at, id",
        "billing.payment.disputed.v1",
    )
    assert [row["outcome"] for row in rows] == ["open", outcome]


async def test_a_refunded_order_gives_nothing_back(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    await desk.receive(P.REFUNDED, refunded_cents=24700)
    async with transaction(db, tenant) as conn:
        order = await store.orders.lock_order(conn, tenant, desk.payment.order_id or uuid4())
        before = await store.subscriptions.find_of_order(conn, tenant, order.id)
        after = await fulfil_order(conn, order, invoice=None, payment=None, seen=RUNNING, asked_at=NOW, now=NOW)
    assert after == before
    assert (await desk.order_now()).status is OrderStatus.REFUNDED


async def a_renewal(conn: Connection, tenant: UUID, **fields: Any) -> tuple[Invoice, Payment, UUID]:
    """The unpaid second period of a cycle that is ours."""
    running = await a_subscription(conn, tenant, **fields)
    assert running.current_period_end is not None
    invoice = await an_invoice(
        conn, tenant, customer_id=running.customer_id, subscription_id=running.id, plan_id=running.plan_id,
        period_start=running.current_period_end, period_end=running.current_period_end + timedelta(days=30),
    )  # fmt: skip
    return invoice, await a_payment(conn, tenant, invoice, status=P.PENDING, paid_at=None), running.id


async def test_a_paid_period_renews_a_cycle_of_our_own(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        invoice, payment, subscription_id = await a_renewal(
            conn, tenant, status=SubscriptionStatus.SUSPENDED, past_due_since=NOW, dunning_step=3
        )
        for _ in range(2):
            await receive_payment(conn, tenant, payment.id, state(payment), asked_at=NOW, now=NOW)
        after = await store.subscriptions.get_subscription(conn, tenant, subscription_id)
    assert (after.status, after.past_due_since, after.dunning_step) == (SubscriptionStatus.ACTIVE, None, 0)
    assert (after.current_period_end, after.renews_at) == (invoice.period_end, invoice.period_end)
    desk = Desk(db, tenant, payment, invoice, None)
    assert [one for one in await desk.told() if "subscription" in one] == ["subscription.resumed"]


async def test_a_period_paid_after_the_end_brings_nothing_back(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        _, payment, subscription_id = await a_renewal(
            conn, tenant, status=SubscriptionStatus.CANCELLED, cancelled_at=NOW, renews_at=None
        )
        before = await store.subscriptions.get_subscription(conn, tenant, subscription_id)
        await receive_payment(conn, tenant, payment.id, state(payment), asked_at=NOW, now=NOW)
        after = await store.subscriptions.get_subscription(conn, tenant, subscription_id)
    assert after == before


# --- at once


async def test_fifty_at_once_have_one_effect(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    await asyncio.gather(
        *(
            again_while_busy(partial(desk.receive, after_s=number % 3, subscription_seen=RUNNING))
            for number in range(50)
        )
    )
    assert await desk.told() == PURCHASE
    assert await desk.mails() == 1


async def test_of_two_payments_at_once_one_settles(db: Database, tenant: UUID) -> None:
    desk = await a_desk(db, tenant)
    async with transaction(db, tenant) as conn:
        others = [await a_payment(conn, tenant, desk.invoice, status=P.PENDING, paid_at=None) for _ in range(9)]
    kept = await asyncio.gather(*(desk.receive(payment=one) for one in (desk.payment, *others)))
    assert sum(one.review_reason is None for one in kept) == 1
    assert await desk.told() == PURCHASE


async def test_of_ten_payments_with_one_transfer_one_is_credited(db: Database, tenant: UUID) -> None:
    desks = [await a_desk(db, uuid4(), with_order=False, external_id=None) for _ in range(10)]
    kept = await asyncio.gather(
        *(desk.receive(external_id=f"pi_{number}", end_to_end_id="E1") for number, desk in enumerate(desks))
    )
    assert sum(one.review_reason is None for one in kept) == 1


async def test_money_its_return_and_a_failure_at_once_end_alike(db: Database, tenant: UUID) -> None:
    for _ in range(5):
        desk = await a_desk(db, uuid4())
        await asyncio.gather(
            desk.receive(P.FAILED, after_s=1),
            desk.receive(P.PAID, after_s=2),
            desk.receive(P.PARTIALLY_REFUNDED, after_s=3, refunded_cents=700),
            desk.receive(P.REFUNDED, after_s=4, refunded_cents=24700),
        )
        assert (await desk.invoice_now()).status is InvoiceStatus.REFUNDED
        assert (await desk.order_now()).status is OrderStatus.REFUNDED
        told = await desk.told()
        assert (told.count("payment.received"), told.count("order.refunded")) == (1, 1)
