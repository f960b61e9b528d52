"""What the mailer's tests share: its database, and mails to put into it."""

import asyncio
import inspect
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import aio_pika
import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar

from chassis.db import Database
from chassis.lifecycle import Runtime
from chassis.settings import Secret
from contracts.mailer import MAIL_QUEUE
from mailer.app import build
from mailer.domain.emails import NewMail
from mailer.domain.identifiers import new_id
from testkit.plugin import ServiceDatabase, ServiceEnv
from testkit.tokens import Identities

MakeMail = Callable[..., NewMail]


@pytest_asyncio.fixture
async def db(service_database: ServiceDatabase, db_role_secret: str) -> AsyncIterator[Database]:
    """The mailer's own roles on a migrated database of this test's own."""
    database = Database(await service_database("mailer"), "mailer", Secret(db_role_secret))
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


@pytest.fixture
def make_mail() -> MakeMail:
    """`make_mail(tenant, to_email=...)`: a mail as intake would queue it."""

    def make(tenant_id: UUID, **fields: Any) -> NewMail:
        now = datetime.now(UTC)
        mail_id = new_id(now)
        defaults: dict[str, Any] = {
            "id": mail_id,
            "tenant_id": tenant_id,
            "to_email": f"{secrets.token_hex(4)}@example.com",
            "to_name": None,
            "template": "welcome",
            "locale": None,
            "variables": '{"name": "Ana"}',
            "secret_variables": None,
            "message_id": f"<{mail_id}@mailer.test>",
            "job_id": None,
            "traceparent": None,
            "created_at": now,
        }
        return NewMail(**defaults | fields)

    return make


class Service:
    """The running mailer, as its neighbours see it: a queue, an HTTP port, a database, and the mails that arrive."""

    def __init__(self, app: Litestar, http: httpx.AsyncClient, identities: Identities, amqp_url: str) -> None:
        self.app = app
        self.http = http
        self.identities = identities
        self.amqp_url = amqp_url

    @property
    def db(self) -> Database:
        runtime: Runtime = self.app.state.runtime
        return runtime.db

    async def publish(self, *bodies: Any, message_id: str | None = None, headers: dict[str, Any] | None = None) -> None:
        """Puts jobs into `mail_queue`, as the Go core does: a plain client, the default exchange."""
        async with await aio_pika.connect(self.amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(MAIL_QUEUE, durable=True)
            for body in bodies:
                raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
                message = aio_pika.Message(raw, message_id=message_id, headers=headers)
                await channel.default_exchange.publish(message, MAIL_QUEUE)

    async def call(
        self, method: str, path: str, tenant_id: UUID | None, *permissions: str, kind: str = "user", **options: Any
    ) -> httpx.Response:
        """A request as the gateway would pass it on; without permissions named, the caller holds all."""
        granted = permissions or ("*",)
        headers = self.identities.headers("mailer", tenant_id=tenant_id, permissions=granted, kind=kind)
        return await self.http.request(method, path, headers=headers | options.pop("headers", {}), **options)


@asynccontextmanager
async def _living(app: Litestar) -> AsyncIterator[None]:
    """The app between startup and shutdown, in a task of their own: they must share one, and fixtures do not."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await stop.wait()

    life = asyncio.create_task(live())
    first = asyncio.create_task(started.wait())
    await asyncio.wait({life, first}, return_when=asyncio.FIRST_COMPLETED)
    first.cancel()
    try:
        if not life.done():
            yield
    finally:
        stop.set()
        await life


@pytest_asyncio.fixture
async def start(
    service_env: ServiceEnv, identities: Identities, amqp_url: str
) -> AsyncIterator[Callable[..., Awaitable[Service]]]:
    """`await start(SMTP_URL=...)`: the mailer of that environment, running until the test ends."""
    async with AsyncExitStack() as stack:

        async def start_mailer(**overrides: str) -> Service:
            app = build(await service_env("mailer", SHUTDOWN_GRACE_S="5", **overrides))
            await stack.enter_async_context(_living(app))
            transport = httpx.ASGITransport(app=cast("Any", app))
            http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://mailer"))
            return Service(app, http, identities, amqp_url)

        yield start_mailer


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """`await until(condition)`: returns once it holds (a function, perhaps async); fails the test if it never does."""

    async def wait(condition: Callable[[], Any], *, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            outcome = condition()
            if inspect.isawaitable(outcome):
                outcome = await outcome
            if outcome:
                return
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.sleep(0.02)

    return wait
