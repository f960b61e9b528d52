"""What the mailer's tests share: its database, and mails to put into it."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar

from chassis.db import Database
from chassis.settings import Secret
from contracts.mailer import MAIL_QUEUE
from mailer.app import build
from mailer.domain.emails import NewMail
from mailer.domain.identifiers import new_id
from testkit.plugin import ServiceDatabase, ServiceEnv
from testkit.service import RunningService, client_of, living
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


class Service(RunningService):
    """The running mailer, as its neighbours see it: also a queue."""

    def __init__(self, app: Litestar, http: httpx.AsyncClient, identities: Identities, amqp_url: str) -> None:
        super().__init__("mailer", app, http, identities)
        self.amqp_url = amqp_url

    async def publish(self, *bodies: Any, message_id: str | None = None, headers: dict[str, Any] | None = None) -> None:
        """Puts jobs into `mail_queue`, as the Go core does: a plain client, the default exchange."""
        async with await aio_pika.connect(self.amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(MAIL_QUEUE, durable=True)
            for body in bodies:
                raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
                message = aio_pika.Message(raw, message_id=message_id, headers=headers)
                await channel.default_exchange.publish(message, MAIL_QUEUE)


@pytest_asyncio.fixture
async def start(
    service_env: ServiceEnv, identities: Identities, amqp_url: str
) -> AsyncIterator[Callable[..., Awaitable[Service]]]:
    """`await start(SMTP_URL=...)`: the mailer of that environment, running until the test ends."""
    async with AsyncExitStack() as stack:

        async def start_mailer(**overrides: str) -> Service:
            app = build(await service_env("mailer", SHUTDOWN_GRACE_S="5", **overrides))
            await stack.enter_async_context(living(app))
            http = await stack.enter_async_context(client_of("mailer", app))
            return Service(app, http, identities, amqp_url)

        yield start_mailer
