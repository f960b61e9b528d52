"""SQL over invoices: numbers without gaps, one per period, and each tenant's own."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from billing import store
from billing.domain.invoices import Invoice, InvoiceStatus
from chassis.db import Database, transaction
from contracts.errors import NotFound

from .records import NOW, a_customer, a_subscription, an_invoice, an_order


async def made(db: Database, tenant: UUID, **fields: Any) -> Invoice:
    async with transaction(db, tenant) as conn:
        return await an_invoice(conn, tenant, **fields)


async def test_an_invoice_comes_back_as_it_was_written(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        running = await a_subscription(conn, tenant)
        order = await an_order(conn, tenant)
        row = await an_invoice(conn, tenant, customer_id=running.customer_id)
        changed = msgspec.structs.replace(
            row,
            subscription_id=running.id,
            order_id=order.id,
            description="Outra",
            refunded_cents=1,
            status=InvoiceStatus.PAID,
            external_id="in_1",
            url="https://x",
            period_start=NOW,
            period_end=NOW + timedelta(days=30),
            due_at=NOW,
            attempts=2,
            last_failure="no funds",
            next_attempt_at=NOW,
            paid_at=NOW,
            version=2,
            updated_at=NOW + timedelta(days=1),
        )
        await store.invoices.update_invoice(conn, tenant, changed)
        assert await store.invoices.find_invoice(conn, tenant, row.id) == changed
        assert await store.invoices.get_invoice(conn, tenant, row.id) == changed
        assert await store.invoices.lock_invoice(conn, tenant, row.id) == changed
        assert await store.invoices.find_of_order(conn, tenant, order.id) == changed
        assert await store.invoices.find_of_order(conn, tenant, uuid4()) is None


async def test_an_invoice_is_its_tenants(db: Database, tenant: UUID) -> None:
    row, stranger = await made(db, tenant), uuid4()
    async with transaction(db, stranger) as conn:
        for whose in (tenant, stranger):
            assert await store.invoices.find_invoice(conn, whose, row.id) is None
            assert await store.invoices.find_shown(conn, whose, row.id) is None
            with pytest.raises(NotFound):
                await store.invoices.get_invoice(conn, whose, row.id)
            with pytest.raises(NotFound):
                await store.invoices.lock_invoice(conn, whose, row.id)
            assert await store.invoices.list_invoices(conn, whose, before=None, limit=9) == []
            assert await store.invoices.list_shown(conn, whose, before=None, limit=9) == []
            assert await store.invoices.list_between(conn, whose, None, None) == []
        await store.invoices.update_invoice(conn, tenant, msgspec.structs.replace(row, description="x"))
    async with transaction(db, tenant) as conn:
        assert await store.invoices.get_invoice(conn, tenant, row.id) == row


async def test_numbers_have_no_gaps_and_count_per_tenant(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        customer = await a_customer(conn, tenant)

    async def issue(fails: bool) -> int | None:
        try:
            async with transaction(db, tenant) as conn:
                row = await an_invoice(conn, tenant, customer_id=customer.id)
                if fails:
                    raise RuntimeError
                return row.number
        except RuntimeError:
            return None

    numbers = await asyncio.gather(*(issue(n % 3 == 0) for n in range(12)))
    assert sorted(n for n in numbers if n is not None) == list(range(1, 9))
    assert (await made(db, uuid4())).number == 1


async def test_what_an_invoice_cannot_be(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, external_id="in_1")
    for fields in (
        {"status": InvoiceStatus.PAID},
        {"paid_at": NOW},
        {"status": InvoiceStatus.VOID},
        {"refunded_cents": row.amount_cents + 1},
        {"refunded_cents": -1},
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            async with transaction(db, tenant) as conn:
                await store.invoices.update_invoice(conn, tenant, msgspec.structs.replace(row, **fields))
    with pytest.raises(asyncpg.CheckViolationError):
        await made(db, tenant, amount_cents=0)
    with pytest.raises(asyncpg.UniqueViolationError):
        await made(db, tenant, external_id="in_1")
    again = msgspec.structs.replace(row, id=uuid4(), external_id=None)
    with pytest.raises(asyncpg.UniqueViolationError):  # the number is given already
        async with transaction(db, tenant) as conn:
            await store.invoices.insert_invoice(conn, tenant, again)


async def test_a_period_of_our_own_is_invoiced_once(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        running = await a_subscription(conn, tenant)
    fields = {"customer_id": running.customer_id, "subscription_id": running.id, "period_start": NOW}
    row = await made(db, tenant, **fields)
    with pytest.raises(asyncpg.UniqueViolationError):
        await made(db, tenant, **fields)
    async with transaction(db, tenant) as conn:
        void = msgspec.structs.replace(row, status=InvoiceStatus.VOID, voided_at=NOW)
        await store.invoices.update_invoice(conn, tenant, void)
    assert (await made(db, tenant, **fields)).number == 2, "a void one makes room"


async def test_an_order_is_invoiced_once(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        order = await an_order(conn, tenant)
        await an_invoice(conn, tenant, order=order)
    with pytest.raises(asyncpg.UniqueViolationError):
        await made(db, tenant, order=order)


async def test_invoices_are_listed_newest_first_both_ways(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        running = await a_subscription(conn, tenant)
    rows = [
        await made(
            db,
            tenant,
            now=NOW + timedelta(seconds=n),
            customer_id=running.customer_id,
            subscription_id=running.id if n % 2 else None,
        )
        for n in range(5)
    ]
    newest = [row.id for row in reversed(rows)]
    async with transaction(db, tenant) as conn:
        for filters, expected in (
            ({}, newest),
            ({"subscription_id": running.id}, [rows[3].id, rows[1].id]),
            ({"status": "paid"}, []),
            ({"status": "pending"}, newest),
        ):
            listed = await store.invoices.list_invoices(conn, tenant, before=None, limit=9, **filters)
            shown = await store.invoices.list_shown(conn, tenant, before=None, limit=9, **filters)
            assert [row.id for row in listed] == [row_id for row_id, _ in shown] == expected
        listed = await store.invoices.list_invoices(conn, tenant, before=rows[3].id, limit=2)
        shown = await store.invoices.list_shown(conn, tenant, before=rows[3].id, limit=2)
        assert [row.id for row in listed] == [row_id for row_id, _ in shown] == [rows[2].id, rows[1].id]
        one = await store.invoices.find_shown(conn, tenant, rows[2].id)
        assert one is not None
        assert shown[0][1] == one
        assert msgspec.json.decode(one)["id"] == str(rows[2].id)


async def test_invoices_are_found_by_when_they_are_due(db: Database, tenant: UUID) -> None:
    rows = [await made(db, tenant, due_at=NOW + timedelta(days=n)) for n in range(3)]
    async with transaction(db, tenant) as conn:

        async def between(start: int | None, end: int | None) -> list[UUID]:
            moments = [None if n is None else NOW + timedelta(days=n) for n in (start, end)]
            return [row.id for row in await store.invoices.list_between(conn, tenant, moments[0], moments[1])]

        assert await between(None, None) == [rows[2].id, rows[1].id, rows[0].id]
        assert await between(1, None) == [rows[2].id, rows[1].id]
        assert await between(None, 1) == [rows[0].id]
        assert await between(1, 2) == [rows[1].id]


async def test_what_is_owed_is_locked_and_can_cost_something_else(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        running = await a_subscription(conn, tenant)
    fields = {"customer_id": running.customer_id, "subscription_id": running.id}
    owed = await made(db, tenant, **fields)
    await made(db, tenant, **fields, status=InvoiceStatus.PAID, paid_at=NOW)
    await made(db, tenant)
    async with transaction(db, tenant) as conn:
        assert await store.invoices.lock_pending(conn, tenant, running.id) == [owed]
        later = NOW + timedelta(days=1)
        changed = await store.invoices.reprice_invoice(conn, tenant, owed.id, amount_cents=5, now=later)
        assert (changed.amount_cents, changed.version, changed.updated_at) == (5, 2, later)

        async def lock_elsewhere() -> None:
            async with transaction(db, tenant) as other:
                await other.execute("SET LOCAL lock_timeout = '100ms'")
                await store.invoices.lock_invoice(other, tenant, owed.id)

        with pytest.raises(asyncpg.LockNotAvailableError):
            await lock_elsewhere()
