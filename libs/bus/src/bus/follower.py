"""Follows events without a database: each process by a queue of its own, which is gone when the process is.

Nothing is remembered here: whoever follows starts from a snapshot, again after each loss of the connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiormq.abc import AbstractConnection, DeliveredMessage

from bus.backoff import full_jitter
from bus.connection import Broker
from bus.envelope import Envelope, decode_envelope
from bus.link import bounded
from bus.topology import DECLARE_TIMEOUT_S, declare_exchange
from contracts.errors import Malformed
from contracts.event import exchange_of

ATTACH_TIMEOUT_S: Final = 10.0
RETRY_CAP_S: Final = 2.0

log = logging.getLogger(__name__)


async def follow(
    broker: Broker,
    event_types: Sequence[str],
    *,
    on_attached: Callable[[], Awaitable[None]],
    on_event: Callable[[Envelope], None],
    stopping: asyncio.Event,
) -> None:
    """Calls `on_event` for each event of those types until `stopping` is set.

    `on_attached` runs each time that the queue is bound and before the events that came into it since: whatever it
    loads is as new as they are, or newer, so nothing is missed in between. When it raises, it is tried again. Events
    come in the order in which they were published by one connection; some may come that the snapshot knows already.
    """
    attempt = 0
    stop = asyncio.create_task(stopping.wait())
    try:
        while not stopping.is_set():
            waiting = asyncio.create_task(broker.consuming())
            await asyncio.wait({waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                return
            session = asyncio.create_task(_session(waiting.result(), event_types, on_attached, on_event))
            await asyncio.wait({session, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not session.done():
                session.cancel()
                await asyncio.wait({session})
                return
            attempt = 0 if session.result() else attempt + 1
            await asyncio.wait({stop}, timeout=full_jitter(attempt, base_s=0.1, cap_s=RETRY_CAP_S))
    finally:
        stop.cancel()


async def _session(
    connection: AbstractConnection,
    event_types: Sequence[str],
    on_attached: Callable[[], Awaitable[None]],
    on_event: Callable[[Envelope], None],
) -> bool:
    """Follows on this connection until it is lost; whether it came as far as to follow."""
    arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
    closing = connection.closing
    closing.add_done_callback(lambda _: arrived.put_nowait(None))
    attached = False
    try:
        await bounded(_attach(connection, event_types, arrived), ATTACH_TIMEOUT_S)
        await on_attached()
        attached = True
        while (body := await arrived.get()) is not None:
            try:
                envelope = decode_envelope(body)
            except Malformed as error:
                log.warning("an event that cannot be read is passed over: %s", error.detail)
                continue
            on_event(envelope)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        log.warning("cannot follow events: %r", error)
    return attached


async def _attach(
    connection: AbstractConnection, event_types: Sequence[str], arrived: "asyncio.Queue[bytes | None]"
) -> None:
    for exchange in sorted({exchange_of(name) for name in event_types}):
        await declare_exchange(connection, exchange)
    channel = await connection.channel(publisher_confirms=False, timeout=DECLARE_TIMEOUT_S)
    declared = await channel.queue_declare("", exclusive=True, auto_delete=True, timeout=DECLARE_TIMEOUT_S)
    queue = declared.queue
    assert queue is not None
    for name in event_types:
        await channel.queue_bind(queue, exchange_of(name), name, timeout=DECLARE_TIMEOUT_S)

    async def take(message: DeliveredMessage) -> None:
        arrived.put_nowait(message.body)

    await channel.basic_consume(queue, take, no_ack=True, timeout=DECLARE_TIMEOUT_S)
