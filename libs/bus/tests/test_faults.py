"""The bus under faults: processes that die, brokers that restart or lose everything, networks that go silent."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import aiormq
import asyncpg
import pytest
from aiormq.abc import AbstractChannel

from bus import deliveries, link, settlement
from bus import relay as relay_module
from bus.connection import Broker
from bus.consumer import Consumer, Handler, Incoming, event_consumer
from bus.envelope import Envelope
from bus.messages import Outgoing
from bus.outbox import Connection, republish, tell
from bus.relay import run_relay
from contracts.mailer import EmailSent
from testkit.embedded.broker import EmbeddedBroker
from testkit.fault_modes import Blackhole, Pass, Rate
from testkit.fault_proxy import FaultProxy

from .support import SCHEMA, Background, BusDatabase, eventually, publish, role_url, sent

TENANT = UUID(int=7)
MORTAL = Path(__file__).with_name("mortal_consumer.py")


@pytest.fixture
async def proxy(broker_url: str) -> AsyncIterator[FaultProxy]:
    parts = urlsplit(broker_url)
    proxy = FaultProxy(str(parts.hostname), int(parts.port or 5672))
    await proxy.start()
    yield proxy
    await proxy.stop()


def through(proxy: FaultProxy, url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"))


async def record(conn: Connection, event: EmailSent, envelope: Envelope) -> None:
    await conn.execute("INSERT INTO effects (id) VALUES ($1)", str(envelope.id))


async def test_a_message_that_kills_is_shut_away_after_three_deaths(
    database: BusDatabase, channel: AbstractChannel, broker_url: str, unique_name: str
) -> None:
    await channel.queue_declare(unique_name, durable=True)
    for number in range(30):
        await publish(channel, unique_name, b"kill" if number == 10 else b"good", message_id=f"m{number}")
    deaths = 0

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(MORTAL), role_url(database.url, f"{SCHEMA}_platform"), broker_url, unique_name
        )

    process = await start()

    async def all_ended() -> bool:
        nonlocal deaths, process
        if process.returncode is not None:
            assert process.returncode == 9
            deaths += 1
            process = await start()
        ended = "SELECT (SELECT count(DISTINCT id) FROM effects) = 29 AND (SELECT count(*) FROM dead_letters) = 1"
        return bool(await database.value(ended))

    try:
        await eventually(all_ended)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert deaths == 3
    row = await database.platform.fetchrow("SELECT message_id, reason FROM dead_letters")
    assert row is not None
    assert tuple(row) == ("m10", "process died 3 times")
    assert await database.value("SELECT count(*) FROM effects") == 29


async def test_a_broker_that_restarts_or_loses_everything_loses_no_event(
    database: BusDatabase, private_broker: EmbeddedBroker
) -> None:
    broker = Broker(private_broker.url)
    await broker.start()
    background = Background()
    background.relay(database, broker)
    consumer = event_consumer("listener", (Handler(EmailSent, record),), database.transaction)
    for _ in range(2):
        background.consumer(database, broker, consumer)

    async def tell_some(count: int) -> None:
        for _ in range(count):
            async with database.transaction(TENANT) as conn:
                await tell(conn, sent(), tenant_id=TENANT, aggregate_id=uuid4())
            await asyncio.sleep(0.005)

    async def consumers() -> int:
        connection = await aiormq.connect(private_broker.url)
        try:
            channel = await connection.channel()
            return (await channel.queue_declare("listener", passive=True)).consumer_count or 0
        finally:
            await connection.close()

    async def attached() -> bool:
        try:
            return await consumers() == 2
        except (OSError, aiormq.exceptions.AMQPError):
            return False

    async def effects(count: int) -> bool:
        return bool(await database.value("SELECT count(*) = $1 FROM effects", count))

    try:
        await eventually(attached)
        telling = asyncio.create_task(tell_some(400))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(private_broker.crash)
        await asyncio.to_thread(private_broker.start)
        await telling
        await eventually(attached)
        await eventually(partial(effects, 400))

        await asyncio.to_thread(private_broker.wipe)
        await asyncio.to_thread(private_broker.start)
        await eventually(attached)
        # What had been published is gone with the broker's disk: had it not been handled, it would be sent again.
        await database.value("DELETE FROM inbox WHERE ctid IN (SELECT ctid FROM inbox LIMIT 50)")
        async with database.relay.acquire() as relay:
            before = await relay.fetchval("SELECT min(published_at) FROM outbox")
            assert await republish(relay, since=before) == 400
        await eventually(partial(effects, 450))
        await eventually(lambda: database.value("SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL"))
        assert await database.value("SELECT count(*) FROM effects") == 450
    finally:
        await background.stop()
        await broker.close()


async def test_a_silent_network_is_noticed_and_publishing_never_hangs(
    database: BusDatabase, broker_url: str, proxy: FaultProxy, channel: AbstractChannel, unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert link.PROBE_EVERY_S + link.PROBE_TIMEOUT_S <= 20
    monkeypatch.setattr(link, "PROBE_EVERY_S", 0.3)
    monkeypatch.setattr(link, "PROBE_TIMEOUT_S", 0.7)
    monkeypatch.setattr(link, "CONNECT_TIMEOUT_S", 1.0)
    handled: list[str | None] = []

    async def handle(messages: Sequence[Incoming]) -> None:
        handled.extend(message.message_id for message in messages)

    await channel.queue_declare(unique_name, durable=True)
    broker = Broker(through(proxy, broker_url))
    await broker.start()
    background = Background()
    background.consumer(database, broker, Consumer(queue=unique_name, handle=handle, foreign=True))
    try:
        await broker.publish(Outgoing(exchange="", routing_key=unique_name, body=b"", message_id="before"))

        async def arrived(message_id: str) -> bool:
            return message_id in handled

        await eventually(partial(arrived, "before"))
        await proxy.become(Blackhole())
        started_at = time.monotonic()
        outcomes = await broker.publish_batch(
            [
                Outgoing(exchange="", routing_key=unique_name, body=b"x" * 100_000, message_id=f"d{n}")
                for n in range(300)
            ],
            timeout_s=2,
        )
        assert time.monotonic() - started_at < 10
        assert len(outcomes) == 300
        assert None not in outcomes

        async def noticed() -> bool:
            return not broker.connected

        await eventually(noticed)
        # Meanwhile the healthy side of the world goes on, and finds the consumer again afterwards.
        await publish(channel, unique_name, b"", message_id="during")
        await proxy.become(Pass())
        await eventually(partial(arrived, "during"))
        await broker.publish(Outgoing(exchange="", routing_key=unique_name, body=b"", message_id="after"))
        await eventually(partial(arrived, "after"))
    finally:
        started_at = time.monotonic()
        await background.stop()
        await broker.close()
        assert time.monotonic() - started_at < 20


async def test_closing_does_not_wait_for_a_silent_broker(broker_url: str, proxy: FaultProxy) -> None:
    broker = Broker(through(proxy, broker_url))
    await broker.start()
    assert await broker.ready_to_publish(10)
    await proxy.become(Blackhole())
    started_at = time.monotonic()
    await broker.close()
    assert time.monotonic() - started_at < 10


async def test_a_slow_line_delivers_all_the_same(
    broker_url: str, proxy: FaultProxy, channel: AbstractChannel, unique_name: str
) -> None:
    await channel.queue_declare(unique_name, durable=True)
    broker = Broker(through(proxy, broker_url))
    await broker.start()
    assert await broker.ready_to_publish(10)
    await proxy.become(Rate(50))
    messages = [Outgoing(exchange="", routing_key=unique_name, body=b"x" * 500) for _ in range(100)]
    assert await broker.publish_batch(messages) == [None] * 100
    await broker.close()
    await channel.queue_delete(unique_name)


async def test_lost_database_sessions_are_no_deaths(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    # The handler's session is ended under it, four times for each message: more than a killer is allowed.
    ended: dict[str | None, int] = {}

    async def handle(messages: Sequence[Incoming]) -> None:
        (message,) = messages
        async with database.transaction(None) as conn:
            await conn.execute("INSERT INTO effects (id) VALUES ($1)", message.message_id)
            if ended.setdefault(message.message_id, 0) < 4:
                ended[message.message_id] += 1
                owner = await asyncpg.connect(database.url)
                await owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bustest_platform'"
                )
                await owner.close()

    consumer = Consumer(queue=unique_name, handle=handle, foreign=True, max_batch=1, delays_s=(0.05,), concurrency=1)
    background.consumer(database, broker, consumer)
    await channel.queue_declare(unique_name, durable=True)
    for number in range(3):
        await publish(channel, unique_name, b"", message_id=f"m{number}")
    # Asked by another role: the platform's sessions are the ones that end.
    await eventually(lambda: database.app.fetchval("SELECT count(DISTINCT id) = 3 FROM effects"))


async def test_a_living_consumer_counts_no_death_of_its_own(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # The session that took the message in hand ends, and so do the first that were to put it down again.
    tries = 0
    failing = 3

    async def handle(messages: Sequence[Incoming]) -> None:
        nonlocal tries
        tries += 1
        if tries <= 2:
            await end_sessions()
            raise asyncpg.ConnectionDoesNotExistError("the session ended")

    async def end_sessions() -> None:
        owner = await asyncpg.connect(database.url)
        await owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bustest_platform'")
        await owner.close()

    async def forget(conn: Connection, queue: str, keys: Sequence[bytes]) -> None:
        nonlocal failing
        if failing:
            failing -= 1
            raise asyncpg.ConnectionDoesNotExistError("the session ended")
        seen.append(await conn.fetchval("SELECT max(deaths) FROM deliveries"))
        await really_forget(conn, queue, keys)

    async def answers_nobody(transaction: settlement.Transaction) -> bool:
        return False

    seen: list[int] = []
    really_forget = deliveries.forget
    monkeypatch.setattr(settlement, "database_answers", answers_nobody)
    monkeypatch.setattr(deliveries, "forget", forget)
    await channel.queue_declare(unique_name, durable=True)
    await publish(channel, unique_name, b"", message_id="m")
    background.consumer(database, broker, Consumer(queue=unique_name, handle=handle, foreign=True))

    async def done() -> bool:
        return tries == 3 and len(seen) == 3

    await eventually(done)
    assert seen == [0, 0, 0]


@pytest.mark.parametrize("kind", [asyncpg.InternalClientError, asyncpg.InterfaceError, asyncpg.AdminShutdownError])
async def test_a_relay_outlives_whatever_ends_its_statement(
    database: BusDatabase, broker: Broker, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    again = asyncio.Event()

    async def breaks_off(*_: object, **__: object) -> None:
        monkeypatch.setattr(relay_module, "relay_batch", comes_back)
        raise kind("in the midst of it")

    async def comes_back(*_: object, **__: object) -> None:
        again.set()

    monkeypatch.setattr(relay_module, "relay_batch", breaks_off)
    stopping = asyncio.Event()
    relay = asyncio.create_task(run_relay(database.relay, broker, stopping=stopping))
    waiting = asyncio.create_task(again.wait())
    await asyncio.wait({relay, waiting}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    stopping.set()
    await asyncio.wait_for(relay, 20)
    assert again.is_set()


async def test_a_relay_stops_at_once_after_its_sessions_were_ended(database: BusDatabase, broker: Broker) -> None:
    stopping = asyncio.Event()
    relay = asyncio.create_task(run_relay(database.relay, broker, stopping=stopping))
    owner = await asyncpg.connect(database.url)
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'bustest_relay'"
    listens = "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'bustest_relay' AND query LIKE 'LISTEN%'"
    await eventually(lambda: owner.fetchval(listens))
    await owner.fetchval(ended)
    await owner.close()
    await asyncio.sleep(0.2)
    stopping.set()
    await asyncio.wait_for(relay, 20)
