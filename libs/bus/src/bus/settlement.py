"""Brings every delivery to one of three ends, done, retried later or dead, and acknowledges it only then."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias
from uuid import UUID

import msgspec
from aiormq.abc import AbstractChannel
from uuid_utils.compat import uuid7

from bus import deliveries
from bus.connection import Broker
from bus.failpoints import failpoint
from bus.failures import is_transient, reason_of, stack_hash_of
from bus.messages import ATTEMPTS_HEADER, DEATH_HEADER, REASON_HEADER, STACK_HEADER, Incoming, Outgoing, forwarded
from bus.outbox import Connection
from bus.signals import Signals
from bus.topology import RETRY_DELAYS_S, dead_queue, delay_queue
from contracts.errors import Malformed, Unavailable

MAX_ATTEMPTS: Final = 5
HANDLE_TIMEOUT_S: Final = 60.0
#: A delivery whose end the broker does not confirm is given back after this time.
FORWARD_WITHIN_S: Final = 60.0

#: Opens a transaction of a tenant, or of the platform for None.
Transaction: TypeAlias = Callable[[UUID | None], AbstractAsyncContextManager[Connection]]

log = logging.getLogger(__name__)


class DatabaseAway(Exception):
    """The service's own database does not answer: nobody's fault, so nothing is counted against the messages."""


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A queue and what to do with its messages.

    `handle` commits the effects of all the messages it is given, up to `max_batch`, or raises; it must bear to be given
    a message again. When a batch fails, each message is tried alone. `concurrency` batches are handled at a time.
    `terminal` marks a dead queue: what fails there has nowhere to go, and stays.
    """

    queue: str
    handle: Callable[[Sequence[Incoming]], Awaitable[None]]
    event_types: tuple[str, ...] = ()
    foreign: bool = False
    terminal: bool = False
    max_batch: int = 200
    prefetch: int = 200
    concurrency: int = 1
    handle_timeout_s: float = HANDLE_TIMEOUT_S
    delays_s: tuple[float, ...] = RETRY_DELAYS_S


class Settlement:
    """Settles the deliveries of one channel. `in_hand` outlives it: what no database was there to put down."""

    def __init__(
        self,
        broker: Broker,
        consumer: Consumer,
        transaction: Transaction,
        signals: Signals,
        in_hand: set[bytes],
        channel: AbstractChannel,
    ) -> None:
        self._broker = broker
        self._consumer = consumer
        self._channel = channel
        self._transaction = transaction
        self._signals = signals
        self._in_hand = in_hand
        self._unacknowledged: set[int] = set()

    async def settle(self, messages: Sequence[Incoming]) -> None:
        """Handles the messages, those that a process may have died of last and alone, and acknowledges them all.

        Raises DatabaseAway, Unavailable when the broker does not take what must go elsewhere, and AMQPError when the
        channel is lost; what is not acknowledged then comes again.
        """
        self._unacknowledged.update(message.delivery_tag for message in messages)
        keys = [message.key for message in messages]
        self._in_hand.update(keys)
        try:
            async with self._transaction(None) as conn:
                standing = await deliveries.begin(conn, self._consumer.queue, keys)
        except Exception as error:
            raise DatabaseAway(reason_of(error)) from error
        await self._handle_fresh([message for message in messages if standing[message.key].fresh])
        for message in messages:
            if not standing[message.key].fresh:
                await self._handle_suspect(message, standing[message.key].deaths)

    async def _handle_suspect(self, message: Incoming, deaths: int) -> None:
        if deaths >= deliveries.MAX_DEATHS:
            await self._bury(message, f"process died {deliveries.MAX_DEATHS} times", None)
        else:
            try:
                async with self._transaction(None) as conn:
                    await deliveries.hold(conn, self._consumer.queue, message.key)
            except Exception as error:
                raise DatabaseAway(reason_of(error)) from error
            await self._handle([message])
        await self._finish([message])

    async def _handle_fresh(self, messages: Sequence[Incoming]) -> None:
        size = self._consumer.max_batch
        groups = [messages[start : start + size] for start in range(0, len(messages), size)]
        free = asyncio.Semaphore(self._consumer.concurrency)

        async def handle(group: Sequence[Incoming]) -> None:
            async with free:
                await self._handle(group)

        results = await asyncio.gather(*map(handle, groups), return_exceptions=True)
        await self._finish([m for group, result in zip(groups, results, strict=True) if result is None for m in group])
        for result in results:
            if result is not None:
                raise result

    async def _handle(self, messages: Sequence[Incoming]) -> None:
        started_at = asyncio.get_running_loop().time()
        try:
            if any(message.unreadable for message in messages) and not self._consumer.terminal:
                raise Malformed("The message's properties cannot be read.")
            async with asyncio.timeout(self._consumer.handle_timeout_s):
                await self._consumer.handle(messages)
        except Exception as error:
            if is_transient(error) and not await database_answers(self._transaction):
                raise DatabaseAway(reason_of(error)) from error
            if len(messages) > 1:
                for message in messages:
                    await self._handle([message])
                return
            outcome = await self._fail(messages[0], error)
        else:
            outcome = "done"
        seconds = asyncio.get_running_loop().time() - started_at
        for message in messages:
            self._signals.handled(message.queue, outcome, seconds)

    async def _fail(self, message: Incoming, error: Exception) -> str:
        if self._consumer.terminal:
            raise error
        attempts = message.attempts + 1
        if not is_transient(error):
            await self._bury(message, reason_of(error), error)
            return "dead"
        if attempts >= MAX_ATTEMPTS:
            await self._bury(message, f"gave up after {attempts} attempts: {reason_of(error)}", error)
            return "dead"
        delays_s = self._consumer.delays_s
        delay_s = delays_s[min(message.attempts, len(delays_s) - 1)]
        headers = {ATTEMPTS_HEADER: attempts, REASON_HEADER: reason_of(error)}
        await self._forward(forwarded(message, delay_queue(message.queue, delay_s), headers))
        return "retried"

    async def _bury(self, message: Incoming, reason: str, error: Exception | None) -> None:
        log.warning("%s: message %s is dead: %s", message.queue, message.message_id, reason)
        headers = {
            ATTEMPTS_HEADER: message.attempts + (error is not None),
            REASON_HEADER: reason,
            DEATH_HEADER: str(uuid7()),
            **({STACK_HEADER: stack_hash_of(error)} if error is not None else {}),
        }
        await self._forward(forwarded(message, dead_queue(message.queue), headers))
        self._signals.dead(message.queue)

    async def _forward(self, message: Outgoing) -> None:
        # Tried for a while: giving back what cannot be settled would only bring it again at once.
        give_up_at = asyncio.get_running_loop().time() + FORWARD_WITHIN_S
        while True:
            (outcome,) = await self._broker.publish_batch([message])
            if outcome is None:
                failpoint("consumer.after_forward_before_ack")
                return
            if asyncio.get_running_loop().time() > give_up_at:
                raise Unavailable(f"The broker does not take a message for {message.routing_key}: {outcome}")
            await asyncio.sleep(1)

    async def _finish(self, messages: Sequence[Incoming]) -> None:
        if not messages:
            return
        failpoint("consumer.after_commit_before_ack")
        tags = sorted(message.delivery_tag for message in messages)
        earlier = {tag for tag in self._unacknowledged if tag <= tags[-1]}
        if earlier == set(tags):
            await self._channel.basic_ack(tags[-1], multiple=True)
        else:
            for tag in tags:
                await self._channel.basic_ack(tag, wait=False)
        self._unacknowledged.difference_update(tags)
        failpoint("consumer.after_ack")
        await put_down(self._transaction, self._consumer.queue, self._in_hand, [message.key for message in messages])


async def put_down(transaction: Transaction, queue: str, in_hand: set[bytes], keys: Iterable[bytes]) -> None:
    """Forgets deliveries that ended with the process alive; they stay `in_hand` if the database does not take it."""
    gone = list(keys)
    try:
        async with transaction(None) as conn:
            await deliveries.forget(conn, queue, gone)
    except Exception as error:
        log.warning("%s: %d deliveries not put down: %r", queue, len(gone), error)
    else:
        in_hand.difference_update(gone)


async def database_answers(transaction: Transaction) -> bool:
    """Whether the service's own database answers within two seconds."""
    try:
        async with asyncio.timeout(2), transaction(None) as conn:
            await conn.execute("SELECT 1")
    except Exception:
        return False
    return True
