"""One service and one gateway in front of it for each test that asks."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from .support import Gateway, Service, start_gateway


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = await Service().start()
    yield service
    await service.stop()


@pytest.fixture
async def launch() -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    """Starts gateways that are stopped with the test."""
    running: list[Gateway] = []

    async def start(*args: object, **env: str) -> Gateway:
        running.append(await start_gateway(*args, **env))  # type: ignore[arg-type]  # the table, if any
        return running[-1]

    yield start
    for gateway in running:
        if not gateway.task.done():
            await gateway.close()


@pytest.fixture
async def gateway(service: Service, launch: Callable[..., Awaitable[Gateway]]) -> Gateway:
    """A gateway whose mailer, billing and agents are `service`."""
    return await launch(
        upstream_mailer=service.url,
        upstream_billing=service.url,
        upstream_agents=service.url,
        cors_origins="https://app.example.com",
    )
