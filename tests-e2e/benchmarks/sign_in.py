"""What sign-in costs others, whether it tells who exists, and what a permission check costs."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import Figure, Section
from chassis.identity import Identity
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import AccessSnapshot, RoleFact
from gateway.access import Door
from gateway.access_book import AccessBook
from gateway.cors import Origins
from gateway.headers import Head
from gateway.policy import ALL_PERMISSIONS
from gateway.routes.row import Row, permission
from gateway.tokens import TokenVerifier
from tenants.passwords import Passwords
from testkit.tokens import user_jwt

SECRET = "Zk3v9Qw8Lr2Tn5Xy7Bc1Df4Gh6Jm0PqsUv"
CHECKS = 20_000
PAIRS = 40


def measure(directory: Path) -> Section:
    """Passwords in their threads beside a loop that works, and the edge's decision in process."""
    beside, known, unknown = asyncio.run(_passwords())
    apart = abs(median(known) - median(unknown)) / median(unknown) * 100
    return Section(
        "tenants: sign-in beside other work, known beside unknown accounts; the edge's permission check in process",
        figures=(
            Figure("median of other requests' work while 3 sign-ins a second run, x alone", beside, "x", at_most=1.5),
            Figure("medians of a known and an unknown account apart, in processor time", apart, "%", at_most=10),
            Figure("permission check: verified token, role, tenant", _check_us(), "us", at_most=20),
        ),
    )


async def _passwords() -> tuple[float, Sequence[float], Sequence[float]]:
    async with Passwords(2) as passwords:
        stored = await passwords.hash("a password that is long enough")
        known: list[float] = []
        unknown: list[float] = []
        for _ in range(PAIRS):  # in turns, so that the machine's moods meet both
            known.append(await _took(passwords.check("another password, a wrong one", stored)))
            unknown.append(await _took(passwords.check("another password, a wrong one", None)))
        alone = await _work(4.0)
        stop = asyncio.Event()
        signing = asyncio.create_task(_sign_ins(passwords, stored, stop))
        beside = await _work(4.0)
        stop.set()
        await signing
    return median(beside) / median(alone), known, unknown


async def _took(check: Any) -> float:
    """Processor time of this process, which does nothing else meanwhile: the neighbours' load is not the check's."""
    began = time.process_time()
    await check
    return time.process_time() - began


async def _sign_ins(passwords: Passwords, stored: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await passwords.check("a password that is long enough", stored)
        await asyncio.sleep(1 / 3)


async def _work(seconds: float) -> list[float]:
    """The loop's turns of a fixed piece of work, as requests are: how long each took, waiting included."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        sum(range(20_000))
        await asyncio.sleep(0)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)
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
