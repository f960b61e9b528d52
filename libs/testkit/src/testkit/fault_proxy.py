"""A TCP proxy that makes a network fail in chosen ways, for new and for live connections, switchable at any time."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from testkit.embedded.process import LOOPBACK, free_port
from testkit.fault_modes import (
    Blackhole,
    CutAfter,
    Direction,
    DropReply,
    HalfOpen,
    Latency,
    Mode,
    Pass,
    Rate,
    Refuse,
    Reset,
)

CHUNK_BYTES = 65536
QUEUED_CHUNKS = 64


class FaultProxy:
    """Listens on the loopback interface and forwards to one server; `seed` makes the jitter repeatable."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._mode: Mode = Pass()
        self._changed = asyncio.Event()
        self._random = random.Random(seed)
        self.port = 0
        self.accepted = 0
        self.dropped_replies = 0

    @property
    def mode(self) -> Mode:
        """How the network behaves now."""
        return self._mode

    @property
    def live(self) -> int:
        """How many connections go through it now."""
        return len(self._links)

    async def start(self) -> None:
        """Listen: on a free port the first time, on the same one later."""
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._connected, LOOPBACK, self.port)

    async def stop(self) -> None:
        """Stop listening and reset every connection."""
        await self._stop_listening()
        self.reset_all()
        await asyncio.gather(*(link.ended.wait() for link in self._links))

    async def become(self, mode: Mode) -> None:
        """Behave like this from now on, also for live connections."""
        self._mode = mode
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if isinstance(mode, Refuse):
            await self._stop_listening()
        elif self._server is None:
            await self.start()
        if isinstance(mode, Refuse | Reset):
            self.reset_all()
        if isinstance(mode, CutAfter):
            for link in self._links:
                link.passed_bytes = 0

    def reset_all(self) -> None:
        """Reset the live connections, whatever the mode."""
        for link in list(self._links):
            link.reset()

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run(self._target)
        finally:
            self._links.discard(link)
            link.ended.set()

    async def pause(self, direction: Direction) -> None:
        """Return when the mode lets bytes through in this direction."""
        while isinstance(self._mode, Blackhole) or (
            isinstance(self._mode, HalfOpen) and self._mode.direction is direction
        ):
            await self._changed.wait()

    def latency_s(self) -> float:
        """How much later a chunk arrives under the present mode."""
        if isinstance(self._mode, Latency):
            jitter_ms = self._random.uniform(-self._mode.jitter_ms, self._mode.jitter_ms)
            return max(0.0, self._mode.delay_ms + jitter_ms) / 1000
        return 0.0

    def occupied_s(self, size_bytes: int) -> float:
        """How long a chunk of this size keeps the line busy under the present mode."""
        return size_bytes / (self._mode.kb_per_s * 1000) if isinstance(self._mode, Rate) else 0.0

    def takes_reply(self, request: bytes) -> bool:
        """Whether this request's answer is to be lost."""
        mode = self._mode
        return isinstance(mode, DropReply) and mode.request_has in request and (mode.times is None or mode.times > 0)

    def reply_dropped(self) -> None:
        """One answer was lost: the mode has one less to take."""
        self.dropped_replies += 1
        if isinstance(self._mode, DropReply) and self._mode.times is not None:
            self._mode = DropReply(self._mode.request_has, self._mode.times - 1)


class _Link:
    """One client's connection and its other half."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reply_is_doomed = False
        self.passed_bytes = 0
        self.ended = asyncio.Event()

    async def run(self, target: tuple[str, int]) -> None:
        """Forward both ways until either side or the mode ends it."""
        try:
            if isinstance(self._proxy.mode, Reset | Refuse):
                self.reset()
                return
            await self._proxy.pause(Direction.TO_SERVER)
            self._server = await asyncio.open_connection(*target)
            self._tasks = [
                asyncio.create_task(self._pump(self._client[0], self._server[1], Direction.TO_SERVER)),
                asyncio.create_task(self._pump(self._server[0], self._client[1], Direction.TO_CLIENT)),
            ]
            await asyncio.gather(*self._tasks, return_exceptions=True)
        except OSError:
            self.reset()
        finally:
            for half in (self._client, self._server):
                if half is not None:
                    half[1].close()

    def reset(self) -> None:
        """End both halves with a TCP reset instead of an orderly close."""
        for half in (self._client, self._server):
            if half is not None and (raw := half[1].get_extra_info("socket")) is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                half[1].transport.abort()
        for task in self._tasks:
            task.cancel()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        """Read and stamp each chunk with the time it is due, so that latency delays a stream and does not thin it."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        delivery = asyncio.create_task(self._deliver(due, writer, direction))
        self._tasks.append(delivery)
        free_at_s = 0.0
        try:
            chunk = b"-"
            while chunk:
                chunk = await reader.read(self._chunk_bytes())
                now_s = asyncio.get_running_loop().time()
                free_at_s = max(now_s, free_at_s) + self._proxy.occupied_s(len(chunk))
                await due.put((free_at_s + self._proxy.latency_s(), chunk))
            await delivery
        except OSError:
            self.reset()

    async def _deliver(
        self, due: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        try:
            while True:
                at_s, chunk = await due.get()
                await asyncio.sleep(at_s - asyncio.get_running_loop().time())
                await self._proxy.pause(direction)
                if not chunk:
                    writer.write_eof()
                    return
                if not self._lets_pass(chunk, direction):
                    self.reset()
                    return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            self.reset()

    def _chunk_bytes(self) -> int:
        mode = self._proxy.mode
        return 1024 if isinstance(mode, Rate) else CHUNK_BYTES

    def _lets_pass(self, chunk: bytes, direction: Direction) -> bool:
        if direction is Direction.TO_SERVER:
            self._reply_is_doomed = self._reply_is_doomed or self._proxy.takes_reply(chunk)
        elif self._reply_is_doomed:
            self._proxy.reply_dropped()
            return False
        self.passed_bytes += len(chunk)
        mode = self._proxy.mode
        return not (isinstance(mode, CutAfter) and self.passed_bytes > mode.size_bytes)


@asynccontextmanager
async def fault_proxy(host: str, port: int, *, seed: int = 0) -> AsyncIterator[FaultProxy]:
    """A started proxy in front of a server, in this event loop."""
    proxy = FaultProxy(host, port, seed=seed)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
