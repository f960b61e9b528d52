"""One HTTP/1.1 connection to a service: writes a request, parses its answer, refuses everything ambiguous."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import httptools

from contracts.errors import BadGateway, ServiceError

HIGH_WATER_BYTES: Final = 256 * 1024
LOW_WATER_BYTES: Final = 64 * 1024
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
MAX_INTERIM: Final = 8  # 1xx answers before the real one

# What never passes from a service to a client: it concerns our connection, or is ours to say.
_CONTENT_LENGTH: Final = b"content-length"
_DROPPED: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"server", b"date"),
        *(
            b"x-powered-by",
            b"proxy-authenticate",
            b"proxy-authorization",
            b"x-internal-identity",
            b"x-request-id",
            b"alt-svc",
        ),
        *(b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-allow-methods"),
        *(b"access-control-allow-headers", b"access-control-expose-headers", b"access-control-max-age"),
    }
)


class ConnectionFailed(Exception):
    """The connection ended before the first byte of the answer; whether to try again is the caller's decision."""

    def __init__(self, *, unsent: bool) -> None:
        super().__init__()
        self.unsent = unsent  # not a byte of the request was written


class ClientGone(Exception):
    """The client left before its answer was complete; nobody is told."""


Failure = ServiceError | ConnectionFailed | ClientGone
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class UpstreamConnection(asyncio.Protocol):
    """Carries one exchange at a time. Every failure is kept in `failure` and wakes whoever waits."""

    __slots__ = (
        "_closed",
        "_done",
        "_framed",
        "_head_bytes",
        "_interim",
        "_is_head_request",
        "_loop",
        "_on_lost",
        "_parser",
        "_paused_reading",
        "_paused_writing",
        "_progress",
        "_stalled_bytes",
        "_transport",
        "_unread",
        "_unsent",
        "_waiter",
        "_writable",
        "buffered_bytes",
        "client",
        "complete",
        "deadline",
        "failure",
        "got_bytes",
        "has_cookies",
        "has_length",
        "headers",
        "idle_since",
        "in_use",
        "keep_alive",
        "started_at",
        "status",
        "total_deadline",
        "usable",
        "watcher",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: "Callable[[UpstreamConnection], None]") -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self.usable = False  # whether a request may be written
        self._writable: asyncio.Future[None] | None = None
        self._paused_writing = False
        self.in_use = False
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.failure: Failure | None = None
        self.got_bytes = False
        self.keep_alive = False
        self.buffered_bytes = 0
        self.deadline = self.total_deadline = self.started_at = 0.0
        self.client: Receive | None = None
        self.watcher: asyncio.Task[None] | None = None
        self.has_cookies = False
        self.has_length = False
        self._unsent = b""
        self._unread: list[bytes] = []
        self._done = False  # the final head has been read
        self._framed = False  # the answer says where it ends
        self._is_head_request = False
        self._interim = 0
        self._head_bytes = 0
        self._stalled_bytes = 0
        self._progress = False
        self._paused_reading = False
        self._waiter: asyncio.Future[None] | None = None

    # The caller's side

    def begin(self, request: bytes, *, is_head: bool) -> None:
        """Take on a request, or its head when the body follows by `write`; `flush` writes it."""
        self._reset()
        self.in_use = True
        self._is_head_request = is_head
        if self.usable:
            self._unsent = request
        else:
            self.failure = ConnectionFailed(unsent=True)

    def flush(self) -> None:
        """Write what `begin` took on, if it is still to be written."""
        if self._unsent and self._transport is not None and not self._transport.is_closing():
            request, self._unsent = self._unsent, b""
            self._transport.write(request)

    async def write(self, data: bytes) -> None:
        """Write a part of the body, waiting while the service is slow to take it. Raises `failure`."""
        self.flush()
        if self.failure is not None:
            raise self.failure
        if not self.usable or self._transport is None:
            return  # the answer came early and ended the connection: the rest of the body has no reader
        self._transport.write(data)
        if self._paused_writing:
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None
            if self.failure is not None:
                raise self.failure

    @property
    def head_is_here(self) -> bool:
        """Whether the answer's head has been read, or never will be."""
        return self._done or self.failure is not None

    def head_waiter(self) -> "asyncio.Future[None]":
        """Resolves when the head is here. One waiter at a time."""
        waiter = self._waiter = self._loop.create_future()
        if self._done or self.failure is not None:
            waiter.set_result(None)
        return waiter

    async def head(self) -> None:
        """Wait for status and headers. Raises `failure`."""
        if not self._done and self.failure is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self.failure is not None:
            raise self.failure

    async def read(self) -> bytes:
        """The next part of the body; empty when it is complete. Raises `failure`, which means: cut the client off."""
        while not self._unread:
            if self.failure is not None:
                raise self.failure
            if self.complete:
                return b""
            self._waiter = self._loop.create_future()
            await self._waiter
        return self.take()

    def take(self) -> bytes:
        """What has arrived of the body so far."""
        unread = self._unread
        data = unread[0] if len(unread) == 1 else b"".join(unread)
        unread.clear()
        self.buffered_bytes = 0
        if self._paused_reading and self._transport is not None and not self._closed:
            self._paused_reading = False
            self._transport.resume_reading()
        return data

    def fail(self, error: Failure) -> None:
        """End the exchange with `error`, wake who waits for it, and close the connection."""
        if self.failure is None and not self.complete:
            self.failure = error
        self._wake()
        self.close()

    def close(self) -> None:
        """Close at once: what is still unsent has no reader worth waiting for."""
        if not self._closed and self._transport is not None:
            self._closed = True
            self.usable = False
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.usable = True
        self._transport = transport  # type: ignore[assignment]  # TCP transports are Transports
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)  # type: ignore[union-attr]

    def eof_received(self) -> None:
        self.usable = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self.usable = False
        if self.in_use and not self.complete and self.failure is None:
            if self._done and not self._framed and exc is None:
                self.complete = True  # an answer without a length ends with its connection
            elif not self.got_bytes:
                self.failure = ConnectionFailed(unsent=bool(self._unsent))
            else:
                self.failure = BadGateway("the service broke off its answer", code="upstream_truncated")
        self.keep_alive = False
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._paused_writing = True

    def resume_writing(self) -> None:
        self._paused_writing = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        if not self.in_use or self._unsent:
            self.close()  # nobody has asked yet: whatever this is, it must not become the next answer
            return
        self.got_bytes = True
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._garbage("the service switched protocols unasked")
            return
        except httptools.HttpParserError:
            self._garbage("the service's answer is not valid HTTP")
            return
        if self._progress:
            self._stalled_bytes = 0
            return
        self._stalled_bytes += len(data)  # of a head, or of trailers and chunk extensions without end
        if self._stalled_bytes > MAX_HEAD_BYTES:
            self._garbage("the service's answer has too large a head")

    # httptools

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False
            raise ValueError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._done:
            return  # a trailer
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            raise ValueError("too large a head")
        name = name.lower()
        if name in _DROPPED:
            return
        if name == _CONTENT_LENGTH:
            self._framed = self.has_length = True
        elif name == b"transfer-encoding":
            if self._framed or value.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                raise ValueError("a framing that two readers may read differently")
            self._framed = True
            return
        elif name == b"set-cookie":
            self.has_cookies = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            raise ValueError("neither HTTP/1.1 nor 1.0")
        if 100 <= status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM or status == 101:
                raise ValueError("too many interim answers")
            return
        if not 200 <= status <= 599:
            raise ValueError("a status that does not exist")
        self.status = status
        self._done = self._progress = True
        self.keep_alive = self._parser.should_keep_alive()
        if status in (204, 304):
            self._framed = True
        if self._is_head_request:
            # httptools cannot be told that no body follows, so this connection ends here.
            self._framed = self.complete = True
            self.keep_alive = False
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self.complete:
            return
        self._progress = True
        self._unread.append(body)
        self.buffered_bytes += len(body)
        if self.buffered_bytes > HIGH_WATER_BYTES and not self._paused_reading and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if not self._done:
            self.headers = []  # of an interim answer
            self._framed = self.has_length = False
            return
        self.complete = self._progress = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
        if self.failure is not None and self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _garbage(self, detail: str) -> None:
        if self.complete:
            self.keep_alive = False
            self.close()  # the answer was whole; what followed it was not asked for
        else:
            self.fail(BadGateway(detail, code="upstream_garbage"))
