"""The bounded pool of connections to one service, and the one place that decides about a second try."""

import asyncio
import contextlib
import time
from collections import deque
from typing import Final
from urllib.parse import urlsplit

import msgspec

from contracts.errors import BadGateway, GatewayTimeout, ServiceError, Unavailable
from gateway.breaker import Breaker
from gateway.upstream.connection import ClientGone, ConnectionFailed, Receive, UpstreamConnection

_TICK_S: Final = 0.05
_SLOW_TICK_S: Final = 5.0
_RECONNECT_AFTER_S: Final = 0.1


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one upstream. A route's own time-out bounds the wait for the answer's head."""

    max_connections: int = 128
    max_waiting: int = 1024
    connect_s: float = 1.0
    #: A request that could not even be sent waits this long for the service to come back, as in a rolling restart.
    connect_budget_s: float = 5.0
    idle_s: float = 30.0  # between two pieces of a body
    total_s: float = 300.0
    keep_idle_s: float = 60.0
    #: What may not be repeated goes only over a connection whose last request left this recently, or over a new one: a
    #: service that shuts down says `Connection: close` for longer than this before it closes idle connections.
    trust_s: float = 1.0
    watch_after_s: float = 0.1  # a client is only watched for leaving once its request is slow


class Upstream:
    """One service. `send` returns a connection whose head has arrived; the caller gives it back by `release`."""

    def __init__(self, service: str, url: str, limits: Limits, breaker: Breaker) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("it is not the http address of a host and port")
        self.service = service
        self.breaker = breaker
        self.limits = limits
        self.host = parts.hostname
        self.port = parts.port or 80
        self.request_line_end = b" HTTP/1.1\r\nhost: %b\r\n" % parts.netloc.encode()
        self._idle: list[UpstreamConnection] = []
        self._busy: set[UpstreamConnection] = set()
        self._begun: list[UpstreamConnection] = []
        self._members: set[UpstreamConnection] = set()  # idle and busy
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_is_slow = False

    @property
    def connections(self) -> tuple[int, int]:
        """How many are idle and how many in use, for metrics."""
        return len(self._idle), len(self._busy)

    async def send(
        self, request: bytes, *, is_head: bool, may_repeat: bool, timeout_s: float, client: Receive
    ) -> UpstreamConnection:
        """Write a whole request and wait for the head of its answer.

        `may_repeat`: the request is idempotent, so it is sent once more if its connection ends before a byte came back.
        If not even a byte of it was written, it goes over a new connection in any case.
        `client` is read to notice that the client left, once the answer is slow.
        Raises Unavailable, BadGateway, GatewayTimeout, ClientGone.
        """
        now = time.monotonic()
        deadline = now + timeout_s
        connection = self._take_idle(now, must_trust=not may_repeat)  # the usual case, without a coroutine for it
        if connection is None:
            connection = await self.acquire(deadline, must_trust=not may_repeat)
            now = time.monotonic()
        again = False
        while True:
            self.begin(connection, request, now=now, is_head=is_head, deadline=deadline, client=client)
            try:
                await connection.head_waiter()
                if connection.failure is not None:
                    raise connection.failure
                return connection
            except ConnectionFailed as failed:
                self.abort(connection)
                if again or not (may_repeat or failed.unsent):
                    raise _broken_off() from None
            except BaseException:
                self.abort(connection)
                raise
            again = True
            connection = await self.acquire(deadline, must_be_new=True)
            now = time.monotonic()

    def begin(
        self,
        connection: UpstreamConnection,
        request: bytes,
        *,
        now: float,
        is_head: bool,
        deadline: float,
        client: Receive | None,
    ) -> None:
        """Send a request over an acquired connection at the end of this turn of the loop, and start its clocks.

        A turn's requests are written in a row: between them the service would fall asleep, and to wake it by each write
        costs a fifth of a request. By then the loop has also read what an idle connection had to say, such as its end.
        """
        connection.begin(request, is_head=is_head)
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._flush)
        self._begun.append(connection)
        connection.started_at = now
        connection.deadline = deadline
        connection.total_deadline = now + self.limits.total_s
        connection.client = client
        self._busy.add(connection)
        if self._timer is None or self._timer_is_slow:
            self._arm(_TICK_S)

    def _flush(self) -> None:
        begun, self._begun = self._begun, []
        for connection in begun:
            connection.flush()

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange is complete; one that may not be used again is closed."""
        connection.in_use = False
        connection.client = None
        if connection.watcher is not None:
            connection.watcher.cancel()
            connection.watcher = None
        self._busy.discard(connection)
        if not (connection.complete and connection.keep_alive and connection.usable):
            connection.close()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        if self._waiting:
            self._wake_one()

    def abort(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange nobody waits for any more."""
        connection.keep_alive = False
        self.release(connection)

    async def close(self) -> None:
        """Close every connection; the caller has seen to it that none is in use."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._members):
            connection.close()
        await asyncio.sleep(0)

    async def acquire(
        self, deadline: float, *, must_trust: bool = False, must_be_new: bool = False
    ) -> UpstreamConnection:
        """A connection to write on: a warm one, a new one, or the next that is given back.

        `must_trust`: a warm one only if it was used a moment ago; `must_be_new`: none.

        Raises Unavailable when too many wait or the service cannot be reached, GatewayTimeout at `deadline`.
        """
        while True:
            if not must_be_new:
                warm = self._take_idle(time.monotonic(), must_trust=must_trust)
                if warm is not None:
                    return warm
            if len(self._members) + self._opening >= self.limits.max_connections and self._idle:
                self._drop(self._idle.pop(0))  # its place is wanted for one that can be trusted
            if len(self._members) + self._opening < self.limits.max_connections:
                return await self._connect(deadline)
            if len(self._waiting) >= self.limits.max_waiting:
                raise Unavailable("the service has more requests than it can take", code="overloaded", retry_after_s=1)
            await self._wait_for_one(deadline)

    def _take_idle(self, now: float, *, must_trust: bool) -> UpstreamConnection | None:
        while self._idle:
            connection = self._idle[-1]
            if not connection.usable:
                self._idle.pop()
                continue
            # When it was given back says little here: an answer may be slow, or lie unread while this process is busy.
            last, kept_s = (
                (connection.started_at, self.limits.trust_s)
                if must_trust
                else (connection.idle_since, self.limits.keep_idle_s)
            )
            return self._idle.pop() if now - last <= kept_s else None  # the ones below were given back earlier still
        return None

    async def _wait_for_one(self, deadline: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._wake_one()  # the turn came, and is not taken: it is the next one's
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise GatewayTimeout("the service was busy for too long", code="upstream_timeout") from None
            raise

    def _wake_one(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _connect(self, deadline: float) -> UpstreamConnection:
        """A new connection, trying again while the service does not listen: nothing has been sent yet."""
        loop = asyncio.get_running_loop()
        give_up_at = min(deadline, time.monotonic() + self.limits.connect_budget_s)
        self._opening += 1
        try:
            while True:
                attempt_s = min(self.limits.connect_s, max(0.01, give_up_at - time.monotonic()))
                try:
                    async with asyncio.timeout(attempt_s):
                        _, connection = await loop.create_connection(
                            lambda: UpstreamConnection(loop, self._drop), self.host, self.port
                        )
                except (OSError, TimeoutError):
                    if time.monotonic() + _RECONNECT_AFTER_S >= give_up_at:
                        raise Unavailable(
                            "the service cannot be reached", code="upstream_unreachable", retry_after_s=2
                        ) from None
                    await asyncio.sleep(_RECONNECT_AFTER_S)
                    continue
                if connection.usable:
                    self._members.add(connection)
                return connection  # one that was lost meanwhile fails at `begin`, as any lost one does
        finally:
            self._opening -= 1
            if len(self._members) + self._opening < self.limits.max_connections:
                self._wake_one()

    def _drop(self, connection: UpstreamConnection) -> None:
        """The connection is lost, or about to be: there is room for a new one."""
        connection.close()
        if connection in self._members:
            self._members.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._wake_one()

    def _arm(self, after_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_is_slow = after_s > _TICK_S
        self._timer = asyncio.get_running_loop().call_later(after_s, self._tick)

    def _tick(self) -> None:
        """Fail what is past its time, start watching what is slow, close what was idle for long."""
        self._timer = None
        now = time.monotonic()
        watch_before = now - self.limits.watch_after_s
        for connection in tuple(self._busy):
            if now >= connection.deadline or now >= connection.total_deadline:
                connection.fail(_late())
            elif connection.client is not None and connection.started_at < watch_before and connection.watcher is None:
                connection.watcher = asyncio.create_task(_watch(connection, connection.client))
        while self._idle and self._idle[0].idle_since < now - self.limits.keep_idle_s:
            self._drop(self._idle[0])
        if self._busy:
            self._arm(_TICK_S)
        elif self._idle:
            self._arm(_SLOW_TICK_S)  # only connections that nobody uses are left to be noticed


async def _watch(connection: UpstreamConnection, client: Receive) -> None:
    """End the exchange when the client leaves: its answer has no reader."""
    while (await client())["type"] != "http.disconnect":
        pass
    connection.fail(ClientGone())


def _late() -> ServiceError:
    return GatewayTimeout("the service did not answer in time", code="upstream_timeout")


def _broken_off() -> ServiceError:
    return BadGateway("the service closed the connection without an answer", code="upstream_closed")
