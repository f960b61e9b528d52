"""A gateway told to stop under load finishes what it took on; a service that restarts behind it loses nothing."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from chassis.health import Health
from chassis.serve import ServedApp, serve_apps
from gateway.routes.row import PUBLIC, Row

from .support import OK, PRIVATE_KEY, SECRET, Gateway, Seen, Service, bearer, free_port, token

TABLE = {"mailer": (Row("GET", "/emails", PUBLIC, timeout_s=10), Row("POST", "/suppressions", PUBLIC, timeout_s=10))}
Launch = Callable[..., Awaitable[Gateway]]


class Caller:
    """A keep-alive client that obeys `Connection: close`, and counts requests that were never answered whole."""

    def __init__(self, port: int, method: str = "GET") -> None:
        self.port = port
        self.answered = 0
        self.lost: list[str] = []
        body = b"" if method == "GET" else b"Content-Length: 2\r\n"
        path = b"/emails" if method == "GET" else b"/suppressions"
        head = b"%b %b HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n%b\r\n"
        values = (method.encode(), path, bearer(token())["Authorization"].encode(), body)
        self._request = head % values + (b"{}" if body else b"")

    async def run(self, pause_s: float) -> None:
        """Call until the gateway no longer listens."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                return
            keep = await self._call(reader, writer)
            while keep:
                await asyncio.sleep(pause_s)
                keep = await self._call(reader, writer)
            await asyncio.sleep(pause_s)
            writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(self._request)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            # A connection that nobody wrote `close` on was idle when it was closed: this request was in flight then.
            self.lost.append(repr(error))
            return False
        if b" 200 OK\r\n" not in head:
            self.lost.append(head[:40].decode())
        self.answered += 1
        return b"connection: close" not in head


async def test_sigterm_under_load_loses_no_request(service: Service) -> None:
    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.02)
        writer.write(OK)
        return True

    service.script = script
    port = free_port()
    env = {
        **os.environ,
        "JWT_SECRET": SECRET,
        "INTERNAL_SIGNING_KEY": PRIVATE_KEY,
        "PORT": str(port),
        "METRICS_PORT": str(free_port()),
        "UPSTREAM_MAILER": service.url,
        "RATE_LIMIT_REQUESTS": "0",
        "LOG_LEVEL": "ERROR",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "chassis", "serve", "gateway", env=env)
    try:
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
        callers = [Caller(port) for _ in range(10)]
        tasks = [asyncio.create_task(caller.run(0.03)) for caller in callers]
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert sum(caller.answered for caller in callers) > 100
    assert [lost for caller in callers for lost in caller.lost] == []


@asynccontextmanager
async def as_the_chassis_serves(port: int, *, drain_wait_s: float = 2.0) -> AsyncIterator[None]:
    """A service while the block runs, then stopped as each of ours is."""
    health = Health({})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        last = [(b"connection", b"close")] if health.draining else []
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2"), *last]})
        await send({"type": "http.response.body", "body": b"{}"})

    stop, started = asyncio.Event(), asyncio.Event()
    served = ServedApp(
        name="mailer",
        app=app,
        host="127.0.0.1",
        port=port,
        metrics_host="127.0.0.1",
        metrics_port=free_port(),
        registry=CollectorRegistry(),
        health=health,
        drain_wait_s=drain_wait_s,
    )
    task = asyncio.create_task(serve_apps([served], stop=stop, on_started=started.set))
    await asyncio.wait_for(started.wait(), 30)
    yield
    stop.set()
    assert await asyncio.wait_for(task, 30) == 0


async def test_a_rolling_restart_behind_the_gateway_loses_no_request(launch: Launch) -> None:
    """The service says `Connection: close` while it drains, then is gone for a moment: GETs and POSTs wait for it."""
    port = free_port()
    gateway = await launch(TABLE, upstream_mailer=f"http://127.0.0.1:{port}", upstream_connect_budget_s="8")
    callers = [Caller(gateway.port, method) for method in ("GET", "POST") * 5]
    tasks: list[asyncio.Task[None]] = []
    for _ in range(3):
        async with as_the_chassis_serves(port):
            tasks = tasks or [asyncio.create_task(caller.run(0.02)) for caller in callers]
            await asyncio.sleep(0.4)
        await asyncio.sleep(0.3)
    async with as_the_chassis_serves(port, drain_wait_s=0):
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(caller.answered for caller in callers) > 300
    assert [lost for caller in callers for lost in caller.lost] == []


async def test_what_may_not_be_repeated_goes_over_no_connection_that_was_long_silent(
    service: Service, launch: Launch
) -> None:
    """A service may have begun and ended its drain while its answer was slow, or lay unread."""
    gateway = await launch(TABLE, upstream_mailer=service.url)

    async def slow(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(1.2 if len(service.seen) == 2 else 0)
        writer.write(OK)
        return True

    service.script = slow
    connections = []
    for method in ("POST", "POST", "POST", "GET"):
        path, body = ("/emails", None) if method == "GET" else ("/suppressions", b"{}")
        assert (await gateway.request(method, path, {}, body)).status == 200
        connections.append(service.connections)
    assert connections == [1, 1, 2, 2]
