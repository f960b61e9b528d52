"""F12: clients hang up at any moment, with four connections for forty tenants: none keeps a tenant."""

import asyncio
import contextlib
import json
import uuid
from random import Random

import httpx
from stack import LOOPBACK

from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

TENANTS = 40
POOL_SIZE = 4


async def run(rig: Rig, size: Size) -> Verdict:
    disconnects = size.of(5_000, at_least=100)
    verdict = Verdict("F12", "clients hang up at any await: connections come back clean", "")
    trial = Trial(rig, size, verdict)
    async with rig.changed("mailer", POOL_SIZE=str(POOL_SIZE)):
        await _hang_up(rig, trial, disconnects)
    return verdict


async def _hang_up(rig: Rig, trial: Trial, disconnects: int) -> None:
    verdict = trial.verdict
    tenants = [uuid.uuid4() for _ in range(TENANTS)]
    tokens = {tenant: rig.made.tenant_token(tenant) for tenant in tenants}
    async with httpx.AsyncClient(base_url=rig.gateway.url, timeout=15, trust_env=False) as http:
        for tenant in tenants:
            for number in range(2):
                address = f"f12-{number}-{tenant}@suppressed.example.org"
                made = await http.post("/suppressions", json={"email": address}, headers=_bearer(tokens[tenant]))
                made.raise_for_status()

        over = asyncio.Event()
        reads = 0
        stuck = 0

        async def read(random: Random) -> None:
            """Readers check what they are shown while others hang up."""
            nonlocal reads
            while not over.is_set():
                tenant = random.choice(tenants)
                answer = await http.get("/suppressions", headers=_bearer(tokens[tenant]))
                reads += 1
                verdict.require(answer.status_code == 200, f"a reader got {answer.status_code}: {answer.text[:200]}")
                if answer.status_code == 200:
                    rows = answer.json()["data"]
                    foreign = [row for row in rows if str(tenant) not in row["email"] and "f12-" in row["email"]]
                    verdict.lost += len(foreign)  # a row shown to the wrong tenant is worse than a lost one
                    verdict.require(not foreign, f"tenant {tenant} was shown {foreign[:2]}")
                    verdict.require(len(rows) >= 2, f"tenant {tenant} saw {len(rows)} of its own rows")

        async def watch() -> None:
            nonlocal stuck
            while not over.is_set():
                stuck += await rig.database.idle_in_transaction(1.0)
                await asyncio.sleep(0.5)

        async def hang_up(share: int, random: Random) -> None:
            for _ in range(share):
                tenant = random.choice(tenants)
                await _abandoned(rig, tokens[tenant], tenant, random)

        random = trial.random
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(read(Random(random.random()))) for _ in range(3)]
            watching.append(group.create_task(watch()))
            clients = [
                group.create_task(hang_up(max(1, disconnects // 16), Random(random.random()))) for _ in range(16)
            ]
            await asyncio.gather(*clients)
            over.set()

    await asyncio.sleep(1.0)
    left = await rig.database.idle_in_transaction(0.5)
    verdict.require(not stuck and not left, f"idle in transaction: {stuck} while hanging up, {left} afterwards")
    verdict.trials = f"{disconnects} hang-ups, {reads} reads, {TENANTS} tenants, pool of {POOL_SIZE}"


async def _abandoned(rig: Rig, token: str, tenant: uuid.UUID, random: Random) -> None:
    """One request whose client leaves within 25 ms: mid-request, while it is handled, or in the answer."""
    address = f"f12-{random.getrandbits(64):x}-{tenant}@suppressed.example.org"
    body = json.dumps({"email": address}).encode()
    if random.random() < 0.5:
        request = b"GET /suppressions HTTP/1.1\r\n"
        body = b""
    else:
        request = b"POST /suppressions HTTP/1.1\r\nContent-Type: application/json\r\n"
    request += b"Host: gateway\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (token.encode(), len(body))
    port = int(rig.gateway.environment["PORT"])
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        message = request + body
        writer.write(message[: random.randint(1, len(message))] if random.random() < 0.1 else message)
        with contextlib.suppress(OSError):
            await writer.drain()
        await asyncio.sleep(random.uniform(0, 0.025))
        writer.transport.abort()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
