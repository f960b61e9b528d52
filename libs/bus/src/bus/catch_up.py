"""A queue that did not exist gets what was published before it did: copies of what waits in `unrouted`.

Services start in any order, and one may come a day after another: its queue is empty, the events are not lost.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakKeyDictionary

from aiormq.abc import AbstractConnection
from aiormq.exceptions import ChannelLockedResource

_MOST: Final = 10_000  # as many as `unrouted` keeps
_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.1
#: Exclusive to a connection: whoever has declared it reads.
_TURN: Final = "unrouted.reader"
#: Within a connection it locks nobody out.
_turns: WeakKeyDictionary[AbstractConnection, asyncio.Lock] = WeakKeyDictionary()

log = logging.getLogger(__name__)


async def catch_up(connection: AbstractConnection, queue: str, unrouted: str, event_types: Collection[str]) -> int:
    """Copies the events of those types from `unrouted` into `queue`; returns how many.

    They stay where they are, for another queue that comes later; inboxes absorb a repeat. Every message is held until
    the end and then given back, or the broker would hand out the same one again; so one reads at a time, anywhere.

    Raises aiormq's AMQPError when the broker refuses or the connection is lost.
    """
    async with _turns.setdefault(connection, asyncio.Lock()), _turn(connection):
        return await _copy(connection, queue, unrouted, event_types)


@asynccontextmanager
async def _turn(connection: AbstractConnection) -> AsyncIterator[None]:
    """Waits until no other connection reads; a connection that is lost gives its turn up by itself."""
    while True:
        channel = await connection.channel(publisher_confirms=False, timeout=_TIMEOUT_S)
        try:
            await channel.queue_declare(_TURN, exclusive=True, auto_delete=True, timeout=_TIMEOUT_S)
            break
        except ChannelLockedResource:  # the broker has closed the channel
            await asyncio.sleep(_RETRY_S)
    try:
        yield
    finally:
        await channel.queue_delete(_TURN, timeout=_TIMEOUT_S)
        await channel.close()


async def _copy(connection: AbstractConnection, queue: str, unrouted: str, event_types: Collection[str]) -> int:
    reading = await connection.channel(publisher_confirms=False, timeout=_TIMEOUT_S)
    writing = await connection.channel(timeout=_TIMEOUT_S)
    wanted = frozenset(event_types)
    copied, last_tag = 0, 0
    try:
        for _ in range(_MOST):
            found = await reading.basic_get(unrouted, no_ack=False, timeout=_TIMEOUT_S)
            if found.delivery_tag is None:  # empty
                break
            last_tag = found.delivery_tag
            if found.routing_key in wanted:
                await writing.basic_publish(
                    found.body,
                    exchange="",
                    routing_key=queue,
                    properties=found.header.properties,
                    mandatory=True,
                    timeout=_TIMEOUT_S,
                )
                copied += 1
    finally:
        if last_tag:
            await reading.basic_nack(last_tag, multiple=True, requeue=True, wait=False)
        await reading.close()
        await writing.close()
    if copied:
        log.warning("%s: %d events that were published before it existed", queue, copied)
    return copied
