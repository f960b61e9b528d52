"""Starts what the services stand on, embedded where no URL replaces it, and stops exactly that, in order."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg

from runner.layout import Layout
from testkit.databases import with_database
from testkit.embedded.broker import EmbeddedBroker, embedded_broker
from testkit.embedded.place import open_dir
from testkit.embedded.postgres import EmbeddedPostgres
from testkit.embedded.process import EmbeddedError, free_port
from testkit.mail_sink import mail_sink

DATABASE = "backoffice"
_WATCH_EVERY_S = 1.0


@dataclass(frozen=True)
class Parts:
    """The URLs of what the services stand on."""

    database_url: str
    amqp_url: str
    smtp_url: str


@asynccontextmanager
async def parts(layout: Layout, env: Mapping[str, str], say: Callable[[str], None]) -> AsyncIterator[Parts]:
    """Everything started, Postgres and the broker at the same time; a server of ours that dies is started again.

    Stopped in the opposite order: sink, broker, Postgres. Raises: EmbeddedError with what to do when one cannot be had.
    """
    open_dir(layout.state)
    async with AsyncExitStack() as begun:
        postgres = broker = None
        if not env.get("DATABASE_URL"):
            postgres = await begun.enter_async_context(_kept("Postgres", EmbeddedPostgres(layout.state), say))
        if not env.get("AMQP_URL"):
            chosen = await asyncio.to_thread(embedded_broker, layout.state)
            broker = await begun.enter_async_context(_kept("the broker", chosen, say))
        database_url = await _own_database(await postgres.answers()) if postgres else env["DATABASE_URL"]
        amqp_url = await broker.answers() if broker else env["AMQP_URL"]
        sink = None if env.get("SMTP_URL") else await begun.enter_async_context(_sink(layout, say))
        yield Parts(database_url, amqp_url, sink or env["SMTP_URL"])


class _Kept:
    """A server that is being started in a thread, then watched, and that ends stopped whenever it is interrupted."""

    def __init__(self, name: str, server: EmbeddedPostgres | EmbeddedBroker, say: Callable[[str], None]) -> None:
        self._name, self._server, self._say = name, server, say
        self._starting = asyncio.create_task(asyncio.to_thread(server.start))
        self._watching: asyncio.Task[None] | None = None

    async def answers(self) -> str:
        """Its URL, once it answers; it is watched from then on."""
        began = time.monotonic()
        self._say(f"waiting for {self._name}")
        url = await asyncio.shield(self._starting)
        self._say(f"{self._name} answers, {time.monotonic() - began:.1f} s later")
        self._watching = asyncio.create_task(self._watch())
        return url

    async def stop(self) -> None:
        """Stop it, however far it came."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        self._server.give_up()
        await asyncio.wait([self._starting])
        if not self._starting.cancelled():
            self._starting.exception()  # Whoever waited for it has seen it.
        await asyncio.to_thread(self._server.stop)
        self._say(f"{self._name} stopped")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            if self._server.running:
                continue
            self._say(f"{self._name} died; starting it again")
            self._starting = asyncio.create_task(asyncio.to_thread(self._server.start))
            try:
                await asyncio.shield(self._starting)
            except EmbeddedError as error:
                self._say(f"{self._name} does not start: {error}")


@asynccontextmanager
async def _kept(
    name: str, server: EmbeddedPostgres | EmbeddedBroker, say: Callable[[str], None]
) -> AsyncIterator[_Kept]:
    kept = _Kept(name, server, say)
    try:
        yield kept
    finally:
        await kept.stop()


async def _own_database(server_url: str) -> str:
    """Migrations restrict who may connect to their database, so it is not the one everybody starts from."""
    connection = await asyncpg.connect(server_url)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(
                await connection.fetchval("SELECT format('CREATE DATABASE %I', $1::text)", DATABASE)
            )
    finally:
        await connection.close()
    return with_database(server_url, DATABASE)


@asynccontextmanager
async def _sink(layout: Layout, say: Callable[[str], None]) -> AsyncIterator[str]:
    remembered = layout.state / "sink.port"
    preferred = int(remembered.read_text()) if remembered.exists() else None
    async with mail_sink(layout.mail_dir, port=free_port(preferred)) as sink:
        remembered.write_text(str(sink.port))
        say(f"mails are kept in {layout.mail_dir.relative_to(layout.root)}/")
        yield sink.url
