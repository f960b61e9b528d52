"""Consumers that are always re-attached, and the making of one from event handlers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from bus.backoff import full_jitter
from bus.connection import Broker
from bus.envelope import VERSION_HEADER, Envelope, decode_data, decode_envelope
from bus.failpoints import failpoint
from bus.inbox import first_time
from bus.link import abandon, bounded
from bus.messages import Incoming, incoming
from bus.outbox import Connection
from bus.settlement import Consumer, DatabaseAway, Settlement, Transaction, database_answers, put_down
from bus.signals import SILENT, Signals
from bus.topology import RETRY_DELAYS_S, declare_dead_queue, declare_queue
from bus.trace import current_traceparent
from contracts.errors import Malformed
from contracts.event import Event, event_type

__all__ = ["Consumer", "Handler", "Incoming", "Transaction", "event_consumer", "run_consumer"]

ATTACH_TIMEOUT_S: Final = 30.0
WATCH_EVERY_S: Final = 5.0
FINISH_WITHIN_S: Final = 15.0
SETTLED_AFTER_S: Final = 10.0
DETACH_TIMEOUT_S: Final = 2.0
REATTACH_CAP_S: Final = 5.0

log = logging.getLogger(__name__)


class Handler(msgspec.Struct, frozen=True):
    """What a service does at an event: `fn(conn, event, envelope)`, inside the transaction of the event's tenant."""

    event: type[Event]
    fn: Callable[[Connection, Any, Envelope], Awaitable[None]]


def event_consumer(
    service: str,
    handlers: Sequence[Handler],
    transaction: Transaction,
    *,
    concurrency: int = 4,
    delays_s: tuple[float, ...] = RETRY_DELAYS_S,
) -> Consumer:
    """The consumer of queue `service`, bound to the handlers' events; each event has its effect once.

    Raises ValueError when two handlers take the same event.
    """
    by_type = {event_type(handler.event): handler for handler in handlers}
    if len(by_type) != len(handlers):
        raise ValueError(f"{service}: two handlers for one event")

    async def handle(messages: Sequence[Incoming]) -> None:
        for message in messages:
            version = message.headers.get(VERSION_HEADER)
            envelope = msgspec.structs.replace(
                decode_envelope(message.body), version=version if type(version) is int else None
            )
            handler = by_type.get(envelope.type)
            if handler is None:
                raise Malformed(f"{service} does not take events of type {envelope.type!r}.", code="unknown_event")
            event = decode_data(envelope, handler.event)
            token = current_traceparent.set(envelope.traceparent)
            try:
                async with transaction(envelope.tenantid) as conn:
                    if await first_time(conn, service, envelope.id):
                        await handler.fn(conn, event, envelope)
                        failpoint("consumer.before_commit")
            finally:
                current_traceparent.reset(token)

    return Consumer(
        queue=service,
        handle=handle,
        event_types=tuple(sorted(by_type)),
        max_batch=1,
        concurrency=concurrency,
        delays_s=delays_s,
    )


async def run_consumer(
    broker: Broker,
    consumer: Consumer,
    *,
    transaction: Transaction,
    stopping: asyncio.Event,
    signals: Signals = SILENT,
) -> None:
    """Consumes until `stopping` is set; attaches again after whatever happens to broker, channel or database.

    On `stopping` it takes no more, gives what is in hand 15 s, leaves the rest to others, and returns.
    """
    in_hand: set[bytes] = set()
    stop = asyncio.create_task(stopping.wait())
    failures = 0
    try:
        while (connection := await _connection(broker, stop)) is not None:
            attached_at = asyncio.get_running_loop().time()
            settling = partial(Settlement, broker, consumer, transaction, signals, in_hand)
            session = asyncio.create_task(_consume(broker, connection, consumer, settling, stopping))
            try:
                await asyncio.wait({session, stop}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({session}, timeout=FINISH_WITHIN_S)
            finally:
                abandon(session)
            await asyncio.wait({session}, timeout=DETACH_TIMEOUT_S)
            # A session that was cancelled was so by aiormq, whose connection ended, or by us, who stop.
            error = session.exception() if session.done() and not session.cancelled() else None
            if isinstance(error, DatabaseAway):
                log.warning("%s: paused, the database does not answer: %s", consumer.queue, error)
                while not stopping.is_set() and not await database_answers(transaction):
                    await _pause(stop, full_jitter(failures, base_s=0.2, cap_s=2.0))
            elif not stopping.is_set():
                log.warning("%s: lost, attaching again: %r", consumer.queue, error)
            while (
                in_hand
            ):  # before they come again: by then the session that took them may be gone, which looks like a death
                await put_down(transaction, consumer.queue, in_hand, tuple(in_hand))
                if not in_hand or stop.done():
                    break
                await _pause(stop, full_jitter(failures, base_s=0.2, cap_s=2.0))
            if asyncio.get_running_loop().time() - attached_at > SETTLED_AFTER_S:
                failures = 0
            await _pause(stop, full_jitter(failures, base_s=0.2, cap_s=REATTACH_CAP_S))
            failures += 1
    finally:
        stop.cancel()


async def _connection(broker: Broker, stop: asyncio.Task[Any]) -> AbstractConnection | None:
    """The broker's connection once there is one; nothing when it is time to stop."""
    connecting = asyncio.create_task(broker.consuming())
    try:
        await asyncio.wait({connecting, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        abandon(connecting)
    return None if stop.done() else connecting.result()


async def _consume(
    broker: Broker,
    connection: AbstractConnection,
    consumer: Consumer,
    settling: Callable[[AbstractChannel], Settlement],
    stopping: asyncio.Event,
) -> None:
    """One attachment: returns when `stopping` is set or the channel ends."""
    async with broker.declaring:
        await bounded(_declare(connection, consumer), ATTACH_TIMEOUT_S)
    channel = await bounded(connection.channel(publisher_confirms=False), ATTACH_TIMEOUT_S)
    arrived: asyncio.Queue[DeliveredMessage | None] = asyncio.Queue()
    settlement = settling(channel)

    def end(*_: Any) -> None:
        arrived.put_nowait(None)

    channel.closing.add_done_callback(end)
    channel.on_consumer_cancel_callbacks.add(end)
    sides: list[asyncio.Task[None]] = []
    try:
        await bounded(channel.basic_qos(prefetch_count=consumer.prefetch), ATTACH_TIMEOUT_S)
        consuming = await bounded(channel.basic_consume(consumer.queue, arrived.put), ATTACH_TIMEOUT_S)
        sides = [
            asyncio.create_task(_watch(channel, consumer.queue)),
            asyncio.create_task(_take_no_more(channel, str(consuming.consumer_tag), arrived, stopping)),
        ]
        for side in sides:
            side.add_done_callback(end)
        log.info("%s: attached", consumer.queue)
        while messages := await _take(arrived, consumer.prefetch):
            await settlement.settle([incoming(consumer.queue, message) for message in messages])
    finally:
        for side in sides:
            abandon(side)
        # Gives back what was not settled; the broker does the same by itself when the connection is gone.
        if not channel.is_closed:
            with suppress(Exception):
                await bounded(channel.close(), DETACH_TIMEOUT_S)


async def _declare(connection: AbstractConnection, consumer: Consumer) -> None:
    if consumer.terminal:
        await declare_dead_queue(connection, consumer.queue)
        return
    await declare_queue(
        connection,
        consumer.queue,
        foreign=consumer.foreign,
        event_types=consumer.event_types,
        delays_s=consumer.delays_s,
    )


async def _take(arrived: asyncio.Queue[DeliveredMessage | None], most: int) -> list[DeliveredMessage]:
    """What has arrived, at least one message; nothing when the attachment is at its end."""
    messages: list[DeliveredMessage] = []
    while len(messages) < most and not (messages and arrived.empty()):
        message = await arrived.get()
        if message is None:
            return []
        messages.append(message)
    return messages


async def _take_no_more(
    channel: AbstractChannel, tag: str, arrived: asyncio.Queue[DeliveredMessage | None], stopping: asyncio.Event
) -> None:
    """At `stopping`, first leaves the queue, then gives back what has not been begun."""
    await stopping.wait()
    with suppress(Exception):
        await bounded(channel.basic_cancel(tag), DETACH_TIMEOUT_S)
    while not arrived.empty():
        message = arrived.get_nowait()
        if message is not None and message.delivery_tag is not None:
            await channel.basic_nack(message.delivery_tag, requeue=True, wait=False)


async def _watch(channel: AbstractChannel, queue: str) -> None:
    """Returns when the broker does not count us among the queue's consumers, although the channel is open."""
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        declared = await bounded(channel.queue_declare(queue, passive=True), ATTACH_TIMEOUT_S)
        if not declared.consumer_count:
            log.warning("%s: the broker knows no consumer", queue)
            return


async def _pause(stop: asyncio.Task[Any], seconds: float) -> None:
    await asyncio.wait({stop}, timeout=seconds)
