"""Makes a shared broker look new to each test: deletes the queues and exchanges that the product declares."""

from collections.abc import Iterable

import aio_pika

DELAYS_S = (5, 30, 300)
FOREIGN_QUEUES = ("mail_queue",)


def names_of(service: str) -> tuple[list[str], list[str]]:
    """The queues and the exchanges that a service of this name declares."""
    return [service, *(f"{service}.delay.{delay}s" for delay in DELAYS_S), f"{service}.dead"], [f"{service}.events"]


async def clear_broker(url: str, services: Iterable[str], *, queues: Iterable[str] = ()) -> None:
    """Delete the queues and exchanges of these services, of the Go core and of `queues`, with what they hold.

    Deleting what does not exist is no error on either broker.
    """
    doomed_queues, doomed_exchanges = list(queues), ["core.events"]
    for name in [*services, *FOREIGN_QUEUES]:
        of_queues, of_exchanges = names_of(name)
        doomed_queues += of_queues
        doomed_exchanges += of_exchanges
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(publisher_confirms=False)
        for queue in doomed_queues:
            await channel.queue_delete(queue)
        for exchange in doomed_exchanges:
            await channel.exchange_delete(exchange)
