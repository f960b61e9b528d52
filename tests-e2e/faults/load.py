"""The two kinds of clients: a Go core that publishes mail jobs, and browsers that write through the gateway."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel, AbstractConnection

from testkit.ledger import Ledger

CLIENTS = 16
QUEUE = "mail_queue"


@dataclass(frozen=True)
class Job:
    """One mail to be asked for. `key` is its identity and the word that tells its mail from all others."""

    key: str
    tenant_id: str
    to: str
    template: str = "fault"

    def body(self) -> bytes:
        """The canonical job."""
        return json.dumps(
            {
                "to": self.to,
                "template": self.template,
                "variables": {"marker": self.key},
                "tenant_id": self.tenant_id,
                "idempotency_key": self.key,
            }
        ).encode()


def jobs(row: str, count: int, tenants: Sequence[str], *, seed: int) -> list[Job]:
    """`count` different jobs, spread evenly over the tenants."""
    return [
        Job(key=f"{row}-{seed}-{n}", tenant_id=tenants[n % len(tenants)], to=f"user{n}@{row.lower()}.example.org")
        for n in range(count)
    ]


class CoreConnection:
    """A plain AMQP client that reconnects by itself and publishes persistently with confirms, as the Go core does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def publish(
        self, body: bytes, *, message_id: str | None = None, queue: str = QUEUE, **properties: object
    ) -> None:
        """Return once the broker has confirmed. Raises whatever went wrong; the next call connects anew."""
        try:
            async with asyncio.timeout(5):
                channel = await self._open()
                await channel.default_exchange.publish(
                    aio_pika.Message(
                        body,
                        message_id=message_id,
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                        **properties,  # type: ignore[arg-type]
                    ),
                    routing_key=queue,
                    mandatory=True,
                )
        except BaseException:
            await self.close()
            raise

    async def waiting(self, queue: str) -> tuple[int, int]:
        """Messages ready and consumers attached. Raises when the queue does not exist."""
        try:
            async with asyncio.timeout(5):
                declared = (await (await self._open()).declare_queue(queue, passive=True)).declaration_result
        except BaseException:
            await self.close()
            raise
        return declared.message_count or 0, declared.consumer_count or 0

    async def close(self) -> None:
        """Drop the connection, whatever its state."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await connection.close()

    async def _open(self) -> AbstractChannel:
        if self._channel is None or self._channel.is_closed:
            await self.close()
            self._connection = await aio_pika.connect(self._url, timeout=4)
            self._channel = await self._connection.channel(publisher_confirms=True)
        return self._channel


@dataclass
class Published:
    """What the publishers did: `confirmed` are the promises given and when, `attempts` how often each was sent."""

    confirmed_at: dict[str, float] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)

    @property
    def confirmed(self) -> set[str]:
        """The keys that the broker took responsibility for."""
        return set(self.confirmed_at)


async def publish(
    url: str,
    work: Iterable[Job],
    *,
    per_s: float | None = None,
    copies: int = 1,
    clients: int = CLIENTS,
    ledger: Ledger | None = None,
) -> Published:
    """Publish every job until it is confirmed `copies` times, by concurrent clients, at a steady rate where given."""
    published = Published()
    source = _paced(work, per_s)

    async def client() -> None:
        connection = CoreConnection(url)
        try:
            for due, job in source:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                for _ in range(copies):
                    await _until_confirmed(connection, job, published, ledger)
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return published


async def _until_confirmed(connection: CoreConnection, job: Job, published: Published, ledger: Ledger | None) -> None:
    while True:
        published.attempts[job.key] += 1
        if ledger is not None:
            ledger.attempted(job.key)
        try:
            await connection.publish(job.body(), message_id=job.key)
        except Exception:  # any failure means the same to the core: not confirmed, send it again
            await asyncio.sleep(0.3)
        else:
            published.confirmed_at.setdefault(job.key, time.time())
            if ledger is not None:
                ledger.acknowledged(job.key)
            return


def _paced(work: Iterable[Job], per_s: float | None) -> Iterator[tuple[float, Job]]:
    began = time.monotonic()
    for number, job in enumerate(work):
        yield (began + number / per_s if per_s else 0.0), job


@dataclass
class Answers:
    """What HTTP clients saw; `broken` are connections that ended without an answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    created: dict[str, str] = field(default_factory=dict)
    times: list[tuple[float, int]] = field(default_factory=list)
    without_retry_after: int = 0
    refusals: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many requests were made."""
        return self.statuses.total() + self.broken.total()

    def share_2xx(self) -> float:
        """Between 0 and 1."""
        return sum(n for status, n in self.statuses.items() if 200 <= status < 300) / max(1, self.total)

    def quantile_s(self, share: float) -> float:
        """The latency that this share of answers did not exceed."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def first_2xx_after(self, moment: float) -> float | None:
        """Seconds from `moment` (time.monotonic) to the first success answered after it."""
        return min((at - moment for at, status in self.times if at >= moment and 200 <= status < 300), default=None)


@dataclass(frozen=True)
class Write:
    """One suppression to be added: a write with a natural key and an idempotency key."""

    key: str
    token: str
    tenant_id: str

    @property
    def address(self) -> str:
        """What the effect is found by."""
        return f"{self.key}@suppressed.example.org".lower()


async def write(
    base_url: str,
    work: Iterable[Write],
    answers: Answers,
    *,
    per_s: float | None = None,
    clients: int = CLIENTS,
    until_created: bool = True,
    retry_s: float = 0.3,
) -> None:
    """POST every write; with `until_created`, repeat it with the same key until it is answered 201."""
    source = _paced_writes(work, per_s)

    async def client() -> None:
        async with httpx.AsyncClient(base_url=base_url, timeout=15, trust_env=False) as http:
            for due, one in source:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await _post_until_created(http, one, answers, retry_s=retry_s if until_created else None)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())


async def _post_until_created(http: httpx.AsyncClient, one: Write, answers: Answers, *, retry_s: float | None) -> None:
    """One POST; repeated with the same key while the answer leaves open what happened, unless `retry_s` is None."""
    finished = await _post(http, one, answers)
    while not finished and retry_s is not None:
        await asyncio.sleep(retry_s)
        finished = await _post(http, one, answers)


async def _post(http: httpx.AsyncClient, one: Write, answers: Answers) -> bool:
    began = time.monotonic()
    try:
        answer = await http.post(
            "/suppressions",
            json={"email": one.address, "detail": "fault trial"},
            headers={"Authorization": f"Bearer {one.token}", "Idempotency-Key": one.key},
        )
    except httpx.HTTPError as error:
        answers.broken[type(error).__name__] += 1
        return False
    now = time.monotonic()
    answers.seconds.append(now - began)
    answers.statuses[answer.status_code] += 1
    answers.times.append((now, answer.status_code))
    if answer.status_code == 503 and "retry-after" not in answer.headers:
        answers.without_retry_after += 1
    if answer.is_success:
        answers.created[one.key] = answer.json()["id"]
    return answer.is_success or (400 <= answer.status_code < 500 and answer.status_code not in (408, 409, 429))


def _paced_writes(work: Iterable[Write], per_s: float | None) -> Iterator[tuple[float, Write]]:
    began = time.monotonic()
    for number, one in enumerate(work):
        yield (began + number / per_s if per_s else 0.0), one
