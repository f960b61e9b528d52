"""Dead letters: kept whatever they hold, found by filter, replayed under their own id, closed with a name."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiormq.abc import AbstractChannel

from bus import deliveries
from bus.connection import Broker
from bus.consumer import Consumer, Handler, event_consumer
from bus.dead_letters import Selection, collector, discard, insert, list_letters, purge, replay, show
from bus.envelope import Envelope, encode_event
from bus.messages import Incoming, message_key
from bus.outbox import TOMBSTONE, Connection, erase_body
from contracts.errors import Invalid, NotFound
from contracts.mailer import EmailSent

from .support import Background, BusDatabase, eventually, publish, sent


def dead(**fields: Any) -> Incoming:
    values: dict[str, Any] = {
        "queue": "work.dead",
        "body": b"{}",
        "delivery_tag": 1,
        "key": b"",
        "attempts": 5,
        "message_id": str(uuid4()),
        "headers": {"x-reason": "Invalid: no", "x-dead-letter-id": str(uuid4()), "x-stack-hash": "abcd"},
    }
    return Incoming(**values | fields)


async def test_a_replayed_poison_has_its_effect_once_after_the_fix(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    fixed = False

    async def handle(conn: Connection, event: EmailSent, envelope: Envelope) -> None:
        if not fixed:
            raise Invalid("Not yet.")
        await conn.execute("INSERT INTO effects (id) VALUES ($1)", str(envelope.id))

    consumer = event_consumer(unique_name, (Handler(EmailSent, handle),), database.transaction)
    background.consumer(database, broker, consumer)
    background.consumer(database, broker, collector(unique_name, database.transaction))
    ids = [uuid4() for _ in range(10)]

    await eventually(lambda: queue_exists(channel, unique_name))
    for event_id in ids:
        body = encode_event(
            sent(),
            event_id=event_id,
            tenant_id=UUID(int=7),
            subject=None,
            time=datetime.now(UTC),
            traceparent=None,
            source="/mailer",
        )
        await publish(channel, unique_name, body, message_id=str(event_id), app_id="core")
    await eventually(lambda: database.value("SELECT count(*) = 10 FROM dead_letters"))

    async with database.platform.acquire() as conn:
        (first, *others) = await list_letters(conn, Selection(queue=unique_name))
        assert (first.reason, first.attempts, first.producer, first.times) == ("Invalid: Not yet.", 1, "core", 1)
        assert (first.type, first.tenant_id) == ("mailer.email.sent.v1", UUID(int=7))
        # Replayed too early it dies again: the same letter, open again.
        assert (await replay(conn, broker, Selection(ids=(first.id,)), actor="ana")).sent == (first.id,)
        await eventually(lambda: database.value("SELECT count(*) FROM dead_letters WHERE times = 2"))
        again = (await show(conn, first.id)).letter
        assert (again.resolution, again.times) == (None, 2)
        fixed = True
        replayed = await replay(conn, broker, Selection(queue=unique_name), actor="ana", rate_per_s=200)
        assert set(replayed.sent) == {first.id, *(letter.id for letter in others)}
        assert replayed.failed == {}
        # Whoever replays twice finds nothing open.
        assert (await replay(conn, broker, Selection(queue=unique_name), actor="eve")).sent == ()
        (closed, *_) = await list_letters(conn, Selection(queue=unique_name, resolved=True))
        assert (closed.resolution, closed.resolved_by) == ("replayed", "ana")
        assert closed.resolved_at is not None
    await eventually(lambda: database.value("SELECT count(*) = 10 FROM effects"))
    rows = await database.platform.fetch("SELECT id FROM effects")
    assert sorted(row["id"] for row in rows) == sorted(map(str, ids))


async def test_a_replayed_letter_is_rid_of_the_deaths_that_it_was_buried_for(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    """The process that buried it may have died before it put the message down: then the count is still there."""

    async def handle(messages: Sequence[Incoming]) -> None:
        async with database.transaction(None) as conn:
            await conn.executemany("INSERT INTO effects (id) VALUES ($1)", [(one.body.decode(),) for one in messages])

    background.consumer(database, broker, Consumer(queue=unique_name, handle=handle))
    await eventually(lambda: queue_exists(channel, unique_name))
    background.consumer(database, broker, collector(unique_name, database.transaction))
    letters = {"named": b"a", None: b"b"}
    async with database.platform.acquire() as conn:
        await insert(
            conn, unique_name, [dead(queue=unique_name, message_id=name, body=body) for name, body in letters.items()]
        )
        keys = [message_key(name, body) for name, body in letters.items()]
        await deliveries.begin(conn, unique_name, keys)
        await conn.execute("UPDATE deliveries SET deaths = 3, holder_pid = NULL")
        assert len((await replay(conn, broker, Selection(), actor="ana")).sent) == 2
    await eventually(lambda: database.value("SELECT count(*) = 2 FROM effects"))


async def queue_exists(channel: AbstractChannel, queue: str) -> bool:
    probe = await channel.connection.channel(publisher_confirms=False)
    try:
        await probe.queue_declare(queue, passive=True)
    except Exception:
        return False
    await probe.close()
    return True


async def test_filters_narrow_and_discard_names_who(database: BusDatabase) -> None:
    tenant_id = UUID(int=9)
    enveloped = encode_event(
        sent(),
        event_id=uuid4(),
        tenant_id=tenant_id,
        subject=None,
        time=datetime.now(UTC),
        traceparent=None,
        source="/mailer",
    )
    async with database.platform.acquire() as conn:
        await insert(conn, "work", [dead(), dead(body=enveloped), dead(headers={"x-reason": "KeyError: 'plan'"})])
        await insert(conn, "other", [dead()])

        async def count(**fields: Any) -> int:
            return len(await list_letters(conn, Selection(**fields)))

        assert await count() == 4
        assert await count(queue="work") == 3
        assert await count(tenant_id=tenant_id) == 1
        assert await count(type="mailer.email.sent.v1") == 1
        assert await count(reason="KeyError") == 1
        assert await count(since=datetime.now(UTC) + timedelta(minutes=1)) == 0
        assert await count(limit=2) == 2
        gone = await discard(conn, Selection(reason="KeyError"), actor="bia")
        assert len(gone) == 1
        assert await count() == 3
        letter = (await show(conn, gone[0])).letter
        assert (letter.resolution, letter.resolved_by) == ("discarded", "bia")
        with pytest.raises(NotFound):
            await show(conn, uuid4())


async def test_a_letter_is_noted_once_however_often_it_is_delivered(database: BusDatabase) -> None:
    message = dead()
    unnamed = [dead(message_id=None, headers={"x-dead-letter-id": str(uuid4())}) for _ in range(2)]
    other_body = msgspec.structs.replace(message, body=b"[]")
    async with database.platform.acquire() as conn:
        for _ in range(2):
            await insert(conn, "work", [message, message, *unnamed, other_body])
        letters = await list_letters(conn, Selection())
    # Equal bodies without an id are two messages, and so are two bodies under one id.
    assert len(letters) == 4
    assert {letter.times for letter in letters} == {1}


async def test_whatever_a_message_holds_is_kept(database: BusDatabase) -> None:
    hostile: dict[str, Any] = {
        "x-reason": 7,
        "x-dead-letter-id": "no uuid",
        "x-stack-hash": None,
        "nul": "a\x00b",
        "bytes": b"\xff\x00",
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "nested": {"list": [1, 2.5, {"deep": b"x"}]},
        "nan": float("nan"),
    }
    body = b"\x00\xff" * 100
    message = dead(message_id="nul\x00id", app_id="\x00", content_type="a\x00", headers=hostile, body=body)
    async with database.platform.acquire() as conn:
        await insert(conn, "work", [message])
        (letter,) = await list_letters(conn, Selection())
        content = await show(conn, letter.id)
    assert letter.reason == "the broker gave up on it"
    assert letter.message_id == "nul\ufffdid"
    assert content.body == body
    assert content.headers["nul"] == "a\ufffdb"


async def test_a_letter_is_forgotten_a_month_after_it_was_closed(database: BusDatabase) -> None:
    async with database.platform.acquire() as conn:
        await insert(conn, "q", [dead(body=body) for body in (b"open", b"closed", b"long closed")])
        await conn.execute("UPDATE dead_letters SET died_at = died_at - interval '90 days'")
        await conn.execute(
            "UPDATE dead_letters SET resolution = 'discarded', resolved_by = 'ana', resolved_at = now()"
            " WHERE body <> 'open'"
        )
        await conn.execute(
            "UPDATE dead_letters SET resolved_at = now() - interval '31 days' WHERE body = 'long closed'"
        )
        assert await purge(conn) == 1
        assert {bytes(row["body"]) for row in await conn.fetch("SELECT body FROM dead_letters")} == {b"open", b"closed"}


async def test_an_erased_letter_is_a_tombstone_and_is_not_replayed(
    database: BusDatabase, broker: Broker, channel: AbstractChannel, unique_name: str
) -> None:
    await channel.queue_declare(unique_name, durable=True)
    secret, plain = dead(body=b"secret"), dead(body=b"plain", message_id="not-a-uuid")
    async with database.platform.acquire() as conn:
        await insert(conn, unique_name, [secret, plain])
        assert await erase_body(conn, str(secret.message_id)) == 1
        assert await erase_body(conn, str(secret.message_id)) == 0
        assert await database.value("SELECT body FROM dead_letters WHERE erased_at IS NOT NULL") == TOMBSTONE
        result = await replay(conn, broker, Selection(), actor="ana")
        assert len(result.sent) == 1
        letters = await list_letters(conn, Selection())
        assert [letter.message_id for letter in letters] == [secret.message_id]
    assert (await channel.queue_declare(unique_name, passive=True)).message_count == 1
    await channel.queue_delete(unique_name)


async def test_what_the_broker_does_not_take_stays_open(
    database: BusDatabase, broker: Broker, unique_name: str
) -> None:
    async with database.platform.acquire() as conn:
        await insert(conn, unique_name, [dead()])
        result = await replay(conn, broker, Selection(), actor="ana")
        assert result.sent == ()
        assert [words.startswith("returned: 312") for words in result.failed.values()] == [True]
        assert len(await list_letters(conn, Selection())) == 1


async def test_a_collector_that_cannot_store_keeps_the_message(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    failures = 2
    good = collector(unique_name, database.transaction)

    async def handle(messages: Sequence[Incoming]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError("disk full")
        await good.handle(messages)

    background.consumer(database, broker, Consumer(queue=good.queue, handle=handle, terminal=True))
    await eventually(lambda: queue_exists(channel, good.queue))
    await publish(channel, good.queue, b"{}")
    await eventually(lambda: database.value("SELECT count(*) FROM dead_letters"))
