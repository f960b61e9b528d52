"""Starts and stops what a service is made of, in order, and waits for dependencies instead of crashing without them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry

from bus.connection import Broker
from bus.consumer import Consumer, Handler, event_consumer, run_consumer
from bus.dead_letters import collector
from bus.failures import DATABASE_FAILED
from bus.relay import run_relay
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.health import Health
from chassis.migrate import Migration, pending
from chassis.retention import purge_forever
from chassis.telemetry import Metrics
from contracts.errors import Unavailable

_RETRY_S = 1.0
_FIRST_TRY_S = 3.0
_LAST_WORDS_S = 1.0
_log = structlog.get_logger("chassis.lifecycle")


@dataclass(frozen=True)
class Runtime:
    """What long-running work is given; it ends soon after `stopping` is set."""

    db: Database
    broker: Broker
    clock: Clock
    signals: Metrics
    stopping: asyncio.Event
    registry: CollectorRegistry

    def transaction(self, tenant_id: UUID | None) -> AbstractAsyncContextManager[Connection]:
        """The transaction that a message is handled in: its tenant's, or the platform's when it names none."""
        return platform_transaction(self.db) if tenant_id is None else transaction(self.db, tenant_id)


Worker = Callable[[Runtime], Awaitable[None]]
Resource = Callable[[], AbstractAsyncContextManager[object]]


@dataclass
class Lifecycle:
    """One service's life: resources, database, migrations seen, broker, relay, consumers; then all of it backwards."""

    runtime: Runtime
    health: Health
    migrations: tuple[Migration, ...]
    resources: Sequence[Resource]
    handlers: Sequence[Handler]
    queues: Sequence[Callable[["Runtime"], Consumer]]
    workers: Sequence[Worker]
    on_ready: Sequence[Worker]
    works: bool
    grace_s: float
    started: bool = False
    _work: list[asyncio.Task[None]] = field(default_factory=list)
    _relay_stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _told_at: float | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Everything up within; a dependency that is away is waited for in the background.

        Raises RoleRefused when the database answers at once and the role is above row-level security.
        """
        async with AsyncExitStack() as stack:
            for resource in self.resources:
                await stack.enter_async_context(resource())
            watch = asyncio.create_task(self.runtime.signals.watch_loop())
            stack.callback(watch.cancel)
            stack.push_async_callback(self.runtime.db.close)
            stack.push_async_callback(self.runtime.broker.close)
            await self.runtime.broker.start()
            first = asyncio.create_task(self._start())
            stack.push_async_callback(self._stop, first)
            # The common case is over in milliseconds, and then the first request finds a ready service.
            await asyncio.wait([first], timeout=_FIRST_TRY_S)
            if first.done() and not first.cancelled() and (error := first.exception()):
                raise error
            first.add_done_callback(self._report)
            yield

    def stop_work(self) -> None:
        """Tells consumers and workers to finish what they have in hand; the relay goes on until they have."""
        if self._told_at is None:
            self._told_at = time.monotonic()
        self.runtime.stopping.set()

    async def missing(self) -> str | None:
        """The readiness check of the database: what it lacks, or None."""
        async with self.runtime.db.app.acquire(timeout=2) as connection:
            await connection.execute("SELECT 1")
        return None

    async def unmigrated(self) -> str | None:
        """The readiness check of the schema."""
        return "migrations pending" if await pending(self.runtime.db, self.migrations) else None

    async def broker_away(self) -> str | None:
        """Reported beside readiness, and no part of it: the outbox holds what cannot be published."""
        return None if self.runtime.broker.connected else "away"

    async def _start(self) -> None:
        await self._wait_for_database()
        for step in self.on_ready:
            await step(self.runtime)
        self.started = True
        if self.works:
            self._spawn("relay", self._run_relay())
            self._spawn("purge", purge_forever(self.runtime.db, self.runtime.stopping))
            for consumer in self._consumers():
                self._spawn(f"consumer {consumer.queue}", self._consume(consumer))
            for worker in self.workers:
                self._spawn(getattr(worker, "__name__", "worker"), worker(self.runtime))

    async def _wait_for_database(self) -> None:
        said = ""
        while True:
            try:
                await self.runtime.db.open()
                missing = await pending(self.runtime.db, self.migrations)
                if not missing:
                    return
                reason = f"migrations pending: {', '.join(missing)}"
            except (*DATABASE_FAILED, Unavailable) as error:
                reason = f"{type(error).__name__}: {error}"
            if reason != said:
                _log.warning("waiting for the database", service=self.runtime.db.service, reason=reason)
                said = reason
            await asyncio.sleep(_RETRY_S)

    def _consumers(self) -> list[Consumer]:
        consumers = [queue(self.runtime) for queue in self.queues]
        if self.handlers:
            consumers.append(event_consumer(self.runtime.db.service, self.handlers, self.runtime.transaction))
        return consumers + [collector(consumer.queue, self.runtime.transaction) for consumer in consumers]

    async def _consume(self, consumer: Consumer) -> None:
        runtime = self.runtime
        await run_consumer(
            runtime.broker,
            consumer,
            transaction=runtime.transaction,
            stopping=runtime.stopping,
            signals=runtime.signals,
        )

    async def _run_relay(self) -> None:
        broker, signals = self.runtime.broker, self.runtime.signals
        await run_relay(self.runtime.db.relay, broker, stopping=self._relay_stopping, signals=signals)

    def _spawn(self, name: str, work: Awaitable[None]) -> None:
        async def supervised() -> None:
            await work

        task = asyncio.create_task(supervised(), name=f"{self.runtime.db.service} {name}")
        task.add_done_callback(self._report)
        self._work.append(task)

    def _report(self, task: asyncio.Task[None]) -> None:
        """Work that ends with an error cannot be trusted to be done by anybody: the process ends, and is restarted."""
        if not task.cancelled() and (error := task.exception()):
            _log.critical("work failed", task=task.get_name(), exc_info=error)
            self.health.fail(error)

    async def _stop(self, first: asyncio.Task[None]) -> None:
        self.stop_work()
        assert self._told_at is not None
        # Work had its grace beside the last requests: both one after the other would be too long for who waits for us.
        left_s = max(_LAST_WORDS_S, self._told_at + self.grace_s - time.monotonic())
        first.cancel()
        relay = [task for task in self._work if task.get_name().endswith(" relay")]
        others = [task for task in self._work if task not in relay]
        await _finish([first, *others], left_s)
        self._relay_stopping.set()  # last, so that what they told is still published
        await _finish(relay, 6.0)


async def _finish(tasks: Sequence[asyncio.Task[None]], grace_s: float) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace_s)
    for task in late:
        _log.warning("work cut off", task=task.get_name())
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
