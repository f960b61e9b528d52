"""A consumer as a process, which dies of the message `kill`: python mortal_consumer.py DATABASE AMQP QUEUE."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from bus.connection import Broker
from bus.consumer import Consumer, Incoming, run_consumer
from bus.dead_letters import collector
from bus.inbox import first_time
from bus.outbox import Connection


async def main(database_url: str, amqp_url: str, queue: str) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=0, server_settings={"search_path": "bustest"})

    @asynccontextmanager
    async def transaction(tenant_id: UUID | None) -> AsyncIterator[Connection]:
        async with pool.acquire() as conn, conn.transaction():
            yield conn

    async def handle(messages: Sequence[Incoming]) -> None:
        async with transaction(None) as conn:
            for message in messages:
                if message.body == b"kill":
                    os._exit(9)
                # What was acknowledged a moment before a death may come again.
                if await first_time(conn, queue, message.message_id or ""):
                    await conn.execute("INSERT INTO effects (id) VALUES ($1)", message.message_id)

    broker = Broker(amqp_url)
    await broker.start()
    consumers = [Consumer(queue=queue, handle=handle, foreign=True), collector(queue, transaction)]
    stopping = asyncio.Event()
    await asyncio.gather(
        *(run_consumer(broker, consumer, transaction=transaction, stopping=stopping) for consumer in consumers)
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
