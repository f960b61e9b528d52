"""The sample service, running in process on a database of its own, and mostly without a broker."""

import importlib
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from litestar import Litestar

from testkit.plugin import ServiceDatabase
from testkit.service import living
from testkit.tokens import Identities

from .client import Client, Env, Start

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def env(service_database: ServiceDatabase, identities: Identities, db_role_secret: str) -> Env:
    """`await env(ROLE="api")`: an environment for the sample service, with nothing where the broker should be."""

    async def of(**overrides: str) -> dict[str, str]:
        return {
            "DATABASE_URL": overrides.get("DATABASE_URL") or await service_database("sample"),
            "DB_ROLE_SECRET": db_role_secret,
            "AMQP_URL": "amqp://sample:none@127.0.0.1:9",
            "INTERNAL_PUBLIC_KEY": identities.public_key,
            "SECRETS_KEY": secrets.token_urlsafe(32),
            "PORT": "0",
            "METRICS_PORT": "0",
            "ENVIRONMENT": "local",
            "DRAIN_WAIT_S": "0.2",
            "SHUTDOWN_GRACE_S": "5",
        } | overrides

    return of


@pytest_asyncio.fixture
async def start(env: Env, identities: Identities) -> AsyncIterator[Start]:
    """`await start(ROLE="api")`: the sample service, up."""
    async with AsyncExitStack() as stack:

        async def of(**overrides: str) -> Client:
            app: Litestar = importlib.import_module("sample.app").build(await env(**overrides))
            await stack.enter_async_context(living(app))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]
            http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://sample"))
            return Client(app, identities, http)

        yield of


@pytest_asyncio.fixture
async def client(start: Start) -> Client:
    """The sample service without consumers."""
    return await start(ROLE="api")
