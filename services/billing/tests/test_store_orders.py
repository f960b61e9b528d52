"""SQL over orders and their timelines."""

from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from billing import store
from billing.domain.orders import OrderStatus
from billing.store.orders import OrderEntry, OrderTrail
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import NotFound

from .records import NOW, a_payment, a_subscription, an_invoice, an_order


async def test_an_order_comes_back_as_it_was_written(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        row = await an_order(conn, tenant, limits={"agents": 3})
        changed = msgspec.structs.replace(
            row,
            status=OrderStatus.FAILED,
            external_id="cs_1",
            checkout_url="https://x",
            buyer_email="bia@example.com",
            buyer_name=None,
            claim_id=uuid4(),
            failure_reason="expired",
            version=2,
            ended_at=NOW,
            expires_at=None,
            updated_at=NOW + timedelta(days=1),
        )
        await store.orders.update_order(conn, tenant, changed)
        assert await store.orders.find_order(conn, tenant, row.id) == changed
        assert await store.orders.get_order(conn, tenant, row.id) == changed
        assert await store.orders.lock_order(conn, tenant, row.id) == changed
    for fields in ({"status": OrderStatus.PAID}, {"failure_reason": None}):
        with pytest.raises(asyncpg.CheckViolationError):
            async with transaction(db, tenant) as conn:
                await store.orders.update_order(conn, tenant, msgspec.structs.replace(changed, **fields))


async def test_an_order_is_its_tenants(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        row = await an_order(conn, tenant)
    stranger = uuid4()
    async with transaction(db, stranger) as conn:
        for whose in (tenant, stranger):
            assert await store.orders.find_order(conn, whose, row.id) is None
            with pytest.raises(NotFound):
                await store.orders.get_order(conn, whose, row.id)
            with pytest.raises(NotFound):
                await store.orders.lock_order(conn, whose, row.id)
            assert await store.orders.list_entries(conn, whose, row.id) == []
    entry = OrderEntry(id=uuid4(), tenant_id=stranger, order_id=row.id, kind="x", detail={}, at=NOW)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with transaction(db, stranger) as conn:
            await store.orders.insert_entry(conn, stranger, entry)


async def test_a_timeline_is_read_as_it_was_written_and_only_grows(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        order = await an_order(conn, tenant)
        entries = [
            OrderEntry(id=uuid4(), tenant_id=tenant, order_id=order.id, kind=f"k{n}", detail={"n": n}, at=NOW)
            for n in range(5)
        ]
        for entry in entries:
            await store.orders.insert_entry(conn, tenant, entry)
        assert await store.orders.list_entries(conn, tenant, order.id) == entries
    for statement in ("DELETE FROM order_events", "UPDATE order_events SET kind = 'x'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with transaction(db, tenant) as conn:
                await conn.execute(statement)


async def test_a_locked_order_still_takes_a_line(db: Database, tenant: UUID) -> None:
    """Whoever has locked a later row (a payment) and adds a line waits for nobody who has locked the order first."""
    async with transaction(db, tenant) as conn:
        order = await an_order(conn, tenant)
    entry = OrderEntry(id=uuid4(), tenant_id=tenant, order_id=order.id, kind="x", detail={}, at=NOW)
    async with transaction(db, tenant) as holder:
        await store.orders.lock_order(holder, tenant, order.id)
        async with transaction(db, tenant) as conn:
            await conn.execute("SET LOCAL lock_timeout = '500ms'")
            await store.orders.insert_entry(conn, tenant, entry)
    async with transaction(db, tenant) as conn:
        assert await store.orders.list_entries(conn, tenant, order.id) == [entry]


async def test_what_came_of_an_order(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        running = await a_subscription(conn, tenant)
        assert running.order_id is not None
        owner = running.customer_id
        first = await an_invoice(conn, tenant, customer_id=owner, order_id=running.order_id)
        later = await an_invoice(conn, tenant, customer_id=owner, subscription_id=running.id)
        payments = [await a_payment(conn, tenant, invoice) for invoice in (first, later)]
        await a_payment(conn, tenant, await an_invoice(conn, tenant))
        trail = await store.orders.get_trail(conn, tenant, running.order_id)
        assert trail == OrderTrail(
            subscription_id=running.id,
            invoice_ids=sorted([first.id, later.id]),
            payment_ids=sorted(payment.id for payment in payments),
        )
        empty = OrderTrail(subscription_id=None, invoice_ids=[], payment_ids=[])
        assert await store.orders.get_trail(conn, tenant, uuid4()) == empty
    async with transaction(db, uuid4()) as conn:
        assert await store.orders.get_trail(conn, tenant, running.order_id) == empty


async def test_whose_time_is_over_whoevers_it_is(db: Database, tenant: UUID) -> None:
    other = uuid4()
    async with transaction(db, tenant) as conn:
        await an_order(conn, tenant)
        await an_order(conn, tenant, expires_at=NOW, status=OrderStatus.CANCELLED)
    async with transaction(db, other) as conn:
        over = await an_order(conn, other, expires_at=NOW)
    async with platform_transaction(db) as conn:
        expired = await store.orders.list_expired(conn, NOW + timedelta(seconds=1), 9)
        assert [row.id for row in expired] == [over.id]
        assert await store.orders.list_expired(conn, NOW, 9) == []
