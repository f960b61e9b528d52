"""Following without a database: nothing between the snapshot and the events is missed, over restarts of the broker."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from aiormq.abc import AbstractChannel

from bus.connection import Broker
from bus.envelope import Envelope, encode_event
from bus.follower import follow
from bus.messages import Outgoing
from contracts.event import event_type
from contracts.mailer import EmailSent
from testkit.embedded.broker import EmbeddedBroker

from .support import eventually, sent

TYPES = [event_type(EmailSent)]


def message(template: str) -> Outgoing:
    event = sent(template=template)
    body = encode_event(
        event,
        event_id=uuid4(),
        tenant_id=None,
        subject=None,
        time=datetime.now(UTC),
        traceparent=None,
        source="/test",
    )
    return Outgoing(exchange="mailer.events", routing_key=event_type(event), body=body)


class Follower:
    """What a follower saw, and how often it began anew."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.attached = 0
        self.stopping = asyncio.Event()
        self.before_attached: Callable[[], None] = lambda: None

    async def on_attached(self) -> None:
        self.before_attached()
        self.attached += 1

    def on_event(self, envelope: Envelope) -> None:
        self.seen.append(bytes(envelope.data).decode())

    def start(self, broker: Broker) -> asyncio.Task[None]:
        return asyncio.create_task(
            follow(broker, TYPES, on_attached=self.on_attached, on_event=self.on_event, stopping=self.stopping)
        )

    async def attached_times(self, count: int) -> None:
        async def enough() -> bool:
            return self.attached >= count

        await eventually(enough, within_s=30)

    async def saw(self, template: str) -> None:
        async def there() -> bool:
            return any(template in data for data in self.seen)

        await eventually(there)


async def test_two_followers_see_every_event_and_leave_no_queue(broker: Broker, channel: AbstractChannel) -> None:
    first, second = Follower(), Follower()
    tasks = [first.start(broker), second.start(broker)]
    await asyncio.gather(first.attached_times(1), second.attached_times(1))
    await broker.publish(message("one"))
    await channel.basic_publish(b"no event", exchange="mailer.events", routing_key=TYPES[0])
    await broker.publish(message("two"))
    for follower in (first, second):
        await follower.saw("two")
        assert len(follower.seen) == 2
        follower.stopping.set()
    await asyncio.gather(*tasks)


async def test_an_event_during_the_snapshot_comes_after_it(broker: Broker) -> None:
    follower = Follower()
    order: list[str] = []

    async def slow_snapshot() -> None:
        await broker.publish(message("meanwhile"))
        order.append("snapshot")

    task = asyncio.create_task(
        follow(
            broker,
            TYPES,
            on_attached=slow_snapshot,
            on_event=lambda _: order.append("event"),
            stopping=follower.stopping,
        )
    )

    async def both() -> bool:
        return order == ["snapshot", "event"]

    await eventually(both)
    follower.stopping.set()
    await task


async def test_a_snapshot_that_cannot_be_had_is_asked_for_again(broker: Broker) -> None:
    follower = Follower()
    failures = iter([OSError("away"), OSError("away")])

    def fail() -> None:
        for error in failures:
            raise error

    follower.before_attached = fail
    task = follower.start(broker)
    await follower.attached_times(1)
    follower.stopping.set()
    await task


async def test_it_begins_anew_when_the_broker_comes_back(private_broker: EmbeddedBroker) -> None:
    broker = Broker(private_broker.url)
    await broker.start()
    follower = Follower()
    task = follower.start(broker)
    await follower.attached_times(1)
    await asyncio.to_thread(private_broker.crash)
    await asyncio.to_thread(private_broker.start)
    await follower.attached_times(2)
    await broker.publish(message("after"), timeout_s=20)
    await follower.saw("after")
    follower.stopping.set()
    await task
    await broker.close()
