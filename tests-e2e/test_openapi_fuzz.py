"""B1: schemathesis over the live description, through the gateway: no answer is a 5xx, each is what the schema says.

SCHEMATHESIS_EXAMPLES is the number of cases per operation (50).
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from faults.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES") or 50)
SEED = 20_260_101
#: 422 is this API's word for what a schema cannot say: a template that does not compile, a host nobody may name.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]
"""


async def test_every_operation_keeps_its_description(rig: Rig, tmp_path: Path) -> None:
    await rig.calm()
    exits = (len(rig.gateway.exits), len(rig.mailer.exits))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    token = rig.made.tenant_token(rig.tenants[0], subject="fuzzer")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{rig.gateway.url}/openapi.json",
        *("--url", rig.gateway.url),
        *("--header", f"Authorization: Bearer {token}"),
        *("--checks", "all"),
        *("--max-examples", str(EXAMPLES)),
        *("--seed", str(SEED)),
        *("--workers", "2"),
        "--continue-on-failure",
        *("--suppress-health-check", "all"),
        *("--request-timeout", "30"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    said = output.decode(errors="replace")
    (tmp_path / "schemathesis.log").write_text(said)
    assert process.returncode == 0, said[said.find("= FAILURES =") :][:12_000] + said[-2_000:]
    assert (len(rig.gateway.exits), len(rig.mailer.exits)) == exits, "a service died of its input"
