"""The outbox and its relay: what was committed is published, whatever happens in between; nothing else is."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiormq.abc import AbstractChannel, DeliveredMessage

from bus import failpoints, outbox, relay
from bus.connection import Broker
from bus.envelope import decode_envelope
from bus.inbox import first_time
from bus.outbox import Telling, enqueue, erase_body, republish, tell, tell_many
from bus.relay import Fairness, relay_batch
from bus.trace import current_traceparent
from contracts.errors import TooLarge
from contracts.event import Event

from .support import Background, BusDatabase, eventually, sent

TENANT = UUID(int=7)


async def collect(channel: AbstractChannel, queue: str) -> list[DeliveredMessage]:
    """A plain durable queue and a list that fills with what arrives in it."""
    await channel.queue_declare(queue, durable=True)
    arrived: list[DeliveredMessage] = []

    async def keep(message: DeliveredMessage) -> None:
        arrived.append(message)

    await channel.basic_consume(queue, keep, no_ack=True)
    return arrived


async def pending(database: BusDatabase) -> int:
    return int(await database.value("SELECT count(*) FROM outbox WHERE published_at IS NULL"))


class Unheard(Event, frozen=True, tag="nobody.thing.happened.v1"):
    """An event that no test listens to: queues that others leave behind stay bound to theirs."""


async def left(database: BusDatabase, row_id: UUID) -> None:
    """Waits until the relay has published a row."""
    await eventually(partial(database.value, "SELECT published_at IS NOT NULL FROM outbox WHERE id = $1", row_id))


async def unrouted(channel: AbstractChannel, message_id: UUID) -> DeliveredMessage:
    """Takes messages out of `unrouted` until this one comes."""
    while True:
        message = await channel.basic_get("unrouted", no_ack=True)
        assert message.body, "unrouted is empty"
        if message.header.properties.message_id == str(message_id):
            return message


async def test_committed_is_published_and_rolled_back_is_not(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    arrived = await collect(channel, unique_name)
    background.relay(database, broker)
    async with database.app.acquire() as conn:
        rolled_back = conn.transaction()
        await rolled_back.start()
        await enqueue(conn, queue=unique_name, body=b'"no"', tenant_id=TENANT, aggregate_id=uuid4())
        await rolled_back.rollback()
    async with database.transaction(TENANT) as committing:
        job_id = await enqueue(committing, queue=unique_name, body=b'"yes"', tenant_id=TENANT, aggregate_id=uuid4())

    async def one() -> bool:
        return bool(arrived)

    await eventually(one)
    (message,) = arrived
    assert (message.body, message.header.properties.message_id) == (b'"yes"', str(job_id))
    assert message.header.properties.delivery_mode == 2
    await eventually(lambda: database.value("SELECT published_at IS NOT NULL FROM outbox WHERE id = $1", job_id))


async def test_an_event_is_a_cloudevent_with_tenant_and_trace(database: BusDatabase) -> None:
    aggregate_id = uuid4()
    token = current_traceparent.set("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    try:
        async with database.transaction(TENANT) as conn:
            event_id = await tell(conn, sent(), tenant_id=TENANT, aggregate_id=aggregate_id, version=3)
    finally:
        current_traceparent.reset(token)
    row = await database.platform.fetchrow("SELECT * FROM outbox")
    assert row is not None
    assert (row["id"], row["exchange"], row["routing_key"]) == (event_id, "mailer.events", "mailer.email.sent.v1")
    assert (row["tenant_id"], row["aggregate_id"], row["version"]) == (TENANT, aggregate_id, 3)
    envelope = decode_envelope(row["body"])
    assert (envelope.id, envelope.tenantid, envelope.subject) == (event_id, TENANT, str(aggregate_id))
    assert envelope.traceparent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_many_in_one_statement_keep_their_order(database: BusDatabase) -> None:
    events = [sent(template=f"t{number}") for number in range(5)]
    async with database.transaction(TENANT) as conn:
        ids = await tell_many(conn, [Telling(event=event, aggregate_id=uuid4()) for event in events])
        assert await tell_many(conn, []) == []
    for event_id, event in zip(ids, events, strict=True):
        body = await database.value("SELECT body FROM outbox WHERE id = $1", event_id)
        assert event.template.encode() in body


async def test_an_event_may_belong_to_an_earlier_trace(database: BusDatabase) -> None:
    earlier, present = f"00-{'1' * 32}-{'2' * 16}-01", f"00-{'3' * 32}-{'4' * 16}-01"
    token = current_traceparent.set(present)
    try:
        async with database.transaction(TENANT) as conn:
            tellings = [Telling(event=sent(), aggregate_id=uuid4(), traceparent=trace) for trace in (earlier, None)]
            ids = await tell_many(conn, tellings)
    finally:
        current_traceparent.reset(token)
    bodies = [await database.value("SELECT body FROM outbox WHERE id = $1", event_id) for event_id in ids]
    assert [decode_envelope(body).traceparent for body in bodies] == [earlier, present]


async def test_a_message_over_the_limit_is_refused(database: BusDatabase) -> None:
    async with database.transaction(TENANT) as conn:
        with pytest.raises(TooLarge):
            await enqueue(
                conn, queue="q", body=b"x" * (outbox.MAX_BODY_BYTES + 1), tenant_id=None, aggregate_id=uuid4()
            )
        assert await conn.fetchval("SELECT 1") == 1


async def test_an_event_that_nobody_listens_to_leaves_the_outbox(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel
) -> None:
    background.relay(database, broker)
    async with database.transaction(TENANT) as conn:
        event_id = await tell(conn, Unheard(), tenant_id=TENANT, aggregate_id=uuid4())
    await left(database, event_id)
    assert await database.value("SELECT attempts FROM outbox") == 0
    assert (await unrouted(channel, event_id)).routing_key == "nobody.thing.happened.v1"


@pytest.mark.parametrize("doomed", ["queue", "exchange"])
async def test_a_relay_makes_the_unrouted_again_when_somebody_deletes_it(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, doomed: str
) -> None:
    background.relay(database, broker)
    async with database.transaction(TENANT) as conn:
        before = await tell(conn, Unheard(), tenant_id=TENANT, aggregate_id=uuid4())
    await left(database, before)
    await (channel.queue_delete("unrouted") if doomed == "queue" else channel.exchange_delete("unrouted"))
    async with database.transaction(TENANT) as conn:
        after = await tell(conn, Unheard(), tenant_id=TENANT, aggregate_id=uuid4())
    await left(database, after)
    assert await database.value("SELECT attempts FROM outbox WHERE id = $1", after) == 1
    await unrouted(channel, after)


async def test_a_message_for_a_foreign_exchange_arrives_as_it_was_written(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    exchange = f"{unique_name}.automation.events"
    background.relay(database, broker)
    async with database.transaction(TENANT) as conn:
        unheard = await enqueue(
            conn, exchange=exchange, routing_key="flow.started", body=b'{"n": 1}', tenant_id=TENANT,
            aggregate_id=uuid4(),
        )  # fmt: skip
    # Where it was absent it is a durable topic without arguments, as its owner would declare it.
    await left(database, unheard)
    await channel.exchange_declare(exchange, exchange_type="topic", durable=True)
    assert await database.value("SELECT attempts FROM outbox") == 0
    assert (await unrouted(channel, unheard)).routing_key == "flow.started"

    arrived = await collect(channel, unique_name)
    await channel.queue_bind(unique_name, exchange, "flow.*")
    async with database.transaction(TENANT) as conn:
        heard = await enqueue(
            conn, exchange=exchange, routing_key="flow.ended", body=b'{"n": 2}', tenant_id=TENANT, aggregate_id=uuid4()
        )
    await left(database, heard)
    (message,) = arrived
    properties = message.header.properties
    assert (message.body, properties.message_id, properties.message_type) == (b'{"n": 2}', str(heard), "flow.ended")
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    await channel.exchange_delete(exchange)


async def test_a_foreign_exchange_is_taken_as_its_owner_made_it(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    exchange = f"{unique_name}.automation.events"
    # Declaring this one again, as ours or plainly, is refused on both brokers.
    await channel.exchange_declare(exchange, exchange_type="direct", durable=True)
    arrived = await collect(channel, unique_name)
    await channel.queue_bind(unique_name, exchange, "flow.ended")
    background.relay(database, broker)
    async with database.transaction(TENANT) as conn:
        for routing_key in ("flow.started", "flow.ended"):
            await enqueue(
                conn, exchange=exchange, routing_key=routing_key, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4()
            )

    async def gone() -> bool:
        return await pending(database) == 0

    await eventually(gone)
    assert [message.routing_key for message in arrived] == ["flow.ended"]
    await channel.exchange_delete(exchange)


@pytest.mark.parametrize(
    "where", [{}, {"queue": "q", "exchange": "e"}, {"exchange": "e"}, {"exchange": "", "routing_key": "k"}]
)
async def test_a_message_has_one_address(database: BusDatabase, where: dict[str, Any]) -> None:
    async with database.transaction(TENANT) as conn:
        with pytest.raises(ValueError, match="either a queue"):
            await enqueue(conn, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4(), **where)


async def test_concurrent_writers_and_relays_lose_nothing(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    # A relay that remembers a position loses rows here: a lower id may commit after a higher one was read.
    arrived = await collect(channel, unique_name)
    background.relay(database, broker)
    background.relay(database, broker)
    written: list[UUID] = []

    async def write(seed: int) -> None:
        pause = random.Random(seed)
        for _ in range(125):
            async with database.transaction(TENANT) as conn:
                job_id = await enqueue(conn, queue=unique_name, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4())
                await asyncio.sleep(pause.random() * 0.01)
            written.append(job_id)

    await asyncio.gather(*(write(seed) for seed in range(4)))

    async def all_marked() -> bool:
        return await pending(database) == 0

    await eventually(all_marked)
    assert len(arrived) == 500
    assert {message.header.properties.message_id for message in arrived} == set(map(str, written))


async def test_a_committed_row_is_published_before_the_next_poll(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(relay, "POLL_S", 3600.0)
    arrived = await collect(channel, unique_name)
    background.relay(database, broker)

    async def listens() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bustest_relay' AND query LIKE 'LISTEN%'"
        connection = await asyncpg.connect(database.url)
        try:
            return bool(await connection.fetchval(query))
        finally:
            await connection.close()

    await eventually(listens)

    async def arrived_are(count: int) -> bool:
        return len(arrived) == count

    for number in range(1, 6):
        async with database.transaction(TENANT) as conn:
            await enqueue(conn, queue=unique_name, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4())
        await eventually(partial(arrived_are, number))


async def test_one_bad_row_does_not_hold_up_the_others(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    arrived = await collect(channel, unique_name)
    async with database.transaction(TENANT) as conn:
        nowhere = await enqueue(conn, queue=f"{unique_name}.later", body=b"{}", tenant_id=None, aggregate_id=uuid4())
        too_long = await enqueue(conn, queue="q" * 300, body=b"{}", tenant_id=None, aggregate_id=uuid4())
        for _ in range(20):
            await enqueue(conn, queue=unique_name, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4())
    background.relay(database, broker)

    async def others() -> bool:
        return len(arrived) == 20

    await eventually(others)
    for row_id, words in ((nowhere, "returned: 312"), (too_long, "too long")):
        # The broker's side of it arrives before the relay has noted its own.
        await eventually(partial(database.value, "SELECT attempts > 0 FROM outbox WHERE id = $1", row_id))
        row = await database.platform.fetchrow("SELECT * FROM outbox WHERE id = $1", row_id)
        assert row is not None
        assert row["published_at"] is None
        assert words in row["last_error"]
    # Once the queue is there, the row goes too.
    await channel.queue_declare(f"{unique_name}.later", durable=True)
    await database.value("UPDATE outbox SET available_at = now() WHERE id = $1", nowhere)
    await eventually(lambda: database.value("SELECT published_at IS NOT NULL FROM outbox WHERE id = $1", nowhere))
    await channel.queue_delete(f"{unique_name}.later")


async def test_a_refused_exchange_fails_its_own_rows_only(
    database: BusDatabase, broker: Broker, channel: AbstractChannel, unique_name: str
) -> None:
    # The broker closes the channel at a publish to an exchange with other arguments than ours.
    await channel.exchange_declare(f"{unique_name}.events", exchange_type="fanout")
    arrived = await collect(channel, unique_name)
    async with database.transaction(TENANT) as conn:
        refused = await enqueue(conn, queue="any", body=b"{}", tenant_id=None, aggregate_id=uuid4())
        for _ in range(5):
            await enqueue(conn, queue=unique_name, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4())
    await database.value("UPDATE outbox SET exchange = $2 WHERE id = $1", refused, f"{unique_name}.events")
    async with database.relay.acquire() as conn:
        assert await relay_batch(conn, broker, fair=Fairness()) == 6
    assert await database.value("SELECT array_agg(id) FROM outbox WHERE published_at IS NULL") == [refused]
    assert len(arrived) == 5
    await channel.exchange_delete(f"{unique_name}.events")


async def test_a_crash_between_confirm_and_mark_repeats_and_the_inbox_absorbs(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    arrived = await collect(channel, unique_name)
    async with database.transaction(TENANT) as conn:
        for _ in range(10):
            await enqueue(conn, queue=unique_name, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4())
    crashes = 0

    def crash(name: str) -> None:
        nonlocal crashes
        if name == "relay.after_confirm_before_mark" and crashes < 2:
            crashes += 1
            raise ConnectionResetError("the relay dies here")

    monkeypatch.setattr(failpoints, "hit", crash)
    background.relay(database, broker)

    async def marked() -> bool:
        return await pending(database) == 0

    await eventually(marked)
    assert len(arrived) == 30
    effects = 0
    for message in arrived:
        async with database.transaction(TENANT) as conn:
            effects += await first_time(conn, "reader", str(message.header.properties.message_id))
    assert effects == 10


async def test_republish_sends_again_under_the_same_ids(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(relay, "POLL_S", 0.05)
    before = datetime.now(UTC) - timedelta(minutes=1)
    other = UUID(int=8)
    async with database.transaction(TENANT) as conn:
        for tenant_id in (TENANT, TENANT, other):
            await enqueue(conn, queue=unique_name, body=b"{}", tenant_id=tenant_id, aggregate_id=uuid4())
        secret = await enqueue(conn, queue=unique_name, body=b"secret", tenant_id=other, aggregate_id=uuid4())
    arrived = await collect(channel, unique_name)
    background.relay(database, broker)

    async def seen(count: int) -> bool:
        return len(arrived) == count and await pending(database) == 0

    await eventually(lambda: seen(4))
    async with database.platform.acquire() as platform, platform.transaction():
        assert await erase_body(platform, secret) == 1
    async with database.relay.acquire() as conn:
        assert await republish(conn, since=datetime.now(UTC) + timedelta(minutes=1)) == 0
        assert await republish(conn, since=before, type="something.else.v1") == 0
        assert await republish(conn, since=before, tenant_id=TENANT) == 2
        await eventually(lambda: seen(6))
        assert await republish(conn, since=before, type=unique_name) == 3
        await eventually(lambda: seen(9))
    assert len({message.header.properties.message_id for message in arrived}) == 4
    assert b"secret" not in b"".join(message.body for message in arrived[4:])


async def test_purge_keeps_seventy_two_hours(database: BusDatabase) -> None:
    async with database.transaction(TENANT) as conn:
        await tell_many(conn, [Telling(event=sent(), aggregate_id=uuid4()) for _ in range(4)])
    await database.value(
        """
        WITH numbered AS (SELECT id, row_number() OVER () AS n FROM outbox)
        UPDATE outbox SET published_at = CASE n WHEN 1 THEN now() - interval '73 hours' WHEN 2 THEN now() -
        interval '71 hours' WHEN 3 THEN now() END FROM numbered WHERE numbered.id = outbox.id
        """
    )
    async with database.relay.acquire() as conn:
        assert await outbox.purge(conn) == 1
        assert await outbox.purge(conn) == 0
        assert (await outbox.pending(conn)).rows == 1


async def test_a_tenant_with_a_backlog_does_not_keep_others_waiting(
    database: BusDatabase, broker: Broker, channel: AbstractChannel, unique_name: str
) -> None:
    await channel.queue_declare(unique_name, durable=True)
    await database.value(
        """
        INSERT INTO outbox (id, tenant_id, aggregate_id, type, exchange, routing_key, content_type, body)
        SELECT gen_random_uuid(), $2, gen_random_uuid(), 'x', '', $1, 'text/plain', '' FROM generate_series(1, 3000)
        """,
        unique_name,
        TENANT,
    )
    async with database.transaction(None) as conn:
        late = [
            await enqueue(conn, queue=unique_name, body=b"", tenant_id=UUID(int=tenant), aggregate_id=uuid4())
            for tenant in (3, 8, 9)
        ]
    fair = Fairness()
    async with database.relay.acquire() as conn:
        await relay_batch(conn, broker, fair=fair)
        await relay_batch(conn, broker, fair=fair)
    waiting = await database.value("SELECT count(*) FROM outbox WHERE id = ANY ($1) AND published_at IS NULL", late)
    assert waiting == 0
    assert await pending(database) == 3000 - 200 - 20
    await channel.queue_delete(unique_name)


async def test_a_backlog_of_many_tenants_is_relayed_without_pause(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # A pause after a turn of the tenants, which takes few rows, would last for ever here.
    monkeypatch.setattr(relay, "POLL_S", 3600.0)
    await channel.queue_declare(unique_name, durable=True)
    await database.value(
        """
        INSERT INTO outbox (id, tenant_id, aggregate_id, type, exchange, routing_key, content_type, body)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'x', '', $1, 'text/plain', ''
        FROM generate_series(1, 1500)
        """,
        unique_name,
    )
    background.relay(database, broker)

    async def gone() -> bool:
        return await pending(database) == 0

    await eventually(gone)
    await channel.queue_delete(unique_name)


async def test_roles_hold_no_more_than_they_need(database: BusDatabase) -> None:
    for pool, statement in (
        (database.app, "SELECT 1 FROM outbox"),
        (database.app, "SELECT 1 FROM dead_letters"),
        (database.app, "DELETE FROM inbox"),
        (database.app, "SELECT 1 FROM deliveries"),
        (database.relay, "SELECT 1 FROM inbox"),
        (database.relay, "INSERT INTO outbox (id) VALUES (gen_random_uuid())"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)


async def test_without_a_broker_nothing_is_counted_against_the_rows(database: BusDatabase, unique_name: str) -> None:
    away = Broker("amqp://guest:guest@127.0.0.1:1/")
    await away.start()
    background = Background()
    background.relay(database, away)
    async with database.transaction(TENANT) as conn:
        await enqueue(conn, queue=unique_name, body=b"{}", tenant_id=TENANT, aggregate_id=uuid4())
    await asyncio.sleep(1.2)
    started_at = time.monotonic()
    await background.stop()
    await away.close()
    assert time.monotonic() - started_at < 10
    assert await database.value("SELECT attempts FROM outbox") == 0
