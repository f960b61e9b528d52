"""What sign-in costs others, whether it tells who exists, and what a permission check costs."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx
import msgspec
from stack import Secrets, Supervised, free_port, migrated, served, service_environment

from benchmarks.report import Figure, Section
from chassis.db import Database, platform_transaction
from chassis.identity import Identity
from chassis.settings import Secret
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import AccessSnapshot, RoleFact
from gateway.access import Door
from gateway.access_book import AccessBook
from gateway.cors import Origins
from gateway.headers import Head
from gateway.policy import ALL_PERMISSIONS
from gateway.routes.row import Row, permission
from gateway.tokens import TokenVerifier
from tenants import store
from tenants.domain.identifiers import new_id
from tenants.domain.people import UserStatus, new_user
from tenants.passwords import Passwords
from testkit.embedded.session import TemporaryServers
from testkit.tokens import user_jwt

ROOT = Path(__file__).resolve().parents[2]
SECRET = "Zk3v9Qw8Lr2Tn5Xy7Bc1Df4Gh6Jm0PqsUv"
CHECKS = 20_000
PAIRS = 40
#: Fewer than the tries that an account has.
TRIES = 5
SIGN_INS_PER_S = 3


def measure(directory: Path, *, rounds: int, seconds: float) -> Section:
    """Sign-ins at the running service, beside the people of a tenant being listed; the edge's decision in process."""
    servers = TemporaryServers(ROOT)
    try:
        beside, known, unknown = asyncio.run(_at_the_service(servers, directory, rounds=rounds, seconds=seconds))
    finally:
        servers.close()
    took, processor = ([median(one[kind] for one in tries) for tries in (known, unknown)] for kind in (0, 1))
    apart = abs(processor[0] - processor[1]) / processor[1] * 100
    return Section(
        "tenants: sign-in beside other requests, known beside unknown accounts; the edge's permission check in process",
        figures=(
            Figure(
                f"median of GET /users while {SIGN_INS_PER_S} sign-ins a second run, x alone", beside, "x", at_most=1.5
            ),
            Figure("medians of a known and an unknown account apart, in processor time", apart, "%", at_most=10),
            Figure("permission check: verified token, role, tenant", _check_us(), "us", at_most=20),
        ),
        notes=(
            f"answered after {took[0] * 1000:.1f} ms where the account is known, {took[1] * 1000:.1f} ms where not",
            f"processor time of the service: {processor[0] * 1000:.1f} ms and {processor[1] * 1000:.1f} ms",
        ),
    )


async def _at_the_service(
    servers: TemporaryServers, directory: Path, *, rounds: int, seconds: float
) -> tuple[float, Sequence[tuple[float, float]], Sequence[tuple[float, float]]]:
    """The ratio of the medians of other requests; what sign-ins of known and of unknown accounts took."""
    postgres = servers.postgres()
    made = Secrets()
    url = await asyncio.to_thread(postgres.start)
    await migrated("tenants", owner_url=url, made=made)
    tenant, people = await _people(url, made)
    environment = service_environment(
        port=free_port(), database_url=url, amqp_url=f"amqp://u:{made.db_role}@127.0.0.1:{free_port()}/", made=made,
        JWT_SECRET=made.jwt, FRONTEND_URL="https://app.example.com", ROLE="api", LOG_LEVEL="error",
    )  # fmt: skip
    service = served("tenants", environment, log=directory / "tenants.log")
    await service.start()
    try:
        await service.ready()
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=20) as client:
            visitor = Visitor(client, made)
            known, unknown = [], []
            for number in range(PAIRS):  # in turns, so that the machine's moods meet both
                known.append(await _cost(service, visitor, people[number // TRIES]))
                unknown.append(await _cost(service, visitor, f"nobody-{number}@bench.example.org"))
            ratios = [await _beside(visitor, tenant, seconds) for _ in range(rounds)]
    finally:
        await service.stop()
    return median(ratios), known, unknown


class Visitor:
    """Calls the service as the gateway does; each sign-in comes from an address of its own."""

    def __init__(self, client: httpx.AsyncClient, made: Secrets) -> None:
        self._client = client
        self._made = made
        self._visits = 0

    async def sign_in(self, email: str) -> None:
        """A wrong password."""
        self._visits += 1
        headers = self._made.identities.headers("tenants", kind="public", subject="anonymous")
        headers["X-Forwarded-For"] = f"198.51.{self._visits // 250}.{self._visits % 250}"
        answer = await self._client.post(
            "/auth/login", json={"email": email, "password": "a wrong one"}, headers=headers
        )
        if answer.status_code != 401 or "Invalid credentials" not in answer.text:
            raise RuntimeError(f"a sign-in was answered {answer.status_code}: {answer.text}")

    async def list_people(self, tenant: uuid.UUID) -> None:
        """The people of the tenant, as its administrator sees them."""
        headers = self._made.identities.headers("tenants", tenant_id=tenant, permissions=["users:read"])
        answer = await self._client.get("/users?limit=20", headers=headers)
        if answer.status_code != 200:
            raise RuntimeError(f"GET /users was answered {answer.status_code}: {answer.text}")


async def _people(url: str, made: Secrets) -> tuple[uuid.UUID, list[str]]:
    """A tenant, and active accounts to sign in to."""
    db = Database(url, "tenants", Secret(made.db_role))
    await db.open()
    now = datetime.now(UTC)
    emails = [f"person-{number}@bench.example.org" for number in range(PAIRS // TRIES)]
    async with Passwords(1) as passwords, platform_transaction(db) as conn:
        hashed = await passwords.hash("a password that is long enough")
        for email in emails:
            user = msgspec.structs.replace(
                new_user(new_id(now), email, "Ana Lima", now),
                password_hash=hashed, status=UserStatus.ACTIVE, email_verified_at=now,
            )  # fmt: skip
            await store.users.insert_user(conn, user)
    await db.close()
    return uuid.uuid4(), emails


async def _cost(service: Supervised, visitor: Visitor, email: str) -> tuple[float, float]:
    """Seconds until the answer, and of them the service's processor time: the neighbours' load is not the sign-in's."""
    spent, began = _processor_s(service), time.perf_counter()
    await visitor.sign_in(email)
    return time.perf_counter() - began, _processor_s(service) - spent


def _processor_s(service: Supervised) -> float:
    """What all threads of the process have used (proc(5), schedstat: nanoseconds first)."""
    threads = Path(f"/proc/{service.pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in threads) / 1e9


async def _beside(visitor: Visitor, tenant: uuid.UUID, seconds: float) -> float:
    """How much longer the median of other requests is while sign-ins run."""
    alone = await _listed(visitor, tenant, seconds)
    signing = asyncio.create_task(_sign_ins(visitor))
    beside = await _listed(visitor, tenant, seconds)
    signing.cancel()
    await asyncio.gather(signing, return_exceptions=True)
    return median(beside) / median(alone)


async def _sign_ins(visitor: Visitor) -> None:
    """So many a second, however long each takes."""
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(visitor.sign_in(f"{uuid.uuid4().hex}@bench.example.org"))
            await asyncio.sleep(1 / SIGN_INS_PER_S)


async def _listed(visitor: Visitor, tenant: uuid.UUID, seconds: float) -> list[float]:
    """One request after the other, with a breath between: how long each took."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        await visitor.list_people(tenant)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.005)
    return took


def _check_us() -> float:
    book = AccessBook(expects_snapshot=True)
    roles = (RoleFact(tenant_id=PLATFORM_TENANT_ID, role="manager", permissions=tuple(sorted(ALL_PERMISSIONS))),)
    book.load(AccessSnapshot(taken_at=datetime.now(UTC), roles=roles, api_keys=(), subjects=(), closed_tenants=()))
    verifier = TokenVerifier([SECRET], book=book)
    door = Door(verifier, Origins(()), (), book)
    row = Row("GET", "/invoices", permission("billing:read"))
    token = user_jwt(SECRET, tenant_id=uuid.uuid4(), role="manager", sub=str(uuid.uuid4()))
    head = Head([(b"authorization", f"Bearer {token}".encode()), (b"host", b"edge")], frozenset())
    identity = Identity(subject="u", permissions=ALL_PERMISSIONS)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(CHECKS):
            principal = door.identify(row, "GET", head, "https")
            door.authorise(row, principal, head)
            identity.may("billing:read")  # and once more in the service
        best = min(best, (time.perf_counter() - began) / CHECKS * 1e6)
    return best
