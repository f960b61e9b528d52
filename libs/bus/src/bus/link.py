"""One AMQP connection that comes back by itself; a peer that has gone silent is noticed within 15 seconds."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiormq
from aiormq.abc import AbstractConnection

from bus.backoff import full_jitter
from bus.wire import Socket

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 10.0
# aiormq alone waits 33 s for a lost peer at this heartbeat, so a round trip is asked for more often than that.
HEARTBEAT_S: Final = 10
PROBE_EVERY_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 10.0
RECONNECT_CAP_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 2.0

log = logging.getLogger(__name__)


async def bounded(work: Coroutine[Any, Any, T], timeout_s: float) -> T:
    """The result of `work`. Unlike asyncio.timeout it does not wait for work that ignores its cancellation, as aiormq
    does while its write queue is full.

    Raises TimeoutError, ConnectionAbortedError when aiormq cancels the work because its connection ended, and whatever
    `work` raises.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    except asyncio.CancelledError:
        abandon(task)
        raise
    if not done:
        abandon(task)
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    if task.cancelled():
        raise ConnectionAbortedError("the connection ended")
    return task.result()


def abandon(task: asyncio.Task[Any]) -> None:
    """Cancels `task` and forgets it, its error included."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    task.cancel()


class Link:
    """A connection to `url`, opened and reopened in the background between `start` and `close`."""

    def __init__(self, url: str, *, name: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
            raise ValueError("the broker's URL must be amqp://host or amqps://host")
        query = {**dict(parse_qsl(parts.query)), "heartbeat": str(HEARTBEAT_S), "name": name}
        self._url = urlunsplit(parts._replace(query=urlencode(query)))
        self._name = name
        self._up = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a connection stands, as far as is known."""
        return self._up.is_set()

    def start(self) -> None:
        """Begins to connect; returns at once, whether or not a broker is there."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_open(), name=f"amqp {self._name}")

    async def connection(self) -> AbstractConnection:
        """The open connection; waits for one as long as it takes."""
        while self._connection is None or self._connection.is_closed:
            self._up.clear()
            await self._up.wait()
        return self._connection

    async def close(self) -> None:
        """Closes the connection, gracefully if the broker answers within 2 s, and stops reconnecting."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _keep_open(self) -> None:
        attempt = 0
        while True:
            socket = Socket()
            try:
                connection = await bounded(_connect(self._url, socket), CONNECT_TIMEOUT_S)
            except Exception as error:
                socket.abort()
                log.warning("broker %s: cannot connect: %r", self._name, error)
            else:
                opened_at = asyncio.get_running_loop().time()
                self._connection = connection
                self._up.set()
                try:
                    reason = await _until_lost(connection)
                    log.warning("broker %s: connection lost: %s", self._name, reason)
                finally:
                    self._connection = None
                    self._up.clear()
                    await _close(connection, socket)
                if asyncio.get_running_loop().time() - opened_at > RECONNECT_CAP_S:
                    attempt = 0
            await asyncio.sleep(full_jitter(attempt, base_s=0.2, cap_s=RECONNECT_CAP_S))
            attempt += 1


async def _connect(url: str, socket: Socket) -> AbstractConnection:
    return await aiormq.connect(url, transport_factory=socket)


async def _until_lost(connection: AbstractConnection) -> str:
    """Returns why the connection is of no more use."""
    closing = connection.closing
    try:
        channel = await bounded(connection.channel(publisher_confirms=False), PROBE_TIMEOUT_S)
        while True:
            done, _ = await asyncio.wait({closing}, timeout=PROBE_EVERY_S)
            if done:
                return "closed" if closing.cancelled() else repr(closing.exception())
            await bounded(channel.basic_qos(prefetch_count=1), PROBE_TIMEOUT_S)
    except Exception as error:
        return repr(error)


async def _close(connection: AbstractConnection, socket: Socket) -> None:
    # Not cancelled half-way: only a close that ends tells the channels, and those who wait on them, that it is over.
    closing = asyncio.create_task(connection.close())
    try:
        await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_S)
        socket.abort()
        await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_S)
    finally:
        socket.abort()
        abandon(closing)
