"""Seed 001's finance pages: its words, its order, exact decimal numbers, and dates that cannot be are refused."""

import functools
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.money_text import decimal_amount, money_text
from billing.domain.providers import PaymentStatus
from chassis.db import transaction

from .records import a_customer, a_paid_invoice, a_payment, an_invoice

Start = Callable[..., Awaitable[Any]]


@pytest.fixture(name="start")
def without_schedulers(start: Start) -> Start:
    """Billing as its API alone: what happens is what a request did."""
    return functools.partial(start, ROLE="api")


PATHS = ("/financeiro/historico", "/financeiro/faturas")
MAY = datetime(2026, 5, 4, 12, tzinfo=UTC)


def exact(answer: Any) -> Any:
    """The body, its numbers as they were written."""
    return json.loads(answer.content, parse_float=Decimal)


async def test_nobody_passes_without_identity_permission_and_tenant(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        invoice = await a_paid_invoice(conn, tenant)
        await a_payment(conn, tenant, invoice)
    for path in PATHS:
        assert (await billing.http.get(path)).status_code == 401
        refused = await billing.call("GET", path, tenant, "billing:read")
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_permission")
        missing = await billing.call("GET", path, None, "finance:read")
        assert (missing.status_code, missing.json()["detail"]) == (
            400,
            "TenantId é obrigatório no header (x-tenant-id).",
        )
        assert (await billing.call("GET", path, uuid4(), "finance:read")).json() == []
        assert len((await billing.call("GET", path, tenant, "finance:read")).json()) == 1


async def test_history_is_money_that_came_in_and_stayed(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        customer = await a_customer(conn, tenant)

        async def paid(day: int, amount_cents: int, **fields: Any) -> UUID:
            at = datetime(2026, 5, day, 12, tzinfo=UTC)
            invoice = await a_paid_invoice(conn, tenant, customer_id=customer.id, amount_cents=amount_cents, now=at)
            return (await a_payment(conn, tenant, invoice, now=at, **fields)).id

        later = await paid(20, 10)
        first = await paid(4, 1_234_567_890_123)
        part = await paid(10, 24700, status=PaymentStatus.PARTIALLY_REFUNDED, refunded_cents=4670)
        await paid(11, 24700, status=PaymentStatus.REFUNDED, refunded_cents=24700)
        await paid(12, 24700, status=PaymentStatus.CHARGED_BACK)
        await paid(13, 24700, status=PaymentStatus.FAILED, paid_at=None)
    answer = await billing.call("GET", "/financeiro/historico", tenant)
    rows = exact(answer)
    assert [(row["id"], row["valor"]) for row in rows] == [
        (str(first), Decimal("12345678901.23")),
        (str(part), Decimal("200.30")),
        (str(later), Decimal("0.10")),
    ]
    assert b'"valor":12345678901.23,' in answer.content
    assert b'"valor":200.30,' in answer.content
    assert set(rows[0]) == {"id", "valor", "date", "clienteId", "tenantId", "createdAt"}
    assert (rows[0]["clienteId"], rows[0]["tenantId"]) == (str(customer.id), str(tenant))
    assert datetime.fromisoformat(rows[0]["date"]) == MAY
    for query, found in (
        ("start=2026-05-10&end=2026-05-10", [part]),
        ("start=2026-05-05", [part, later]),
        ("end=2026-05-04", [first]),
        ("end=2026-05-04T12:00:00Z", []),
        ("start=2026-05-04T12:00:00Z&end=2026-05-04T12:00:01Z", [first]),
        ("start=2026-05-04T09:00:00&end=2026-05-04T09:00:01", [first]),
        ("start=2026-05-04T13:30:01%2B01:30", [part, later]),
        ("start=2027-01-01", []),
        ("start=0001-01-02&end=9999-12-30", [first, part, later]),
    ):
        rows = (await billing.call("GET", f"/financeiro/historico?{query}", tenant)).json()
        assert [row["id"] for row in rows] == [str(one) for one in found], query


async def test_bills_have_the_seeds_words(start: Start, tenant: UUID) -> None:
    billing = await start()
    now = datetime.now(UTC)
    async with transaction(billing.db, tenant) as conn:
        customer = await a_customer(conn, tenant)

        async def bill(days: int, **fields: Any) -> str:
            fields = {"customer_id": customer.id, "due_at": now + timedelta(days=days)} | fields
            make = a_paid_invoice if fields.pop("paid", False) else an_invoice
            return str((await make(conn, tenant, **fields)).id)

        late = await bill(-3)
        owed = await bill(5, amount_cents=58001)
        paid = await bill(-40, paid=True, period_start=datetime(2026, 5, 1, 2, tzinfo=UTC))
        await bill(1, status="void", voided_at=now)
    rows = exact(await billing.call("GET", "/financeiro/faturas", tenant))
    assert [(row["id"], row["status"]) for row in rows] == [(owed, "pendente"), (late, "vencida"), (paid, "paga")]
    assert [row["valorTotal"] for row in rows] == [Decimal("580.01"), Decimal("247.00"), Decimal("247.00")]
    assert rows[2]["mesRef"] == "04/2026", "in São Paulo it is still April"
    assert set(rows[0]) == {"id", "tenantId", "mesRef", "valorTotal", "status", "dataVenc", "createdAt"}
    day = f"{now - timedelta(days=3):%Y-%m-%d}"
    found = await billing.call("GET", f"/financeiro/faturas?start={day}", tenant)
    assert {row["id"] for row in found.json()} <= {owed, late}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("start=yesterday", 422),
        ("end=2026-02-30", 422),
        ("start=2026-05-04T25:00", 422),
        ("start=04/05/2026", 422),
        ("start=2026-05-10&end=2026-05-01", 422),
        ("end=9999-12-31", 422),
        ("start=0001-01-01T00:00:00%2B14:00", 422),
        ("start=%00", 422),
        ("start=", 400),
        ("start=" + "1" * 50, 400),
        ("start=2026-05-04&start=2026-05-05", 400),
        ("periodo=mensal", 400),
    ],
)
async def test_a_date_that_cannot_be_is_refused(start: Start, tenant: UUID, path: str, query: str, status: int) -> None:
    billing = await start()
    answer = await billing.call("GET", f"{path}?{query}", tenant)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@given(st.integers(-(10**15), 10**15))
def test_a_decimal_number_is_exact(amount_cents: int) -> None:
    assert decimal_amount(amount_cents, "BRL") * 100 == amount_cents
    assert decimal_amount(amount_cents, "JPY") == amount_cents
    assert decimal_amount(amount_cents, "BRL").as_tuple().exponent == -2


@pytest.mark.parametrize(
    ("amount_cents", "currency", "text"),
    [
        (124700, "BRL", "R$ 1.247,00"),
        (5, "BRL", "R$ 0,05"),
        (-123456789, "USD", "US$ -1.234.567,89"),
        (1500, "JPY", "JPY 1.500"),
        (100, "EUR", "€ 1,00"),
    ],
)
def test_an_amount_as_people_read_it(amount_cents: int, currency: str, text: str) -> None:
    assert money_text(amount_cents, currency) == text
