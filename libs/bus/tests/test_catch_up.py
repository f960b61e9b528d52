"""A service that comes later has the events that were published before its queue existed, each once."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from aiormq.abc import AbstractChannel

from bus.connection import Broker
from bus.consumer import Handler, event_consumer
from bus.envelope import Envelope
from bus.outbox import Connection, tell
from contracts.event import Event
from contracts.mailer import EmailFailed, EmailSent

from .support import Background, BusDatabase, eventually, sent


async def test_a_new_queue_gets_what_nobody_listened_to(
    database: BusDatabase, broker: Broker, background: Background, unique_name: str, channel: AbstractChannel
) -> None:
    seen: dict[str, list[str]] = {}

    def handlers(service: str, events: Sequence[type[Event]]) -> list[Handler]:
        async def note(conn: Connection, event: EmailSent, envelope: Envelope) -> None:
            seen.setdefault(service, []).append(str(envelope.id))

        return [Handler(event, note) for event in events]

    background.relay(database, broker)
    async with database.transaction(None) as conn:
        ids = [str(await tell(conn, sent(), tenant_id=None, aggregate_id=uuid4())) for _ in range(20)]

    async def published() -> bool:
        return bool(await database.value("SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL"))

    await eventually(published)
    await asyncio.sleep(0.5)  # a quorum queue tells of what it has only now and then
    for service in (f"{unique_name}a", f"{unique_name}b"):
        background.consumer(
            database, broker, event_consumer(service, handlers(service, [EmailSent]), database.transaction)
        )

        async def caught_up(service: str = service) -> bool:
            return set(ids) <= set(seen.get(service, []))  # other tests may have left some of their own

        await eventually(caught_up, within_s=20)
    other = f"{unique_name}c"
    background.consumer(database, broker, event_consumer(other, handlers(other, [EmailFailed]), database.transaction))
    async with database.transaction(None) as conn:
        last = str(await tell(conn, sent(), tenant_id=None, aggregate_id=uuid4()))

    async def had_the_last() -> bool:
        return all(last in ids for ids in seen.values())

    await eventually(had_the_last)
    assert other not in seen
    assert all(len(one) == len(set(one)) for one in seen.values()), "an effect came twice"


async def test_queues_that_catch_up_at_once_wait_for_each_other(
    database: BusDatabase, broker: Broker, broker_url: str, background: Background, unique_name: str
) -> None:
    """One that reads holds every message: another would find nothing, and never look again."""
    seen: dict[str, set[str]] = {}

    def handler(service: str) -> Handler:
        async def note(conn: Connection, event: EmailSent, envelope: Envelope) -> None:
            seen.setdefault(service, set()).add(str(envelope.id))

        return Handler(EmailSent, note)

    background.relay(database, broker)
    async with database.transaction(None) as conn:
        ids = {str(await tell(conn, sent(), tenant_id=None, aggregate_id=uuid4())) for _ in range(60)}

    async def published() -> bool:
        return bool(await database.value("SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL"))

    await eventually(published)
    await asyncio.sleep(0.5)
    second = Broker(broker_url)
    await second.start()
    services = [f"{unique_name}{number}" for number in range(4)]
    for number, service in enumerate(services):
        consumer = event_consumer(service, [handler(service)], database.transaction)
        background.consumer(database, second if number % 2 else broker, consumer)

    async def all_have_all() -> bool:
        return all(ids <= seen.get(service, set()) for service in services)

    await eventually(all_have_all, within_s=30)
    await background.stop()
    await second.close()
