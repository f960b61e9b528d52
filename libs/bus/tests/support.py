"""What the bus's tests share: a database with the bus's tables and roles, background work, waiting, messages."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID, uuid4

import aiormq
import asyncpg
from aiormq.abc import AbstractChannel

from bus.connection import Broker
from bus.consumer import Consumer, run_consumer
from bus.outbox import Connection
from bus.relay import run_relay
from contracts.mailer import EmailSent

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Pool: TypeAlias = asyncpg.Pool

SCHEMA = "bustest"
PASSWORD = "bus-test"


class BusDatabase:
    """Pools of the service's three roles, which hold the grants of schema.sql and no more."""

    def __init__(self, url: str, app: Pool, relay: Pool, platform: Pool) -> None:
        self.url = url
        self.app = app
        self.relay = relay
        self.platform = platform

    @asynccontextmanager
    async def transaction(self, tenant_id: UUID | None) -> AsyncIterator[Connection]:
        pool = self.platform if tenant_id is None else self.app
        async with pool.acquire() as conn, conn.transaction():
            yield conn

    async def value(self, query: str, *arguments: object) -> Any:
        return await self.platform.fetchval(query, *arguments)


def role_url(url: str, role: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(PASSWORD)}@{host}"))


async def install(url: str) -> None:
    owner = await asyncpg.connect(url)
    try:
        for role in ("app", "relay", "platform"):
            if not await owner.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", f"{SCHEMA}_{role}"):
                await owner.execute(f"CREATE ROLE {SCHEMA}_{role} LOGIN PASSWORD '{PASSWORD}'")
        roles = f"{SCHEMA}_app, {SCHEMA}_relay, {SCHEMA}_platform"
        await owner.execute(f"CREATE SCHEMA {SCHEMA}; GRANT USAGE ON SCHEMA {SCHEMA} TO {roles}")
        await owner.execute(f"SET search_path = {SCHEMA}")
        schema = (files("bus") / "schema.sql").read_text()
        await owner.execute(schema)
        await owner.execute(schema)  # It may be run again.
        await owner.execute("CREATE TABLE effects (id text NOT NULL, what text NOT NULL DEFAULT '')")
        await owner.execute(f"GRANT ALL ON effects TO {roles}")
    finally:
        await owner.close()


async def open_pools(url: str, stack: AsyncExitStack) -> BusDatabase:
    pools: list[Pool] = [
        await stack.enter_async_context(
            asyncpg.create_pool(
                role_url(url, f"{SCHEMA}_{role}"),
                min_size=0,
                max_size=12,
                server_settings={"search_path": SCHEMA},
            )
        )
        for role in ("app", "relay", "platform")
    ]
    return BusDatabase(url, *pools)


class Background:
    """Relays and consumers in the background, stopped in the end as a service stops them."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def relay(self, database: BusDatabase, broker: Broker, **options: Any) -> None:
        self._tasks.append(asyncio.create_task(run_relay(database.relay, broker, stopping=self.stopping, **options)))

    def consumer(self, database: BusDatabase, broker: Broker, consumer: Consumer, **options: Any) -> None:
        self._tasks.append(
            asyncio.create_task(
                run_consumer(broker, consumer, transaction=database.transaction, stopping=self.stopping, **options)
            )
        )

    async def stop(self) -> None:
        self.stopping.set()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.stopping = asyncio.Event()
        errors = [result for result in done if isinstance(result, BaseException)]
        assert not errors, errors


async def eventually(condition: Callable[[], Awaitable[object]], *, within_s: float = 60.0) -> None:
    """Waits until `condition` holds; fails with its last value. Patient, since the machine may be busy with others."""
    give_up_at = time.monotonic() + within_s
    while not (value := await condition()):
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {value!r}"
        await asyncio.sleep(0.03)


def sent(**fields: Any) -> EmailSent:
    """An event of which only its identity matters."""
    values: dict[str, Any] = {
        "email_id": uuid4(),
        "tenant_id": UUID(int=7),
        "template": "welcome",
        "message_id": "<x@y>",
        "attempts": 1,
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return EmailSent(**values | fields)


async def count_of(channel: AbstractChannel, queue: str) -> int:
    """Messages that wait in `queue`."""
    declared = await channel.queue_declare(queue, passive=True)
    return declared.message_count or 0


async def publish(channel: AbstractChannel, queue: str, body: bytes, **properties: Any) -> None:
    await channel.basic_publish(
        body, routing_key=queue, mandatory=True, properties=aiormq.spec.Basic.Properties(delivery_mode=2, **properties)
    )


def bodies(messages: Sequence[Any]) -> list[bytes]:
    return [message.body for message in messages]


class Signalled:
    """Signals that are counted."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.dead_queues: list[str] = []
        self.confirmed = 0
        self.failed = 0

    def published(self, count: int) -> None:
        self.confirmed += count

    def publish_failed(self, count: int) -> None:
        self.failed += count

    def handled(self, queue: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def backlog(self, rows: int, oldest_s: float) -> None:
        pass

    def dead(self, queue: str) -> None:
        self.dead_queues.append(queue)
