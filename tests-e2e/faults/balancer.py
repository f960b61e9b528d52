"""A TCP load balancer as a cluster has one: new connections go only to instances whose readiness answers 200."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from stack import LOOPBACK

PROBE_EVERY_S = 0.25


class Balancer:
    """Spreads connections over ready instances; a connection that was given away stays where it is."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._instances = [(urlsplit(url).hostname or LOOPBACK, urlsplit(url).port or 80) for url in urls]
        self._ready: set[tuple[str, int]] = set()
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients connect."""
        assert self._server is not None
        return f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["Balancer"]:
        """Balance until the block ends."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, port, backlog=512)
        probe = asyncio.create_task(self._probe())
        try:
            yield self
        finally:
            probe.cancel()
            self._server.close()
            for session in self._sessions:
                session.cancel()
            await asyncio.gather(probe, *self._sessions, return_exceptions=True)

    async def _probe(self) -> None:
        while True:
            ready = await asyncio.gather(*(_is_ready(host, port) for host, port in self._instances))
            self._ready = {one for one, up in zip(self._instances, ready, strict=True) if up}
            await asyncio.sleep(PROBE_EVERY_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            start = next(self._turn)
            ready = [one for one in self._instances if one in self._ready] or self._instances
            for attempt in range(len(ready)):
                host, port = ready[(start + attempt) % len(ready)]
                with contextlib.suppress(OSError):
                    behind = await asyncio.open_connection(host, port)
                    break
            else:
                return
            await asyncio.gather(_copy(reader, behind[1]), _copy(behind[0], writer))
        finally:
            self._sessions.discard(task)
            writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            if target.can_write_eof():
                target.write_eof()
            else:
                target.close()


async def _is_ready(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /health/ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status
