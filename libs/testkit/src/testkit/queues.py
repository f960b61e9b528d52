"""Makes a shared broker look new to each test: deletes the queues and exchanges that the product declares."""

from collections.abc import Iterable

import aio_pika

from bus.topology import RETRY_DELAYS_S, UNROUTED, dead_queue, delay_queue

FOREIGN_QUEUES = ("mail_queue",)
#: Queues of services beside the one that bears the service's name.
OTHER_QUEUES = {"billing": ("billing.provider_events", "billing.people", "billing.tenant_claims")}
#: How long their messages wait, where it is not the product's usual time.
OTHER_DELAYS_S = {"billing.tenant_claims": (5.0, 300.0, 3600.0, 21600.0)}


def names_of(service: str) -> tuple[list[str], list[str]]:
    """The queues and the exchanges that a service of this name declares."""
    queues: list[str] = []
    for queue in (service, *OTHER_QUEUES.get(service, ())):
        delays = [delay_queue(queue, delay_s) for delay_s in OTHER_DELAYS_S.get(queue, RETRY_DELAYS_S)]
        queues += [queue, *delays, dead_queue(queue)]
    return queues, [f"{service}.events"]


async def clear_broker(url: str, services: Iterable[str], *, queues: Iterable[str] = ()) -> None:
    """Delete the queues and exchanges of these services, of the Go core and of `queues`, with what they hold.

    Deleting what does not exist is no error on either broker.
    """
    doomed_queues, doomed_exchanges = [*queues, UNROUTED], [UNROUTED, "core.events"]
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
