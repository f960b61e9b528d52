"""Every exchange, queue and argument that the product declares, once: both brokers refuse a differing redeclare.

`<service>.events`      topic exchange of a service; its alternate is `unrouted`
`unrouted`              events that nobody listens to: bounded, so that publishing them is neither failure nor burden
any other exchange      is somebody else's: looked up first, declared as a plain durable topic only where absent
`<queue>`               work
`<queue>.delay.<n>s`    waits n seconds, then falls back into `<queue>`
`<queue>.dead`          emptied into the table dead_letters by its collector
"""

from collections.abc import Sequence
from typing import Final

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.common import FieldTable

from bus.catch_up import catch_up
from contracts.event import exchange_of

RETRY_DELAYS_S: Final = (5.0, 30.0, 300.0)
UNROUTED: Final = "unrouted"
DECLARE_TIMEOUT_S: Final = 10.0

#: The Go core's exchange is called as a service's is.
_CORE_EVENTS: Final = "core.events"

_QUORUM: Final[FieldTable] = {"x-queue-type": "quorum"}
# A backstop only: attempts and deaths are counted by us. RabbitMQ 4 would otherwise drop at 20 redeliveries.
_WORK_DELIVERY_LIMIT: Final = 100
_DEAD_DELIVERY_LIMIT: Final = 1_000_000
_UNROUTED_ARGUMENTS: Final[FieldTable] = {
    **_QUORUM,
    "x-message-ttl": 72 * 3_600_000,
    "x-max-length": 10_000,
    "x-delivery-limit": _DEAD_DELIVERY_LIMIT,  # each queue that catches up gives the messages back
}


def delay_queue(queue: str, delay_s: float) -> str:
    """The queue in which a message of `queue` waits `delay_s` seconds."""
    return f"{queue}.delay.{delay_s:g}s"


def dead_queue(queue: str) -> str:
    """The queue of the messages of `queue` that will not be tried again."""
    return f"{queue}.dead"


def work_arguments(queue: str) -> FieldTable:
    """The arguments of a work queue of ours."""
    return {
        **_QUORUM,
        "x-delivery-limit": _WORK_DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue(queue),
    }


def delay_arguments(queue: str, delay_s: float) -> FieldTable:
    """The arguments of a delay queue of `queue`; one time to live in each, so that no message waits behind another."""
    return {
        **_QUORUM,
        "x-message-ttl": round(delay_s * 1000),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }


def dead_arguments() -> FieldTable:
    """The arguments of a dead queue."""
    return {**_QUORUM, "x-delivery-limit": _DEAD_DELIVERY_LIMIT}


def is_foreign(exchange: str) -> bool:
    """Whether this exchange has another owner, whose arguments we do not know: it has no alternate of ours then."""
    of_a_service = exchange.endswith(".events") and exchange.count(".") == 1 and exchange != _CORE_EVENTS
    return not of_a_service and exchange not in ("", UNROUTED)


async def declare_exchange(connection: AbstractConnection, name: str) -> None:
    """Makes sure that the exchange `name` exists: a service's topic exchange with its alternate, `unrouted` with its
    queue, or a foreign topic exchange, which is left as its owner declared it.

    Raises aiormq's AMQPError when the broker refuses or the connection is lost.
    """
    foreign = is_foreign(name)
    if foreign and await _exists(connection, exchange=name):
        return
    channel = await _channel(connection)
    if not foreign:
        await channel.exchange_declare(UNROUTED, exchange_type="fanout", durable=True, timeout=DECLARE_TIMEOUT_S)
        await channel.queue_declare(UNROUTED, durable=True, arguments=_UNROUTED_ARGUMENTS, timeout=DECLARE_TIMEOUT_S)
        await channel.queue_bind(UNROUTED, UNROUTED, timeout=DECLARE_TIMEOUT_S)
    if name != UNROUTED:
        arguments: FieldTable | None = None if foreign else {"alternate-exchange": UNROUTED}
        await channel.exchange_declare(
            name, exchange_type="topic", durable=True, arguments=arguments, timeout=DECLARE_TIMEOUT_S
        )
    await channel.close()


async def declare_queue(
    connection: AbstractConnection,
    queue: str,
    *,
    foreign: bool = False,
    event_types: Sequence[str] = (),
    delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> None:
    """Makes sure that `queue`, its delay queues and its dead queue exist, and that it receives `event_types`.

    A foreign queue is left as its owner declared it; where it does not exist it is made durable, without arguments. A
    new queue of events also gets copies of those that nobody listened to before.

    Raises aiormq's AMQPError when the broker refuses or the connection is lost.
    """
    await declare_dead_queue(connection, dead_queue(queue))
    exists = await _exists(connection, queue=queue)
    for exchange in sorted({exchange_of(name) for name in event_types}):
        await declare_exchange(connection, exchange)
    channel = await _channel(connection)
    if not (foreign and exists):
        arguments = None if foreign else work_arguments(queue)
        await channel.queue_declare(queue, durable=True, arguments=arguments, timeout=DECLARE_TIMEOUT_S)
    for delay_s in delays_s:
        await channel.queue_declare(
            delay_queue(queue, delay_s),
            durable=True,
            arguments=delay_arguments(queue, delay_s),
            timeout=DECLARE_TIMEOUT_S,
        )
    for name in event_types:
        await channel.queue_bind(queue, exchange_of(name), name, timeout=DECLARE_TIMEOUT_S)
    await channel.close()
    if event_types and not exists:
        await catch_up(connection, queue, UNROUTED, event_types)


async def declare_dead_queue(connection: AbstractConnection, name: str) -> None:
    """Makes sure that the dead queue called `name` exists.

    Raises aiormq's AMQPError when the broker refuses or the connection is lost.
    """
    channel = await _channel(connection)
    await channel.queue_declare(name, durable=True, arguments=dead_arguments(), timeout=DECLARE_TIMEOUT_S)
    await channel.close()


async def _exists(connection: AbstractConnection, *, queue: str | None = None, exchange: str | None = None) -> bool:
    # The broker answers a failed passive declare by closing the channel, hence a channel of its own.
    channel = await _channel(connection)
    try:
        if queue is not None:
            await channel.queue_declare(queue, passive=True, timeout=DECLARE_TIMEOUT_S)
        if exchange is not None:
            await channel.exchange_declare(exchange, passive=True, timeout=DECLARE_TIMEOUT_S)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def _channel(connection: AbstractConnection) -> AbstractChannel:
    return await connection.channel(publisher_confirms=False, timeout=DECLARE_TIMEOUT_S)
