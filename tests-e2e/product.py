"""The whole product for journeys about money and people: every service supervised, the providers' fakes beside it.

It stands on the rig's Postgres and mail server, with a database, a broker and a gateway of its own.
"""

import asyncio
import contextlib
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

import aio_pika
import asyncpg
import httpx
from faults.rig import Rig, through
from stack import Supervised, chassis_command, free_port, gateway_environment, migrated, served, service_environment

from testkit.databases import with_database
from testkit.embedded.broker import EmbeddedBroker, embedded_broker
from testkit.embedded.place import open_dir
from testkit.fake_asaas import FakeAsaas
from testkit.fake_pagbank import FakePagBank
from testkit.fake_stripe import FakeStripe

SERVICES = ("billing", "mailer", "tenants")
PATIENCE_S = 40.0


class Product:
    """Gateway, billing, mailer, tenants, and what they stand on."""

    def __init__(self, rig: Rig, **settings: str) -> None:
        self.rig = rig
        self.made = rig.made
        self.broker: EmbeddedBroker = embedded_broker(open_dir(rig.directory / "product-broker"))
        self.stripe = FakeStripe(
            api_key=f"sk_test_{secrets.token_hex(16)}", webhook_secret=f"whsec_{'k' * 8}{secrets.token_hex(12)}"
        )
        self.asaas = FakeAsaas(api_key=f"$aact_hmlg_{secrets.token_hex(16)}")
        self.pagbank = FakePagBank(token=secrets.token_hex(24))
        self.checkout_key = f"nxs_{secrets.token_hex(32)}"
        self.told: list[dict[str, Any]] = []
        self.running: dict[str, Supervised] = {}
        self._settings = settings
        self._stack = AsyncExitStack()
        self.database_url = ""

    @property
    def gateway(self) -> Supervised:
        """The edge that clients talk to."""
        return self.running["gateway"]

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return self.gateway.url

    async def start(self) -> None:
        """Everything up, with the demo plans of the migrations for sale."""
        await asyncio.to_thread(self.broker.start)
        self._stack.callback(self.broker.wipe)
        self.database_url = await self._database()
        for service in SERVICES:
            await migrated(service, owner_url=self.database_url, made=self.made)
        for fake in (self.stripe, self.asaas, self.pagbank):
            await self._stack.enter_async_context(fake.serving())
        port = free_port()
        token = secrets.token_hex(20)
        edge = f"http://127.0.0.1:{port}"
        environments = {
            "billing": {
                "STRIPE_SECRET_KEY": self.stripe.front.api_key,
                "STRIPE_WEBHOOK_SECRET": self.stripe.webhook_secret,
                "STRIPE_API_BASE": self.stripe.url,
                "ASAAS_API_KEY": self.asaas.api_key,
                "ASAAS_WEBHOOK_TOKEN": token,
                "ASAAS_API_BASE": self.asaas.url,
                "PAGSEGURO_TOKEN": self.pagbank.token,
                "PAGBANK_API_BASE": self.pagbank.url,
                "PUBLIC_URL": edge,
                "CONTACT_EMAIL": "desk@example.org",
                "SCHEDULE_EVERY_S": "2",
            },
            "mailer": {
                "SMTP_URL": self.rig.smtp.url,
                "ALLOW_PRIVATE_SMTP": "true",
                "SENDER_EMAIL": "no-reply@product.example.org",
                "MAIL_LEASE_S": "4",
            },
            "tenants": {
                "JWT_SECRET": self.made.jwt,
                "FRONTEND_URL": "https://app.example.com",
                "EXTERNAL_API_KEY": self.checkout_key,
            },
        }
        for service, own in environments.items():
            self.running[service] = self._service(service, {**own, **self._settings})
        upstreams = {service: self.running[service].url for service in SERVICES}
        environment = gateway_environment(
            port=port, made=self.made, upstreams=upstreams, AMQP_URL=self.broker.url, DRAIN_WAIT_S="0.6"
        )
        self.running["gateway"] = served(
            "gateway",
            environment,
            log=self.rig.directory / "product-gateway.log",
            name="product-gateway",
            test_build=True,
        )
        await self._stack.enter_async_context(_listening(self.broker.url, self.told))
        for one in self.running.values():
            await one.start()
        await asyncio.gather(*(one.ready(timeout_s=60) for one in self.running.values()))
        self.stripe.sender.urls[:] = [f"{edge}/stripe/webhook"]
        self.asaas.add_webhook(f"{edge}/webhooks/asaas", token)

    async def stop(self) -> None:
        """Stop whatever was started, in the opposite order."""
        for one in reversed(list(self.running.values())):
            with contextlib.suppress(TimeoutError):
                await one.stop()
        await self._stack.aclose()

    @asynccontextmanager
    async def second_billing(self) -> AsyncIterator[None]:
        """Another instance of billing, behind a gateway of its own: meanwhile Stripe's webhooks go to both."""

        def another(name: str, **own: str) -> Supervised:
            ports = {"PORT": str(free_port()), "METRICS_PORT": str(free_port())}
            environment = {**self.running[name].environment, **ports, **own}
            label = f"product-{name}-2"
            return served(name, environment, log=self.rig.directory / f"{label}.log", name=label, test_build=True)

        billing = another("billing")
        gateway = another("gateway", UPSTREAM_BILLING=billing.url)
        urls = self.stripe.sender.urls
        try:
            for one in (billing, gateway):
                await one.start()
                await one.ready(timeout_s=60)
            urls.append(f"{gateway.url}/stripe/webhook")
            yield
        finally:
            del urls[1:]
            await gateway.stop()
            await billing.stop()

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client of the gateway, signed in with a token or not at all."""
        signed = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, headers={**signed, **headers}, timeout=40, trust_env=False)

    def stripe_client(self) -> httpx.AsyncClient:
        """A client of the fake Stripe, as another program that has its key."""
        headers = {"Authorization": f"Bearer {self.stripe.front.api_key}"}
        return httpx.AsyncClient(base_url=self.stripe.url, headers=headers, timeout=20, trust_env=False)

    async def rows(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """What the product stored, read past it."""
        connection = await asyncpg.connect(self.database_url, timeout=5)
        try:
            return [dict(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()

    async def mails(self, to: str, *, count: int = 1, subject: str | None = None) -> list[EmailMessage]:
        """The mails that arrived for this recipient, perhaps of one subject, once there are so many; by Message-ID."""

        def found() -> list[EmailMessage]:
            by_id: dict[str, EmailMessage] = {}
            for one in self.rig.smtp.accepted:
                if to in one.recipients:
                    mail = message_from_bytes(one.raw, policy=modern)
                    assert isinstance(mail, EmailMessage)
                    if subject is None or re.search(subject, str(mail["Subject"])):
                        by_id[one.message_id] = mail
            return list(by_id.values())

        async def enough() -> bool:
            return len(found()) >= count

        await self.until(enough, f"{count} mails to {to}")
        return found()

    async def until(
        self, condition: Callable[[], Awaitable[object]], what: str, *, within_s: float = PATIENCE_S
    ) -> Any:
        """What the condition returns once that is true; fails with the logs' ends if it never is."""
        deadline = time.monotonic() + within_s
        while not (value := await condition()):
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{one.log_tail(1500)}" for name, one in self.running.items())
                raise AssertionError(f"never came: {what}\n{logs}")
            await asyncio.sleep(0.1)
        return value

    def events(self, *types: str, **data: str) -> list[dict[str, Any]]:
        """What was told on the exchanges of those types, each event once; `data` narrows by fields."""
        by_id = {
            event["id"]: event
            for event in self.told
            if event["type"] in types and all(str(event["data"].get(name)) == value for name, value in data.items())
        }
        return list(by_id.values())

    async def command(self, *words: str) -> str:
        """Run `python -m chassis ...` as an operator does. Raises RuntimeError with its output."""
        environment = {**self.running["billing"].environment, "DATABASE_URL": self.database_url}
        return await chassis_command(*words, environment=environment)

    async def at_rest(self, *, within_s: float = 120.0) -> None:
        """Nothing is on its way any more: outboxes are empty, provider events dealt with, mails sent, for a second.

        Raises AssertionError once nothing has become less for `within_s`.
        """
        waits: dict[str, Any] = {}

        async def quiet() -> bool:
            nonlocal waits
            (waits,) = await self.rows(
                """
                SELECT (SELECT count(*) FROM billing.outbox WHERE published_at IS NULL) AS billing_events,
                       (SELECT count(*) FROM tenants.outbox WHERE published_at IS NULL) AS tenants_events,
                       (SELECT count(*) FROM mailer.outbox WHERE published_at IS NULL) AS mailer_events,
                       (SELECT count(*) FROM billing.provider_events WHERE status = 'received') AS provider_events,
                       (SELECT count(*) FROM mailer.emails WHERE status IN ('queued', 'sending')) AS mails
                """
            )
            return not any(waits.values())

        least: int | None = None
        since: float | None = None
        while since is None or time.monotonic() - since < 1.0:
            since = (since or time.monotonic()) if await quiet() else None
            left = sum(waits.values())
            if least is None or left < least:
                least, deadline = left, time.monotonic() + within_s
            if time.monotonic() > deadline:
                letters = await self.rows(
                    "SELECT queue, reason FROM billing.dead_letters ORDER BY died_at DESC LIMIT 3"
                )
                raise AssertionError(f"never at rest: {waits}, {letters}")
            await asyncio.sleep(0.2)

    def _service(self, name: str, own: Mapping[str, str]) -> Supervised:
        environment = service_environment(
            port=free_port(),
            database_url=through(self.database_url, self.rig.postgres_link),
            amqp_url=self.broker.url,
            made=self.made,
            DRAIN_WAIT_S="0.6",
            LOG_LEVEL="warning",
            **own,
        )
        label = f"product-{name}"
        return served(name, environment, log=self.rig.directory / f"{label}.log", name=label, test_build=True)

    async def _database(self) -> str:
        name = f"product_{secrets.token_hex(4)}"
        connection = await asyncpg.connect(self.rig.postgres.url)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return with_database(self.rig.postgres.url, name)


@contextlib.asynccontextmanager
async def _listening(amqp_url: str, told: list[dict[str, Any]]) -> Any:
    """Keeps every event of billing and tenants, whatever happens to the broker."""

    async def listen() -> None:
        while True:
            try:
                async with await aio_pika.connect(amqp_url, timeout=5) as connection:
                    channel = await connection.channel()
                    queue = await channel.declare_queue("product-observer", durable=True)
                    for exchange in ("billing.events", "tenants.events"):
                        await queue.bind(await channel.get_exchange(exchange), "#")
                    async with queue.iterator() as messages:
                        async for message in messages:
                            told.append(json.loads(message.body))
                            await message.ack()
            except Exception:
                await asyncio.sleep(0.3)

    task = asyncio.create_task(listen())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
