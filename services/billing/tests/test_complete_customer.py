"""What a payer says completes their customer, and changes nobody else's."""

from typing import Any
from uuid import UUID

import pytest

from billing import store
from billing.domain.pix_requests import PixPayer
from billing.usecases.complete_customer import complete_customer
from chassis.db import Connection
from chassis.secrets import SecretBox

from .records import NOW, a_customer

PAYER = PixPayer(email="ana@example.com", name="Ana Lima", tax_id="52998224725")


async def test_what_was_missing_is_added(conn: Connection, tenant: UUID, box: SecretBox) -> None:
    customer = await a_customer(conn, tenant, email=None, name=None)
    completed = await complete_customer(conn, customer, PAYER, box=box, now=NOW)
    assert (completed.email, completed.name) == ("ana@example.com", "Ana Lima")
    assert completed.tax_id is not None
    assert box.open(completed.tax_id, tenant, "customers", customer.id) == "52998224725"
    assert await store.customers.get_customer(conn, tenant, customer.id) == completed


@pytest.mark.parametrize(
    "said",
    [
        PixPayer(email="eve@example.com", name="Eve", tax_id=None),
        PixPayer(email="rui@example.com", name="Rui", tax_id=None),
    ],
)
async def test_what_is_known_stays(conn: Connection, tenant: UUID, box: SecretBox, said: PixPayer) -> None:
    customer = await a_customer(conn, tenant, email="rui@example.com", name="Rui")
    assert await complete_customer(conn, customer, said, box=box, now=NOW) == customer


async def test_anothers_address_stays_theirs(conn: Connection, tenant: UUID, box: SecretBox) -> None:
    await a_customer(conn, tenant, email="ana@example.com")
    customer = await a_customer(conn, tenant, email=None)
    assert (await complete_customer(conn, customer, PAYER, box=box, now=NOW)).email is None


async def test_who_was_forgotten_stays_so(conn: Connection, tenant: UUID, box: SecretBox) -> None:
    blank: dict[str, Any] = {"email": None, "name": None, "erased_at": NOW}
    customer = await a_customer(conn, tenant, **blank)
    assert await complete_customer(conn, customer, PAYER, box=box, now=NOW) == customer
