"""A TCP load balancer as a cluster has one: new connections go only to instances whose readiness answers 200.

It is a process of its own: in the rig's loop each connection would wait for the ledger's fsyncs. `balancing` runs this
file with the instances' URLs; it prints its own URL, and balances until its standard input ends.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
PROBE_EVERY_S = 0.25
CONNECT_S = 3.0


class Balancer:
    """Spreads connections over ready instances; a connection that was given away stays where it is."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._instances = [(urlsplit(url).hostname or LOOPBACK, urlsplit(url).port or 80) for url in urls]
        self._ready = dict.fromkeys(self._instances, True)
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
            answers = await asyncio.gather(*(_is_ready(host, port) for host, port in self._instances))
            told = zip(self._instances, answers, strict=True)
            self._ready.update({one: up for one, up in told if up is not None})
            await asyncio.sleep(PROBE_EVERY_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            start = next(self._turn) % len(self._instances)
            in_turn = self._instances[start:] + self._instances[:start]
            for host, port in sorted(in_turn, key=lambda one: not self._ready[one]):  # others only when those fail
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(CONNECT_S):
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


async def _is_ready(host: str, port: int) -> bool | None:
    """What the instance says of itself; None when it says nothing in time, which is no word against it."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /health/ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            writer.close()
    except TimeoutError:
        return None
    except OSError:
        return False
    return b" 200 " in status


@asynccontextmanager
async def balancing(urls: Sequence[str]) -> AsyncIterator[str]:
    """The URL of a balancer in front of these instances, while the block runs."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *urls, stdin=pipe, stdout=pipe, start_new_session=True
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
        await process.communicate(b"")  # its standard input ends
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def main(urls: Sequence[str]) -> None:
    """Balance until standard input ends."""
    async with Balancer(urls).running() as balancer:
        await asyncio.sleep(2 * PROBE_EVERY_S)  # its first look at who is ready
        print(balancer.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
