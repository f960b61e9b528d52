"""B1 for the whole product: a few cases of every operation. After the journeys, whose sign-ins it would use up."""

from pathlib import Path
from uuid import uuid4

import pytest
from product import Product
from schema_cases import keeps_its_description

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_operation_keeps_its_description(product: Product, tmp_path: Path) -> None:
    exits = {name: len(one.exits) for name, one in product.running.items()}
    tenant_id = uuid4()
    token = product.made.tenant_token(tenant_id, role="owner")
    # The seeds answer 400 to what their schemas cannot say: a CPF whose digits do not match, a day that has gone by.
    accepted = ("2xx", "400", "401", "403", "404", "409", "422", "429")
    await keeps_its_description(product.url, token, tenant_id, tmp_path, examples=6, accepted=accepted)
    assert {name: len(one.exits) for name, one in product.running.items()} == exits, "a service died of its input"
