"""B1 for the mailer alone, in depth. SCHEMATHESIS_EXAMPLES is the number of cases per operation (50)."""

import os
from pathlib import Path

import pytest
from faults.rig import Rig
from schema_cases import keeps_its_description

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES") or 50)


async def test_every_operation_keeps_its_description(rig: Rig, tmp_path: Path) -> None:
    await rig.calm()
    exits = (len(rig.gateway.exits), len(rig.mailer.exits))
    tenant_id = rig.tenants[0]
    token = rig.made.tenant_token(tenant_id, subject="fuzzer")
    # 422 is this API's word for what a schema cannot say: a template that does not compile, a host nobody may name.
    accepted = ("2xx", "401", "403", "404", "409", "422")
    await keeps_its_description(rig.gateway.url, token, tenant_id, tmp_path, examples=EXAMPLES, accepted=accepted)
    assert (len(rig.gateway.exits), len(rig.mailer.exits)) == exits, "a service died of its input"
