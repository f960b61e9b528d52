"""The product under trial: gateway and mailer, supervised, with a fault proxy in each of their connections."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.parser import BytesHeaderParser
from email.policy import default as modern
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
from stack import (
    Secrets,
    Supervised,
    chassis_command,
    free_port,
    gateway_environment,
    migrated,
    served,
    service_environment,
)

from bus.connection import Broker
from bus.outbox import enqueue
from bus.relay import run_relay
from bus.topology import RETRY_DELAYS_S, delay_queue
from faults.load import QUEUE, CoreConnection, Job
from faults.observed import OBSERVER, Database, Events, Mail
from testkit.embedded.broker import EmbeddedBroker, embedded_broker
from testkit.embedded.place import open_dir
from testkit.embedded.postgres import EmbeddedPostgres
from testkit.fault_modes import Pass
from testkit.fault_proxy import FaultProxy
from testkit.ledger import Ledger
from testkit.smtp_server import ScriptedSmtp

TENANTS = 20
TEMPLATE = "fault"
AT_REST_S = 1.0
RETRIES = tuple(delay_queue(QUEUE, delay_s) for delay_s in RETRY_DELAYS_S)
SENT = "mailer.email.sent.v1"
_MARKER = re.compile(r"marker:(\S+) tenant:(\S+)")


class Rig:
    """The product. A row changes it as it needs and leaves it as it found it. To be started before anything else."""

    postgres_link: FaultProxy
    broker_link: FaultProxy
    mailer_link: FaultProxy

    def __init__(self, directory: Path, **mailer_settings: str) -> None:
        self.directory = open_dir(directory)
        self._mailer_settings = mailer_settings
        self.made = Secrets()
        self.tenants = [uuid.uuid4() for _ in range(TENANTS)]
        self.tokens = {tenant: self.made.tenant_token(tenant) for tenant in self.tenants}
        self.operator = self.made.platform_token()
        self.postgres = EmbeddedPostgres(open_dir(directory / "postgres"))
        self.broker: EmbeddedBroker = embedded_broker(open_dir(directory / "broker"))
        # What the server accepted is on disk before it says 250.
        self.smtp = ScriptedSmtp(ledger=directory / "smtp.jsonl")
        self.ledger = Ledger(directory / "ledger.jsonl")
        self._services: dict[str, Supervised] = {}
        self._events: Events | None = None
        self._mails: list[Mail] = []

    @property
    def gateway(self) -> Supervised:
        """The edge that clients talk to."""
        return self._services["gateway"]

    @property
    def mailer(self) -> Supervised:
        """The service behind it."""
        return self._services["mailer"]

    @property
    def database(self) -> Database:
        """A look past the product at what it stored."""
        return Database(self.postgres.url)

    @property
    def events(self) -> Events:
        """The observer of delivery events."""
        assert self._events is not None
        return self._events

    def service(self, name: str) -> Supervised:
        """A supervised process by its name."""
        return self._services[name]

    async def start(self) -> None:
        """Start every part, in the order of their needs, and give each tenant its template through the gateway."""
        await asyncio.gather(asyncio.to_thread(self.postgres.start), asyncio.to_thread(self.broker.start))
        await self.smtp.start()
        self.postgres_link = await _linked(self.postgres.url)
        self.broker_link = await _linked(self.broker.url)
        await migrated("mailer", owner_url=self.postgres.url, made=self.made)
        self._services["mailer"] = self._new_mailer("mailer")
        self.mailer_link = await _linked(self.mailer.url)
        self._services["gateway"] = self._new_gateway("gateway", mailer_url=f"http://127.0.0.1:{self.mailer_link.port}")
        for one in self._services.values():
            await one.start()
        await asyncio.gather(*(one.ready() for one in self._services.values()))
        self._events = Events(self.broker.url)
        await self._events.start()
        await self._seed()

    async def stop(self) -> None:
        """Stop whatever was started, in the opposite order, and delete what it stored."""
        for one in reversed(list(self._services.values())):
            with contextlib.suppress(TimeoutError):
                await one.stop()
        if self._events is not None:
            await self._events.stop()
        for link in ("mailer_link", "broker_link", "postgres_link"):
            if hasattr(self, link):
                await getattr(self, link).stop()
        await self.smtp.stop()
        self.ledger.close()
        await asyncio.gather(asyncio.to_thread(self.broker.wipe), asyncio.to_thread(self.postgres.crash))
        shutil.rmtree(self.directory, ignore_errors=True)

    async def calm(self) -> None:
        """Heal every link and wait until both services are ready: what a row may begin with."""
        for link in (self.postgres_link, self.broker_link, self.mailer_link):
            await link.become(Pass())
        await asyncio.gather(self.mailer.ready(timeout_s=60), self.gateway.ready(timeout_s=60))

    @asynccontextmanager
    async def changed(self, name: str, **environment: str) -> AsyncIterator[Supervised]:
        """The service restarted with more settings, and without them again afterwards."""
        one = self.service(name)
        before = dict(one.environment)
        await one.restart(environment={**before, **environment})
        await one.ready(timeout_s=60)
        try:
            yield one
        finally:
            await one.restart(environment=before)
            await one.ready(timeout_s=60)

    @asynccontextmanager
    async def more_mailers(self, count: int) -> AsyncIterator[list[Supervised]]:
        """Further instances of the mailer on the same database and queue."""
        made = [self._new_mailer(f"mailer-{number + 2}") for number in range(count)]
        async with _all_running(made):
            yield made

    @asynccontextmanager
    async def more_gateways(
        self, count: int, *, mailer_url: str, upstreams: Mapping[str, str] | None = None
    ) -> AsyncIterator[list[Supervised]]:
        """Further gateways, in front of the given upstreams."""
        made = [
            self._new_gateway(f"gateway-{number + 2}", mailer_url=mailer_url, upstreams=upstreams or {})
            for number in range(count)
        ]
        async with _all_running(made):
            yield made

    def _new_mailer(self, name: str) -> Supervised:
        environment = service_environment(
            port=free_port(),
            database_url=through(self.postgres.url, self.postgres_link),
            amqp_url=through(self.broker.url, self.broker_link),
            made=self.made,
            SMTP_URL=self.smtp.url,
            ALLOW_PRIVATE_SMTP="true",
            SENDER_EMAIL="no-reply@faults.example.org",
            **self._mailer_settings,
        )
        return served("mailer", environment, log=self.directory / f"{name}.log", name=name, test_build=True)

    def _new_gateway(self, name: str, *, mailer_url: str, upstreams: Mapping[str, str] | None = None) -> Supervised:
        environment = gateway_environment(
            port=free_port(), made=self.made, upstreams={"mailer": mailer_url, **(upstreams or {})}
        )
        return served("gateway", environment, log=self.directory / f"{name}.log", name=name, test_build=True)

    async def _seed(self) -> None:
        async with httpx.AsyncClient(base_url=self.gateway.url, timeout=15, trust_env=False) as http:
            for tenant in self.tenants:
                await self._template(http, tenant)

    async def _template(self, http: httpx.AsyncClient, tenant: uuid.UUID) -> None:
        """A template of the tenant's own: a mail shows by its subject whose it was rendered from."""
        answer = await http.post(
            "/email-templates",
            headers={"Authorization": f"Bearer {self.made.tenant_token(tenant)}"},
            json={
                "slug": TEMPLATE,
                "subject": f"marker:{{{{ marker }}}} tenant:{tenant}",
                "body_html": "<p>Hello, this is {{ marker }}.</p>",
                "variables": ["marker"],
            },
        )
        if answer.status_code != 201:
            raise RuntimeError(f"the template was answered {answer.status_code}: {answer.text}")

    async def own_smtp(self, tenant: uuid.UUID, *, port: int) -> None:
        """Give a new tenant its template and an SMTP server of its own, through the gateway."""
        async with httpx.AsyncClient(base_url=self.gateway.url, timeout=15, trust_env=False) as http:
            await self._template(http, tenant)
            answer = await http.post(
                "/email-settings",
                headers={"Authorization": f"Bearer {self.made.tenant_token(tenant)}"},
                json={
                    "provider": "smtp",
                    "smtp_host": "127.0.0.1",
                    "smtp_port": port,
                    "smtp_secure": False,
                    "sender_email": "no-reply@tenant.example.org",
                    "is_active": True,
                },
            )
            if answer.status_code != 201:
                raise RuntimeError(f"the settings were answered {answer.status_code}: {answer.text}")

    def mails(self) -> list[Mail]:
        """Every acceptance by the SMTP server, in order."""
        for accepted in self.smtp.accepted[len(self._mails) :]:
            subject = BytesHeaderParser(policy=modern).parsebytes(accepted.raw).get("Subject", "")
            found = _MARKER.search(str(subject))
            marker, tenant = found.groups() if found else (f"unreadable subject {subject!r}", "")
            self._mails.append(Mail(marker, tenant, accepted.message_id, accepted.at_s))
        return self._mails

    async def arrivals(self, keys: set[str], *, timeout_s: float) -> dict[str, float]:
        """When each of these mails was first accepted. Raises TimeoutError when some are missing for too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            found: dict[str, float] = {}
            for mail in self.mails():
                if mail.marker in keys:
                    found.setdefault(mail.marker, mail.at)
            if len(found) == len(keys):
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(keys) - len(found)} of {len(keys)} mails did not arrive in {timeout_s:g} s")
            await asyncio.sleep(0.1)

    async def unfinished(self) -> dict[str, int]:
        """What still waits, by place: queues (those of jobs to be tried again too), mails without an end, events not
        published, events not yet observed."""
        waits = await self.database.unfinished()
        core = CoreConnection(self.broker.url)
        try:
            for queue in (QUEUE, OBSERVER, *RETRIES):
                ready, consumers = await core.waiting(queue)
                # Without a consumer a queue rests only because nobody looks.
                waits[queue] = ready or (consumers == 0 and queue == QUEUE)
        finally:
            await core.close()
        return {place: count for place, count in waits.items() if count}

    async def settle(self, *, timeout_s: float, observed: bool = True) -> float | None:
        """Seconds until everything is at rest, and stays so for a second; None when it is not in time.

        A queue does not count what a consumer has in hand and has not yet stored: hence the second. The time in which
        nothing was left to do but to wait for a retry to fall due is not in the seconds.
        """
        began = seen = time.monotonic()
        since: float | None = None
        idle_s = 0.0
        while (now := time.monotonic()) - began < timeout_s:
            try:
                waits = await self.unfinished()
            except Exception:  # a part is just coming back
                waits = {"a part": 1}
            if not observed:
                waits.pop(OBSERVER, None)
            if not waits:
                since = since or now
                if now - since >= AT_REST_S:
                    return since - began - idle_s
            else:
                since = None
                idle_s += now - seen if waits.keys() <= set(RETRIES) else 0.0
            seen = now
            await asyncio.sleep(0.2)
        return None

    async def fate(self, addresses: Sequence[str]) -> list[str]:
        """What the product says of mails to these addresses, for a person who looks for a lost one."""
        rows = await self.database.fetch(
            "SELECT to_email, status, reason FROM mailer.emails WHERE to_email = ANY ($1::text[])", list(addresses)
        )
        letters = await self.database.fetch(
            "SELECT reason, count(*) AS n FROM mailer.dead_letters WHERE resolution IS NULL GROUP BY reason LIMIT 5"
        )
        told = [f"{row['to_email']} is {row['status']}: {row['reason']}" for row in rows]
        return [*told, *(f"{row['n']} dead: {row['reason'][:200]}" for row in letters)]

    async def told(self, email_ids: Iterable[uuid.UUID], *, timeout_s: float = 10) -> set[uuid.UUID]:
        """Those of these sent mails whose event has not been observed, after giving it time."""
        wanted = set(email_ids)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            wanted = {one for one in wanted if (one, SENT) not in self.events.by_email}
            if not wanted:
                break
            await asyncio.sleep(0.1)
        return wanted

    async def pass_time(self, tenant: uuid.UUID) -> None:
        """Make the tenant's deferred mails due, as waiting would."""
        await self.database.fetch(
            "UPDATE mailer.emails SET due_at = now() WHERE tenant_id = $1 AND status = 'deferred'", tenant
        )

    async def forget_mails(self, addresses_like: str) -> None:
        """Give up mails that never arrive, so that they disturb no later row."""
        await self.database.fetch(
            "UPDATE mailer.emails SET status = 'failed', due_at = NULL, reason = 'trial over', secret_variables = NULL,"
            " fence = fence + 1 WHERE to_email LIKE $1 AND due_at IS NOT NULL",
            addresses_like,
        )

    async def enqueue(self, work: Sequence[Job]) -> None:
        """Ask for these mails as another service of the product does: through an outbox, in one transaction each."""
        async with self._outbox() as pool:
            for job in work:
                async with pool.acquire() as conn, conn.transaction():
                    await enqueue(
                        conn,
                        queue=QUEUE,
                        body=job.body(),
                        tenant_id=uuid.UUID(job.tenant_id),
                        aggregate_id=uuid.uuid4(),
                    )

    async def relay_once(self, *, timeout_s: float = 60) -> None:
        """Relay the outbox from here until it is empty, while the mailer is away. Raises TimeoutError."""
        stopping = asyncio.Event()
        broker = Broker(self.broker.url)
        await broker.start()
        async with self._outbox() as pool:
            relay = asyncio.create_task(run_relay(pool, broker, stopping=stopping))
            try:
                await self._outbox_empty(timeout_s=timeout_s)
            finally:
                stopping.set()
                await relay
                await broker.close()

    async def _outbox_empty(self, *, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while (await self.database.unfinished())["events"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the outbox is not empty after {timeout_s:g} s")
            await asyncio.sleep(0.1)

    async def stop_postgres(self, kind: str) -> None:
        """End Postgres: `fast` and `immediate` are its shutdown modes, `kill -9` a crash."""
        match kind:
            case "fast":
                await asyncio.to_thread(self.postgres.stop)
            case "immediate":
                await asyncio.to_thread(_signalled, self.postgres, signal.SIGQUIT)
            case _:
                await asyncio.to_thread(self.postgres.crash)

    async def command(self, *words: str) -> str:
        """Run `python -m chassis ...` as an operator on the mailer's machine. Raises RuntimeError with its output."""
        environment = {**self.mailer.environment, "DATABASE_URL": self.postgres.url, "AMQP_URL": self.broker.url}
        return await chassis_command(*words, environment=environment)

    @asynccontextmanager
    async def _outbox(self) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
        settings = {"search_path": "mailer"}
        async with asyncpg.create_pool(self.postgres.url, min_size=1, max_size=4, server_settings=settings) as pool:
            yield pool


@asynccontextmanager
async def _all_running(made: Sequence[Supervised]) -> AsyncIterator[None]:
    try:
        for one in made:
            await one.start()
        await asyncio.gather(*(one.ready(timeout_s=60) for one in made))
        yield
    finally:
        await asyncio.gather(*(one.stop() for one in made), return_exceptions=True)


async def _linked(url: str) -> FaultProxy:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    link = FaultProxy(parts.hostname, parts.port)
    await link.start()
    return link


def through(url: str, link: FaultProxy) -> str:
    """The same URL by way of the proxy."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{link.port}"))


def _signalled(postgres: EmbeddedPostgres, number: signal.Signals) -> None:
    """Send the postmaster a signal and wait for its end."""
    pid = postgres.pid
    if pid is not None:
        os.kill(pid, number)
        while postgres.pid is not None:
            time.sleep(0.02)
    postgres.crash()
