"""Properties that a careless or hostile publisher may set: one such message must not stop a queue."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from aiormq.abc import AbstractChannel, ChannelFrame
from aiormq.channel import Channel
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic

from bus.connection import Broker
from bus.consumer import Consumer, Incoming
from bus.dead_letters import collector
from contracts.errors import Invalid

from .support import Background, BusDatabase, eventually, publish


def table(entry: bytes) -> bytes:
    return len(entry).to_bytes(4, "big") + entry


def deep(levels: int) -> bytes:
    value = table(b"\x01kt\x01")
    for _ in range(levels):
        value = table(b"\x01kF" + value)
    return value


# What RabbitMQ itself refuses, such as truncated headers, ends the publisher's connection and is not here.
UNREADABLE = {
    "message_id that is not UTF-8": (128, b"\x02\xff\xfe"),
    "timestamp beyond the calendar": (64, b"\xff" * 8),
    "header name that is not UTF-8": (8192, table(b"\x01\xfft\x01")),
    "headers nested too deep": (8192, deep(900)),
}


async def publish_raw(channel: AbstractChannel, queue: str, flags: int, properties: bytes, body: bytes) -> None:
    """Publishes with property bytes that no client library would write."""
    payload = (60).to_bytes(2, "big") + bytes(2) + len(body).to_bytes(8, "big") + flags.to_bytes(2, "big") + properties
    header = b"\x02" + channel.number.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"
    publishing = frame.marshal(Basic.Publish(routing_key=queue), channel.number)
    content = frame.marshal(ContentBody(body), channel.number)
    assert isinstance(channel, Channel)
    await channel.write_queue.put(ChannelFrame(payload=publishing + header + content, should_close=False))


async def test_unreadable_properties_are_dead_letters(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    handled: list[bytes] = []

    async def handle(messages: Sequence[Incoming]) -> None:
        handled.extend(message.body for message in messages)

    await channel.queue_declare(unique_name, durable=True)
    raw = await channel.connection.channel(publisher_confirms=False)
    for name, (flags, properties) in UNREADABLE.items():
        await publish_raw(raw, unique_name, flags, properties, name.encode())
    await publish(channel, unique_name, b"good")
    background.consumer(database, broker, Consumer(queue=unique_name, handle=handle, foreign=True))
    background.consumer(database, broker, collector(unique_name, database.transaction))
    await eventually(lambda: database.value("SELECT count(*) = $1 FROM dead_letters", len(UNREADABLE)))
    assert handled == [b"good"]
    rows = await database.platform.fetch("SELECT body, reason FROM dead_letters")
    assert {bytes(row["body"]).decode() for row in rows} == set(UNREADABLE)
    assert {row["reason"] for row in rows} == {"Malformed: The message's properties cannot be read."}


async def test_odd_properties_are_read_and_sent_on(
    database: BusDatabase, broker: Broker, background: Background, channel: AbstractChannel, unique_name: str
) -> None:
    seen: list[Incoming] = []

    async def handle(messages: Sequence[Incoming]) -> None:
        seen.extend(messages)
        raise Invalid("No.")

    await channel.queue_declare(unique_name, durable=True)
    await publish(
        channel,
        unique_name,
        b"",
        message_id="é" * 100,
        reply_to="mail_queue",
        correlation_id="c",
        priority=9,
        headers={
            "x-attempts": -3,
            "bytes": bytearray(b"\xff"),
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "d": {"e": [1]},
        },
    )
    raw = await channel.connection.channel(publisher_confirms=False)
    await publish_raw(raw, unique_name, 8192, table(b"\x01kS" + table(b"\xff")), b"text that is not UTF-8")
    background.consumer(database, broker, Consumer(queue=unique_name, handle=handle, foreign=True, max_batch=1))
    background.consumer(database, broker, collector(unique_name, database.transaction))
    await eventually(lambda: database.value("SELECT count(*) = 2 FROM dead_letters"))
    assert [message.attempts for message in seen] == [0, 0]
    assert {message.message_id for message in seen} == {"é" * 100, None}


@pytest.mark.parametrize("url", ["http://localhost", "amqp://", "localhost:5672"])
def test_a_url_that_is_no_brokers_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="amqp"):
        Broker(url)
