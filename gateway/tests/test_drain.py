"""A gateway told to stop under load finishes what it took on; a service that restarts behind it loses nothing."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from gateway.routes.row import PUBLIC, Row

from .support import OK, PRIVATE_KEY, SECRET, Gateway, Seen, Service, bearer, free_port, token

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
        unaccepted: list[str] = []
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                return
            self.lost += unaccepted  # it went on listening, so it should have answered
            unaccepted = []
            before = self.answered
            keep = await self._call(reader, writer)
            if not keep and self.answered == before and "ConnectionReset" in self.lost[-1]:
                # The kernel had the connection, the gateway did not: it resets those when the listener closes.
                unaccepted = [self.lost.pop()]
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
        "DRAIN_WAIT_S": "1",
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


async def test_a_rolling_restart_behind_the_gateway_loses_no_request(launch: Launch) -> None:
    """The service says `Connection: close` while it drains, then is gone for a moment: GETs and POSTs wait for it."""
    table = {
        "mailer": (
            Row("GET", "/emails", PUBLIC, timeout_s=10),
            Row("POST", "/suppressions", PUBLIC, timeout_s=10),
        )
    }
    draining = False

    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(OK if not draining else OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        return not draining

    service = Service(script)
    await service.start()
    gateway = await launch(table, upstream_mailer=service.url, upstream_connect_budget_s="5")
    callers = [Caller(gateway.port, method) for method in ("GET", "POST") * 5]
    tasks = [asyncio.create_task(caller.run(0.02)) for caller in callers]
    for _ in range(3):
        await asyncio.sleep(0.4)
        draining = True
        await asyncio.sleep(0.4)
        await service.stop()
        await asyncio.sleep(0.3)
        draining = False
        await service.start()
    await asyncio.sleep(0.3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await service.stop()
    assert sum(caller.answered for caller in callers) > 300
    assert [lost for caller in callers for lost in caller.lost] == []
