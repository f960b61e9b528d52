"""What these tests share: the service's database, a tenant's id, and the running service."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from tenants.app import build
from testkit.plugin import ServiceDatabase, ServiceEnv
from testkit.service import RunningService, running
from testkit.tokens import Identities

Start = Callable[..., Awaitable[RunningService]]
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def db(service_database: ServiceDatabase, db_role_secret: str) -> AsyncIterator[Database]:
    """The service's own roles on a migrated database of this test's own."""
    database = Database(await service_database("tenants"), "tenants", Secret(db_role_secret))
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


@pytest_asyncio.fixture
async def conn(db: Database, tenant: UUID) -> AsyncIterator[Connection]:
    """A transaction of the tenant."""
    async with transaction(db, tenant) as connection:
        yield connection


@pytest.fixture
def box() -> SecretBox:
    return SecretBox(Secret("a-key-of-the-tests-that-is-long-enough"))


@pytest_asyncio.fixture
async def start(service_env: ServiceEnv, identities: Identities, amqp_url: str) -> AsyncIterator[Start]:
    """`await start(STRIPE_SECRET_KEY=...)`: tenants of that environment, running until the test ends."""
    async with AsyncExitStack() as stack:

        async def start_tenants(**overrides: str) -> RunningService:
            app = build(
                await service_env("tenants", SHUTDOWN_GRACE_S="5", JWT_SECRET=identities.jwt_secret, **overrides)
            )
            return await stack.enter_async_context(running("tenants", app, identities))

        yield start_tenants
