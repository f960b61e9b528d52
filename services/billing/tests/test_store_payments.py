"""SQL over payments and refunds: one payment settles an invoice, and each tenant sees its own."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from billing import store
from billing.domain.payments import Payment
from billing.domain.providers import Method, PaymentStatus
from billing.domain.refunds import RefundStatus
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import NotFound

from .records import NOW, a_payment, a_refund, an_invoice

PENDING: dict[str, Any] = {"status": PaymentStatus.PENDING, "paid_at": None}


async def made(db: Database, tenant: UUID, **fields: Any) -> Payment:
    async with transaction(db, tenant) as conn:
        invoice = await an_invoice(conn, tenant)
        return await a_payment(conn, tenant, invoice, **fields)


async def test_a_payment_comes_back_as_it_was_written(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, **PENDING, external_id=None, due_on=date(2026, 5, 9), reference="pedido 1")
    async with transaction(db, tenant) as conn:
        other = await an_invoice(conn, tenant)
        changed = msgspec.structs.replace(
            row,
            invoice_id=other.id,
            external_id="pi_1",
            method=Method.PIX,
            status=PaymentStatus.PARTIALLY_REFUNDED,
            refunded_cents=3,
            description="Outra",
            paid_at=NOW,
            failure_reason="x",
            review_reason="y",
            txid="t" * 26,
            end_to_end_id="E" * 32,
            pix_copy_paste="000201",
            pix_expires_at=NOW,
            url="https://x",
            raw={"id": "pay_1", "value": 1.5, "tags": ["ü"]},
            observed_at=NOW,
            version=2,
            updated_at=NOW + timedelta(days=1),
        )
        await store.payments.update_payment(conn, tenant, changed)
        assert await store.payments.find_payment(conn, tenant, row.id) == changed
        assert await store.payments.get_payment(conn, tenant, row.id) == changed
        assert await store.payments.lock_payment(conn, tenant, row.id) == changed
        assert await store.payments.find_by_txid(conn, tenant, "t" * 26) == changed
        assert await store.payments.find_by_txid(conn, tenant, "u" * 26) is None


async def test_a_payment_is_its_tenants(db: Database, tenant: UUID) -> None:
    row, stranger = await made(db, tenant, txid="t" * 26), uuid4()
    async with transaction(db, stranger) as conn:
        for whose in (tenant, stranger):
            assert await store.payments.find_payment(conn, whose, row.id) is None
            with pytest.raises(NotFound):
                await store.payments.get_payment(conn, whose, row.id)
            with pytest.raises(NotFound):
                await store.payments.lock_payment(conn, whose, row.id)
            assert await store.payments.list_payments(conn, whose, before=None, limit=9) == []
            assert await store.payments.find_by_txid(conn, whose, "t" * 26) is None
            assert await store.payments.find_settling(conn, whose, row.invoice_id) is None
            assert await store.payments.list_paid_between(conn, whose, None, None) == []
        await store.payments.update_payment(conn, tenant, msgspec.structs.replace(row, description="x"))
        await store.payments.touch_payment(conn, tenant, row.id, NOW + timedelta(days=1))
    async with transaction(db, tenant) as conn:
        assert await store.payments.get_payment(conn, tenant, row.id) == row


async def test_one_payment_settles_an_invoice(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        invoice = await an_invoice(conn, tenant)
        failed = await a_payment(conn, tenant, invoice, status=PaymentStatus.FAILED, paid_at=None)
        assert await store.payments.find_settling(conn, tenant, invoice.id) is None
        paid = await a_payment(conn, tenant, invoice, now=NOW + timedelta(seconds=1))
        assert await store.payments.find_settling(conn, tenant, invoice.id) == paid
        assert await store.payments.find_latest_of_invoice(conn, tenant, invoice.id) == paid
        assert await store.payments.find_latest_of_invoice(conn, tenant, uuid4()) is None
        second = await a_payment(conn, tenant, invoice, review_reason="a second time")
        listed = await store.payments.list_payments(conn, tenant, before=None, limit=9, invoice_id=invoice.id)
        assert {row.id for row in listed} == {failed.id, paid.id, second.id}
    for status in (PaymentStatus.PAID, PaymentStatus.REFUNDED, PaymentStatus.DISPUTED):
        with pytest.raises(asyncpg.UniqueViolationError):
            async with transaction(db, tenant) as conn:
                await a_payment(conn, tenant, invoice, status=status)


async def test_what_a_payment_cannot_be(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, external_id="pi_1", txid="t" * 26, end_to_end_id="E1")
    for fields in ({"paid_at": None}, {"refunded_cents": row.amount_cents + 1}, {"refunded_cents": -1}):
        with pytest.raises(asyncpg.CheckViolationError):
            async with transaction(db, tenant) as conn:
                await store.payments.update_payment(conn, tenant, msgspec.structs.replace(row, **fields))
    for same in ({"external_id": "pi_1"}, {"txid": "t" * 26}, {"end_to_end_id": "E1"}):
        with pytest.raises(asyncpg.UniqueViolationError):
            await made(db, tenant, **same)


async def test_payments_are_listed_newest_first(db: Database, tenant: UUID) -> None:
    rows = [await made(db, tenant, now=NOW + timedelta(seconds=n)) for n in range(3)]
    async with transaction(db, tenant) as conn:
        listed = await store.payments.list_payments(conn, tenant, before=None, limit=2)
        assert [row.id for row in listed] == [rows[2].id, rows[1].id]
        listed = await store.payments.list_payments(conn, tenant, before=listed[-1].id, limit=9)
        assert [row.id for row in listed] == [rows[0].id]
        assert await store.payments.list_payments(conn, tenant, before=None, limit=9, status="pending") == []
        found = await store.payments.list_paid_between(conn, tenant, NOW + timedelta(seconds=1), None)
        assert [row.id for row in found] == [rows[1].id, rows[2].id]
        found = await store.payments.list_paid_between(conn, tenant, None, NOW + timedelta(seconds=1))
        assert [row.id for row in found] == [rows[0].id]


async def test_who_waits_is_asked_about_the_rarer_the_older(db: Database, tenant: UUID) -> None:
    fresh = await made(db, tenant, **PENDING)
    await made(db, uuid4(), **PENDING, external_id=None)  # its provider does not know it yet
    await made(db, tenant)
    old = await made(db, uuid4(), **PENDING, now=NOW - timedelta(days=2))
    await made(db, tenant, **PENDING, now=NOW - timedelta(days=91))

    async def waiting(minutes: int, limit: int = 9) -> list[UUID]:
        async with platform_transaction(db) as conn:
            rows = await store.payments.list_waiting(conn, NOW + timedelta(minutes=minutes), limit)
        return [row.id for row in rows]

    assert await waiting(1) == [old.id]
    assert await waiting(4) == [old.id, fresh.id]
    assert await waiting(4, limit=1) == [old.id]
    async with transaction(db, tenant) as conn:
        await store.payments.touch_payment(conn, tenant, fresh.id, NOW + timedelta(minutes=4))
    assert await waiting(5) == [old.id], "others get their turn"
    assert await waiting(8) == [old.id, fresh.id]


async def test_what_is_unpaid_can_cost_something_else(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        invoice = await an_invoice(conn, tenant)
        open_one = await a_payment(conn, tenant, invoice, **PENDING)
        paid = await a_payment(conn, tenant, invoice)
        later = NOW + timedelta(days=1)
        await store.payments.reprice_unpaid(conn, tenant, invoice.id, amount_cents=5, now=later)
        changed = await store.payments.get_payment(conn, tenant, open_one.id)
        assert (changed.amount_cents, changed.version, changed.updated_at) == (5, 2, later)
        assert await store.payments.get_payment(conn, tenant, paid.id) == paid


async def test_a_refund_is_kept_and_ends_once(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant)
    async with transaction(db, tenant) as conn:
        refund = await a_refund(conn, row, amount_cents=700, reason="x")
        assert await store.refunds.find_refund(conn, tenant, refund.id) == refund
        assert await store.refunds.find_refund(conn, tenant, uuid4()) is None
        for status in (RefundStatus.PENDING, RefundStatus.DONE):
            refund = msgspec.structs.replace(refund, status=status, external_id="re_1", updated_at=NOW)
            await store.refunds.update_refund(conn, tenant, refund)
            assert await store.refunds.list_refunds(conn, tenant, row.id) == [refund]
        late = msgspec.structs.replace(refund, status=RefundStatus.PENDING)
        await store.refunds.update_refund(conn, tenant, late)
        assert await store.refunds.find_refund(conn, tenant, refund.id) == refund, "what is over stays over"
        for status in (RefundStatus.FAILED, RefundStatus.DONE):
            await store.refunds.update_refund(conn, tenant, msgspec.structs.replace(refund, status=status))
        returned = msgspec.structs.replace(refund, status=RefundStatus.FAILED)
        assert await store.refunds.find_refund(conn, tenant, refund.id) == returned, "but for what a bank returns"
    async with transaction(db, uuid4()) as conn:
        assert await store.refunds.find_refund(conn, tenant, refund.id) is None
        assert await store.refunds.list_refunds(conn, tenant, row.id) == []
    none = msgspec.structs.replace(refund, id=uuid4(), amount_cents=0)
    with pytest.raises(asyncpg.CheckViolationError):
        async with transaction(db, tenant) as conn:
            await store.refunds.insert_refund(conn, tenant, none)
