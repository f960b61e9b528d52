"""What came out of the product: mails at the SMTP server, delivery events on the exchange, rows in the database."""

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from uuid import UUID

import aio_pika
import aiormq
import asyncpg

from bus.topology import declare_exchange

EVENTS_EXCHANGE = "mailer.events"
OBSERVER = "fault-trials"


@dataclass(frozen=True)
class Mail:
    """One acceptance by the SMTP server."""

    marker: str
    tenant: str
    message_id: str
    at: float


@dataclass
class Events:
    """A consumer as any service has one: it sees every delivery event, and absorbs copies by their id."""

    url: str
    by_email: dict[tuple[UUID, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    deliveries: int = 0
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Declare the observer's durable queue and consume it until `stop`, whatever happens to the broker."""
        await self._declare()
        self._task = asyncio.create_task(self._consume())

    async def stop(self) -> None:
        """End the consumer."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _declare(self) -> None:
        raw = await aiormq.connect(self.url)
        await declare_exchange(raw, EVENTS_EXCHANGE)
        await raw.close()
        async with await aio_pika.connect(self.url, timeout=4) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(OBSERVER, durable=True)
            await queue.bind(EVENTS_EXCHANGE, "#")

    async def _consume(self) -> None:
        while True:
            try:
                await self._declare()
                async with await aio_pika.connect(self.url, timeout=4) as connection:
                    channel = await connection.channel()
                    await channel.set_qos(prefetch_count=100)
                    queue = await channel.get_queue(OBSERVER)
                    async with queue.iterator() as messages:
                        async for message in messages:
                            self._take(message.body)
                            await message.ack()
            except Exception:  # the broker is being tormented: whatever it was, come back
                await asyncio.sleep(0.3)

    def _take(self, body: bytes) -> None:
        envelope = json.loads(body)
        if "email_id" not in envelope["data"]:
            return  # a record of what somebody changed, no mail's fate
        self.deliveries += 1
        self.by_email[UUID(envelope["data"]["email_id"]), envelope["type"]].add(envelope["id"])


class Database:
    """What the product stored, read past it: as the superuser, not through a proxy."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement, on a connection of its own: the server is restarted at will."""
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def unfinished(self) -> dict[str, int]:
        """What still waits: mails without an end, events not yet published. Deferred mails wait by design."""
        rows = await self.fetch(
            "SELECT (SELECT count(*) FROM mailer.emails WHERE status IN ('queued', 'sending')) AS mails,"
            " (SELECT count(*) FROM mailer.outbox WHERE published_at IS NULL) AS events"
        )
        return dict(rows[0])

    async def email_states(self, addresses_like: str) -> dict[str, int]:
        """How many mails to such addresses are in which state."""
        rows = await self.fetch(
            "SELECT status, count(*) AS n FROM mailer.emails WHERE to_email LIKE $1 GROUP BY status", addresses_like
        )
        return {row["status"]: row["n"] for row in rows}

    async def idle_in_transaction(self, longer_than_s: float) -> int:
        """Sessions of the product that keep a transaction open without working."""
        rows = await self.fetch(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE usename LIKE 'mailer%'"
            " AND state LIKE 'idle in transaction%' AND now() - state_change > make_interval(secs => $1)",
            longer_than_s,
        )
        return int(rows[0]["n"])

    async def sessions(self) -> int:
        """How many connections the mailer holds."""
        rows = await self.fetch("SELECT count(*) AS n FROM pg_stat_activity WHERE usename LIKE 'mailer%'")
        return int(rows[0]["n"])

    async def accepting(self, *, timeout_s: float = 60) -> float:
        """Wait until the server lets sessions in; returns that moment. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                    await self.fetch("SELECT 1")
                    return time.monotonic()
                await asyncio.sleep(0.05)
