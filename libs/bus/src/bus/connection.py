"""The broker as the bus uses it: confirmed publishes that never hang, and a connection apart for consumers.

Two connections, because a broker short of disk stops reading from the one that publishes, acknowledgements included.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from aiormq.abc import AbstractConnection
from aiormq.channel import Channel
from aiormq.exceptions import DeliveryError, PublishError

from bus.failpoints import failpoint
from bus.link import Link, abandon, bounded
from bus.messages import Outgoing, properties_of
from bus.topology import UNROUTED, declare_exchange, is_foreign
from contracts.errors import Unavailable

PUBLISH_TIMEOUT_S: Final = 5.0
IN_FLIGHT: Final = 200

#: Why a message is not confirmed, or None when it is.
Outcome = str | None


class Broker:
    """Reconnects by itself between `start` and `close`; while there is no broker, publishes fail within their time."""

    def __init__(self, url: str, *, name: str = "backoffice") -> None:
        self._publishing = Link(url, name=f"{name} publish")
        self._consuming = Link(url, name=f"{name} consume")
        self._channels: dict[str, Channel] = {}
        #: Exchanges of ours that returned a message: somebody has deleted their alternate, or its queue.
        self._doubtful: set[str] = set()
        self._opening = asyncio.Lock()
        #: Held while queues are declared. RabbitMQ tells whoever declares a queue second that it is there before it is,
        #: and takes the whole connection of whoever then consumes from it.
        self.declaring = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether both connections stand."""
        return self._publishing.connected and self._consuming.connected

    async def start(self) -> None:
        """Begins to connect in the background; a missing broker is not an error."""
        self._publishing.start()
        self._consuming.start()

    async def close(self) -> None:
        """Closes both connections; bounded, whatever the broker does."""
        await asyncio.gather(self._consuming.close(), self._publishing.close())

    async def consuming(self) -> AbstractConnection:
        """The connection for consumers; waits until there is one."""
        return await self._consuming.connection()

    async def ready_to_publish(self, timeout_s: float) -> bool:
        """Whether there is a connection to publish on, after waiting for one at most `timeout_s`."""
        try:
            await asyncio.wait_for(self._publishing.connection(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def publish(self, message: Outgoing, *, timeout_s: float = PUBLISH_TIMEOUT_S) -> None:
        """Publishes one message and waits for its confirm.

        Raises Unavailable when it is not confirmed in time, returned or refused.
        """
        (outcome,) = await self.publish_batch([message], timeout_s=timeout_s)
        if outcome is not None:
            raise Unavailable(f"The broker did not take the message: {outcome}")

    async def publish_batch(
        self, messages: Sequence[Outgoing], *, timeout_s: float = PUBLISH_TIMEOUT_S
    ) -> list[Outcome]:
        """Publishes with up to 200 in flight and waits for the confirms, `timeout_s` in all.

        Returns an outcome per message; one that is not None may nevertheless have reached its queue. Never raises for
        what the broker does.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        outcomes: list[Outcome] = []
        for start in range(0, len(messages), IN_FLIGHT):
            outcomes += await self._publish(messages[start : start + IN_FLIGHT], deadline)
        return outcomes

    async def _publish(self, messages: Sequence[Outgoing], deadline: float) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(self._publish_one(message)) for message in messages]
        try:
            await asyncio.sleep(0)
            failpoint("relay.after_publish_before_confirm")
            await asyncio.wait(tasks, timeout=max(0.0, deadline - loop.time()))
        finally:
            for task in tasks:
                if not task.done():
                    abandon(task)
        return [_outcome(task) if task.done() else "not confirmed in time" for task in tasks]

    async def _publish_one(self, message: Outgoing) -> None:
        channel = await self._channel(message.exchange)
        try:
            await channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=properties_of(message),
                mandatory=True,
                wait=False,
            )
        except PublishError:
            if not is_foreign(message.exchange):
                self._doubtful.add(message.exchange)
                raise
            # Nobody listens there. It may have no alternate of ours, so this does what one would.
            await self._publish_one(msgspec.structs.replace(message, exchange=UNROUTED))

    async def _channel(self, exchange: str) -> Channel:
        # A channel per exchange: the broker closes the channel of a publish that it refuses, and only the messages for
        # the exchange that is missing or forbidden shall suffer.
        connection = await self._publishing.connection()
        if (channel := self._open_channel(exchange, connection)) and exchange not in self._doubtful:
            return channel
        async with self._opening:
            connection = await self._publishing.connection()
            channel = self._open_channel(exchange, connection)
            if exchange and (channel is None or exchange in self._doubtful):
                await bounded(declare_exchange(connection, exchange), PUBLISH_TIMEOUT_S)
            self._doubtful.discard(exchange)
            if channel is None:
                opened = await bounded(connection.channel(), PUBLISH_TIMEOUT_S)
                assert isinstance(opened, Channel)
                self._channels[exchange] = channel = opened
            return channel

    def _open_channel(self, exchange: str, connection: AbstractConnection) -> Channel | None:
        channel = self._channels.get(exchange)
        return None if channel is None or channel.is_closed or channel.connection is not connection else channel


def _outcome(task: asyncio.Task[None]) -> Outcome:
    if task.cancelled():
        return "the connection closed"
    error = task.exception()
    match error:
        case None:
            return None
        case PublishError():
            return f"returned: {getattr(error.frame, 'reply_code', None)} {getattr(error.frame, 'reply_text', None)}"
        case DeliveryError():
            return "refused by the broker"
        case _:
            return f"{type(error).__name__}: {error}"[:300]
