"""A schema with the bus's tables and roles, brokers' connections that are closed, consumers that are stopped."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiormq
import pytest
from aiormq.abc import AbstractChannel

from bus.connection import Broker
from testkit.queues import clear_broker

from .support import Background, BusDatabase, install, open_pools


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[BusDatabase]:
    await install(database_url)
    async with AsyncExitStack() as stack:
        yield await open_pools(database_url, stack)


@pytest.fixture
async def broker_url(broker_url: str, unique_name: str) -> AsyncIterator[str]:
    """The run's broker without what other tests left there: a queue that is still bound hears what nobody should, and a
    new one is given what waits in `unrouted`."""
    await clear_broker(broker_url, ["mailer"])
    yield broker_url
    await clear_broker(broker_url, [unique_name])


@pytest.fixture
async def broker(broker_url: str) -> AsyncIterator[Broker]:
    broker = Broker(broker_url)
    await broker.start()
    yield broker
    await broker.close()


@pytest.fixture
async def channel(broker_url: str) -> AsyncIterator[AbstractChannel]:
    """A plain client's channel, with confirms."""
    connection = await aiormq.connect(broker_url)
    yield await connection.channel()
    await connection.close()


@pytest.fixture
async def background(database: BusDatabase, broker: Broker) -> AsyncIterator[Background]:
    background = Background()
    yield background
    await background.stop()
