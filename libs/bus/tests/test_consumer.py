"""Consumers: every message ends as done, retried or dead; its effect is had once; nothing is counted unjustly."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from aiormq.abc import AbstractChannel

from bus import settlement
from bus.connection import Broker
from bus.consumer import Consumer, Handler, Incoming, event_consumer
from bus.dead_letters import collector
from bus.envelope import Envelope, encode_event
from bus.failures import is_transient
from bus.outbox import Connection
from contracts.errors import Invalid, Unavailable
from contracts.mailer import EmailSent

from .support import Background, BusDatabase, Signalled, count_of, eventually, publish, sent

QUICK = (0.1, 0.2, 0.3)


async def effects(database: BusDatabase, what: str | None = None) -> int:
    return int(await database.value("SELECT count(*) FROM effects WHERE $1::text IS NULL OR what = $1", what))


async def letters(database: BusDatabase) -> int:
    return int(await database.value("SELECT count(*) FROM dead_letters"))


async def record(conn: Connection, event: EmailSent, envelope: Envelope) -> None:
    await conn.execute("INSERT INTO effects (id, what) VALUES ($1, $2)", str(envelope.id), event.template)


def wire(event: EmailSent | None = None, event_id: UUID | None = None, **changes: Any) -> bytes:
    """An event as it is on the wire, with parts of its envelope changed."""
    event = event or sent()
    raw = encode_event(
        event,
        event_id=event_id or uuid4(),
        tenant_id=event.tenant_id,
        subject=None,
        time=event.occurred_at,
        traceparent=None,
        source="/mailer",
    )
    return msgspec.json.encode(msgspec.json.decode(raw) | changes) if changes else raw


async def ready(channel: AbstractChannel, queue: str, consumers: int = 1) -> None:
    """Waits until that many consumers are attached to `queue` (whose absence would close the channel)."""

    async def attached() -> bool:
        probe = await channel.connection.channel(publisher_confirms=False)
        try:
            return (await probe.queue_declare(queue, passive=True)).consumer_count == consumers
        except Exception:
            return False
        finally:
            if not probe.is_closed:
                await probe.close()

    await eventually(attached)


async def test_an_event_reaches_its_handler_through_the_bindings(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    consumer = event_consumer(unique_name, (Handler(EmailSent, record),), database.transaction)
    background.consumer(database, broker, consumer)
    await ready(channel, unique_name)
    event_id = uuid4()
    await channel.basic_publish(
        wire(event_id=event_id), exchange="mailer.events", routing_key="mailer.email.sent.v1", mandatory=True
    )
    await eventually(lambda: database.value("SELECT count(*) FROM effects WHERE id = $1", str(event_id)))
    await eventually(lambda: database.value("SELECT count(*) = 0 FROM deliveries"))
    assert await count_of(channel, unique_name) == 0


@pytest.mark.parametrize(
    ("headers", "version"), [({"x-version": 7}, 7), ({}, None), ({"x-version": "7"}, None), ({"x-version": True}, None)]
)
async def test_a_handler_sees_the_version_of_what_is_told(
    database: BusDatabase,
    broker: Broker,
    background: Background,
    channel: AbstractChannel,
    unique_name: str,
    headers: dict[str, Any],
    version: int | None,
) -> None:
    seen: list[int | None] = []
    handled = asyncio.Event()

    async def handle(conn: Connection, event: EmailSent, envelope: Envelope) -> None:
        seen.append(envelope.version)
        handled.set()

    background.consumer(
        database, broker, event_consumer(unique_name, (Handler(EmailSent, handle),), database.transaction)
    )
    await ready(channel, unique_name)
    await publish(channel, unique_name, wire(), headers=headers)
    await asyncio.wait_for(handled.wait(), 10)
    assert seen == [version]


def test_two_handlers_for_one_event_are_refused(database: BusDatabase) -> None:
    with pytest.raises(ValueError, match="two handlers"):
        event_consumer("x", (Handler(EmailSent, record), Handler(EmailSent, record)), database.transaction)


async def test_five_deliveries_to_four_consumers_have_one_effect(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    consumer = event_consumer(unique_name, (Handler(EmailSent, record),), database.transaction)
    for _ in range(4):
        background.consumer(database, broker, consumer)
    await ready(channel, unique_name, consumers=4)
    messages = [(uuid4(), sent()) for _ in range(60)]
    await asyncio.gather(
        *(
            publish(channel, unique_name, wire(event, event_id), message_id=str(event_id))
            for _ in range(5)
            for event_id, event in messages
        )
    )

    async def drained() -> bool:
        return await effects(database) >= 60 and await database.value("SELECT count(*) = 0 FROM deliveries")

    await eventually(drained)
    await eventually(lambda: database.value("SELECT count(DISTINCT id) = 60 FROM effects"))
    await background.stop()
    assert await effects(database) == 60
    # Having a message in hand twice is no death.
    assert await count_of(channel, f"{unique_name}.dead") == 0
    assert await count_of(channel, unique_name) == 0


async def test_poison_of_ten_kinds_is_dead_at_once_and_the_rest_flows(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    async def handle(conn: Connection, event: EmailSent, envelope: Envelope) -> None:
        match event.template:
            case "invalid":
                raise Invalid("No such plan.")
            case "bug":
                raise KeyError("plan")
            case "sql":
                await conn.execute("SELECT 1 / 0")
        await record(conn, event, envelope)

    poison = [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"specversion":"1.0"}',
        wire(specversion="0.3"),
        wire(id="not-a-uuid"),
        wire(type="mailer.email.sent.v9"),
        wire(data={"type": "mailer.email.sent.v1", "email_id": 7}),
        wire(sent(template="invalid")),
        wire(sent(template="bug")),
        wire(sent(template="sql")),
    ]
    consumer = event_consumer(unique_name, (Handler(EmailSent, handle),), database.transaction, delays_s=QUICK)
    background.consumer(database, broker, consumer)
    background.consumer(database, broker, collector(unique_name, database.transaction))
    await ready(channel, unique_name)
    for number, body in enumerate(poison):
        await publish(channel, unique_name, body, message_id=f"poison-{number}", headers={"x-attempts": "many"})
        await publish(channel, unique_name, wire())

    async def all_ended() -> bool:
        return (await letters(database), await effects(database)) == (len(poison), len(poison))

    await eventually(all_ended)
    rows = await database.platform.fetch("SELECT * FROM dead_letters ORDER BY length(message_id), message_id")
    reasons = [row["reason"] for row in rows]
    assert all(reason.startswith("Malformed: ") for reason in reasons[:8])
    assert reasons[8:10] == ["Invalid: No such plan.", "KeyError: 'plan'"]
    assert reasons[10].startswith("DivisionByZeroError: ")
    assert {row["attempts"] for row in rows} == {1}
    assert len({row["stack_hash"] for row in rows[8:]}) == 3
    assert [bytes(row["body"]) for row in rows] == poison


async def test_a_passing_failure_is_tried_five_times_and_no_more(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    tries: dict[str, list[int]] = {}

    async def handle(messages: Sequence[Incoming]) -> None:
        for message in messages:
            tries.setdefault(str(message.message_id), []).append(message.attempts)
            if message.message_id == "never" or message.attempts < 2:
                raise Unavailable("The provider is away.")

    signals = Signalled()
    consumer = Consumer(queue=unique_name, handle=handle, max_batch=1, delays_s=QUICK)
    background.consumer(database, broker, consumer, signals=signals)
    background.consumer(database, broker, collector(unique_name, database.transaction))
    await ready(channel, unique_name)
    await publish(channel, unique_name, b"{}", message_id="never", headers={"kept": "yes"})
    await publish(channel, unique_name, b"{}", message_id="third-time")
    await eventually(lambda: letters(database))
    await background.stop()
    assert tries == {"never": [0, 1, 2, 3, 4], "third-time": [0, 1, 2]}
    row = await database.platform.fetchrow("SELECT * FROM dead_letters")
    assert row is not None
    assert (row["message_id"], row["attempts"]) == ("never", 5)
    assert row["reason"] == "gave up after 5 attempts: Unavailable: The provider is away."
    assert msgspec.json.decode(row["headers"])["kept"] == "yes"
    assert signals.outcomes == {"retried": 6, "done": 1, "dead": 1}
    assert await database.value("SELECT count(*) FROM deliveries") == 0


async def test_one_bad_message_in_a_batch_does_not_harm_the_others(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    sizes: list[int] = []

    async def handle(messages: Sequence[Incoming]) -> None:
        sizes.append(len(messages))
        async with database.transaction(None) as conn:
            for message in messages:
                if message.body == b"bad":
                    raise Invalid("No.")
                await conn.execute("INSERT INTO effects (id) VALUES ($1)", message.message_id)

    await channel.queue_declare(unique_name, durable=True)
    for number in range(100):
        await publish(channel, unique_name, b"bad" if number == 50 else b"good", message_id=f"m{number}")
    consumer = Consumer(queue=unique_name, handle=handle, foreign=True)
    background.consumer(database, broker, consumer)

    async def others() -> bool:
        return await effects(database) == 99 and await database.value("SELECT count(*) = 0 FROM deliveries")

    await eventually(others)
    await background.stop()
    assert await database.value("SELECT count(DISTINCT id) FROM effects") == 99
    assert await count_of(channel, f"{unique_name}.dead") == 1
    assert await count_of(channel, unique_name) == 0
    assert max(sizes) > 10


async def test_a_foreign_queue_is_taken_as_its_owner_made_it(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    handled: list[bytes] = []

    async def handle(messages: Sequence[Incoming]) -> None:
        handled.extend(message.body for message in messages)

    # Arguments that we would never give: declaring it again with ours is refused on both brokers.
    await channel.queue_declare(unique_name, durable=True, arguments={"x-max-length": 5000})
    background.consumer(database, broker, Consumer(queue=unique_name, handle=handle, foreign=True))
    background.consumer(database, broker, Consumer(queue=f"{unique_name}.absent", handle=handle, foreign=True))
    await ready(channel, unique_name)
    await ready(channel, f"{unique_name}.absent")
    await publish(channel, unique_name, b"one")
    await publish(channel, f"{unique_name}.absent", b"two")

    async def both() -> bool:
        return sorted(handled) == [b"one", b"two"]

    await eventually(both)
    # Durable and without arguments, as the Go core would declare it.
    await channel.queue_declare(f"{unique_name}.absent", durable=True)


async def test_an_outage_of_the_own_database_uses_up_no_attempts(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    away = asyncio.Event()
    seen: list[int] = []

    async def handle(messages: Sequence[Incoming]) -> None:
        seen.extend(message.attempts for message in messages)
        if away.is_set():
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        async with database.transaction(None) as conn:
            await conn.executemany("INSERT INTO effects (id) VALUES ($1)", [(m.message_id,) for m in messages])

    async def answers(transaction: settlement.Transaction) -> bool:
        return not away.is_set()

    monkeypatch.setattr(settlement, "database_answers", answers)
    monkeypatch.setattr("bus.consumer.database_answers", answers)
    away.set()
    background.consumer(database, broker, Consumer(queue=unique_name, handle=handle, delays_s=QUICK))
    await ready(channel, unique_name)
    for number in range(5):
        await publish(channel, unique_name, b"{}", message_id=f"m{number}")
    await asyncio.sleep(1.5)
    tried_during_outage = len(seen)
    away.clear()

    async def done() -> bool:
        return await effects(database) == 5

    await eventually(done)
    await background.stop()
    assert tried_during_outage <= 10
    assert set(seen) == {0}
    assert await database.value("SELECT count(*) FROM deliveries") == 0
    assert await count_of(channel, f"{unique_name}.dead") == 0


async def test_stopping_finishes_what_is_in_hand_and_gives_back_the_rest(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    begun = asyncio.Event()
    finished: list[bytes] = []

    async def handle(messages: Sequence[Incoming]) -> None:
        begun.set()
        await asyncio.sleep(0.5)
        finished.extend(message.body for message in messages)

    consumer = Consumer(queue=unique_name, handle=handle, max_batch=1, prefetch=1)
    background.consumer(database, broker, consumer)
    await ready(channel, unique_name)
    for number in range(5):
        await publish(channel, unique_name, b"%d" % number)
    await begun.wait()
    started_at = time.monotonic()
    await background.stop()
    assert time.monotonic() - started_at < 5
    assert finished == [b"0"]
    assert await count_of(channel, unique_name) == 4
    assert await database.value("SELECT count(*) FROM deliveries") == 0


async def test_new_queues_are_attached_to_without_the_loss_of_a_connection(
    database: BusDatabase, broker: Broker, background: Background, unique_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each dead queue is declared from two sides; the broker may tell the second that it is there before it is."""
    caplog.set_level(logging.INFO, "bus")

    async def handle(messages: Sequence[Incoming]) -> None:
        """Nothing comes."""

    names = [f"{unique_name}-{number}" for number in range(8)]
    for name in names:
        background.consumer(database, broker, Consumer(queue=name, handle=handle))
        background.consumer(database, broker, collector(name, database.transaction))

    async def attached() -> bool:
        return sum("attached" in line for line in caplog.messages) >= 2 * len(names)

    await eventually(attached)
    assert not [line for line in caplog.messages if "lost" in line]


async def test_a_deleted_queue_is_made_and_consumed_again(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    consumer = event_consumer(unique_name, (Handler(EmailSent, record),), database.transaction)
    background.consumer(database, broker, consumer)
    await ready(channel, unique_name)
    await channel.queue_delete(unique_name)
    await ready(channel, unique_name)
    await publish(channel, unique_name, wire())
    await eventually(partial(effects, database))


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (Unavailable("away"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), True),
        (asyncpg.DataError("invalid input for query argument"), False),
        (asyncpg.exceptions.DeadlockDetectedError("x"), True),
        (asyncpg.UniqueViolationError("x"), False),
        (Invalid("no"), False),
        (KeyError("x"), False),
    ],
)
def test_only_passing_failures_are_retried(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient
