"""B1: schemathesis over a live description, through the gateway."""

import asyncio
import sys
from pathlib import Path
from uuid import UUID

SEED = 20_260_101
#: How what a schema forbids may be refused: schemathesis' own list, and 413 for a text that is longer than a body.
REFUSALS = (400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429)


async def keeps_its_description(
    url: str, token: str, tenant_id: UUID, directory: Path, *, examples: int, accepted: tuple[str, ...]
) -> None:
    """Fail unless every answer of the gateway at `url` is no 5xx and is what its description says.

    `accepted` are the statuses that a request may get although the schema allows it. Writes schemathesis.log in
    `directory`.
    """
    statuses = ", ".join(f'"{status}"' for status in accepted)
    (directory / "schemathesis.toml").write_text(
        f"[checks.positive_data_acceptance]\nexpected-statuses = [{statuses}]\n"
        f"[checks.negative_data_rejection]\nexpected-statuses = [{', '.join(map(str, REFUSALS))}]\n"
    )
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{url}/openapi.json",
        *("--url", url),
        *("--header", f"Authorization: Bearer {token}"),
        *("--header", f"x-tenant-id: {tenant_id}"),  # one that it made up would be refused at the gate
        *("--checks", "all"),
        *("--max-examples", str(examples)),
        *("--seed", str(SEED)),
        # One thread: Python 3.11.2 (Debian's) raises a SystemError when two compile at once (gh-106905).
        *("--workers", "1"),
        "--continue-on-failure",
        *("--suppress-health-check", "all"),
        *("--request-timeout", "30"),
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    said = output.decode(errors="replace")
    (directory / "schemathesis.log").write_text(said)
    assert process.returncode == 0, said[said.find("= FAILURES =") :][:12_000] + said[-2_000:]
