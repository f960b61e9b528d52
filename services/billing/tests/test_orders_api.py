"""An order over HTTP: what was sold, what it brought, and everything that happened to it."""

import functools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from billing.usecases.note_order import note_order
from chassis.db import transaction

from .records import NOW, a_paid_invoice, a_payment, a_subscription, an_invoice, an_order

Start = Callable[..., Awaitable[Any]]


@pytest.fixture(name="start")
def without_schedulers(start: Start) -> Start:
    """Billing as its API alone: what happens is what a request did."""
    return functools.partial(start, ROLE="api")


async def test_nobody_passes_without_identity_permission_and_tenant(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        order = await an_order(conn, tenant)
    path = f"/orders/{order.id}"
    assert (await billing.http.get(path)).status_code == 401
    refused = await billing.call("GET", path, tenant, "some:other")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_permission")
    assert (await billing.call("GET", path, None, "billing:read")).status_code == 400
    assert (await billing.call("GET", path, uuid4(), "billing:read")).status_code == 404
    assert (await billing.call("GET", f"/orders/{uuid4()}", tenant, "billing:read")).status_code == 404
    assert (await billing.call("GET", path, tenant, "billing:read")).status_code == 200


async def test_an_order_shows_what_it_brought_and_its_timeline(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        running = await a_subscription(conn, tenant)
        assert running.order_id is not None
        first = await a_paid_invoice(
            conn, tenant, customer_id=running.customer_id, order_id=running.order_id, subscription_id=running.id
        )
        later = await an_invoice(conn, tenant, customer_id=running.customer_id, subscription_id=running.id)
        paid = await a_payment(conn, tenant, first)
        await an_invoice(conn, tenant)  # somebody else's
        for kind, detail in (("placed", {"plan": "essencial"}), ("page_opened", {}), ("paid", {"paid_cents": 24700})):
            await note_order(conn, tenant, running.order_id, kind, now=NOW, **detail)
    order = (await billing.call("GET", f"/orders/{running.order_id}", tenant)).json()
    assert (order["plan_slug"], order["amount_cents"], order["status"]) == ("essencial", 24700, "paid")
    assert order["subscription_id"] == str(running.id)
    assert order["invoice_ids"] == sorted([str(first.id), str(later.id)])
    assert order["payment_ids"] == [str(paid.id)]
    assert [(entry["kind"], entry["detail"]) for entry in order["timeline"]] == [
        ("placed", {"plan": "essencial"}),
        ("page_opened", {}),
        ("paid", {"paid_cents": 24700}),
    ]
    assert datetime.fromisoformat(order["timeline"][0]["at"]) == NOW


async def test_a_fresh_order_has_brought_nothing(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        order = await an_order(conn, tenant)
    shown = (await billing.call("GET", f"/orders/{order.id}", tenant)).json()
    assert (shown["subscription_id"], shown["invoice_ids"], shown["payment_ids"], shown["timeline"]) == (
        None,
        [],
        [],
        [],
    )
