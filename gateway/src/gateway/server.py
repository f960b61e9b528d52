"""The HTTP/1.1 server's protocol: uvicorn's with gaps of framing closed, and bounds in time and size."""

import asyncio
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from chassis.problems import MEDIA_TYPE
from contracts.errors import Malformed, ServiceError
from gateway.cycle import EdgeCycle, Turn, problem
from gateway.paths import MAX_TARGET_BYTES
from gateway.refusals import (
    ExpectationFailed,
    HeadersTooLarge,
    MethodNotAllowed,
    RequestTimeout,
    UriTooLong,
    VersionNotSupported,
)

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 100
HEAD_TIMEOUT_S: Final = 10.0
WRITE_STALL_S: Final = 30.0
LINGER_S: Final = 5.0
_SWEEP_S: Final = 2.5
_MAX_IDLE_FEED_BYTES: Final = 64 * 1024  # of chunk extensions and trailers that carry no body
_MAX_DISCARDED_BYTES: Final = 16 * 1024 * 1024  # of a body that nobody reads, its answer being out
_HIGH_WATER_BYTES: Final = 64 * 1024
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CHECKED: Final = frozenset({b"host", b"transfer-encoding", b"content-length", b"expect"})


class EdgeHttp(HttpToolsProtocol):
    """Refuses whatever two readers could frame differently, and whoever takes too long or too much."""

    turn: Turn  # that of all connections to this server, see `edge_http`
    _closing = False  # a refusal is out, or the connection is no longer HTTP: what follows is not read
    _in_head = False
    _lingering = False
    _refusal: ServiceError | None = None
    _head_bytes = 0
    _pending_bytes = 0
    _fruitless_bytes = 0
    _discarded_bytes = 0
    _since = 0.0
    _stalled_since = 0.0
    _sweeper: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; from now on it is looked after every few seconds."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn types it narrower than asyncio
        self._since = self.loop.time()
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; the parser calls back below."""
        if self._closing:
            return
        was_in_head, self._fruitful = self._in_head, False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._closing = True  # the answer to this request is the last on this connection
        except httptools.HttpParserError:
            self._refuse(self._refusal or Malformed("this is not HTTP/1.1", code="malformed_http"))
        else:
            if self._fruitful:
                self._fruitless_bytes = 0
            elif self._in_head:
                if was_in_head:
                    self._pending_bytes += len(data)
                if self._pending_bytes > MAX_HEAD_BYTES:
                    self._refuse(_too_large_a_head())
            else:
                self._fruitless_bytes += len(data)
                if self._fruitless_bytes > _MAX_IDLE_FEED_BYTES:
                    self._refuse(Malformed("a body without content", code="malformed_http"))

    def on_message_begin(self) -> None:
        """A head begins."""
        self.url = b""
        self.headers = []
        self._in_head = True
        self._head_bytes = self._pending_bytes = self._discarded_bytes = 0
        self._checked: dict[bytes, bytes] = {}
        self._since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self.url += url
        if len(self.url) > MAX_TARGET_BYTES:
            self._stop(UriTooLong(f"path and query together may have {MAX_TARGET_BYTES} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer: those are not read, since they come after the decision that they could change."""
        if not self._in_head:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes + len(self.url) > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            self._stop(_too_large_a_head())
        name = name.lower()
        if name in _CHECKED:
            if name in self._checked:
                self._stop(Malformed(f"{name.decode()} came twice", code="duplicate_header"))
            self._checked[name] = value
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head ended: check what the parser does not, then start the app or queue behind the answer in progress."""
        self._in_head = False
        self._fruitful = True
        parser = self.parser
        version = parser.get_http_version()
        method = parser.get_method().decode()
        upgrade = parser.should_upgrade()
        self._check(version, method, upgrade=upgrade)
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("latin-1")
        scope: Any = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": self.headers,
            "state": {},
            "method": method,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
        }
        earlier = self.cycle
        self.cycle = EdgeCycle(
            self,
            scope,
            keep_alive=version == "1.1" and not upgrade and parser.should_keep_alive(),
            expect_100_continue=b"expect" in self._checked,
        )
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _check(self, version: str, method: str, *, upgrade: bool) -> None:
        checked = self._checked
        if version not in ("1.1", "1.0"):
            self._stop(VersionNotSupported("only HTTP/1.1 is spoken here"))
        if method == "CONNECT":  # its target is no path, and what follows it no request
            self._stop(MethodNotAllowed(_METHODS))
        if not self.url.startswith(b"/") or b"#" in self.url:
            self._stop(Malformed("the request target is not a path", code="malformed_target"))
        if version == "1.1" and b"host" not in checked:
            self._stop(Malformed("the Host header is missing", code="bad_host"))
        coding = checked.get(b"transfer-encoding")
        if coding is not None and (version != "1.1" or coding.lower() != b"chunked" or b"content-length" in checked):
            self._stop(Malformed("the only transfer coding is chunked", code="malformed_framing"))
        if upgrade and (coding is not None or checked.get(b"content-length", b"0") != b"0"):
            self._stop(Malformed("a request to upgrade has no body", code="malformed_framing"))
        if checked.get(b"expect", b"100-continue").lower() != b"100-continue":
            self._stop(ExpectationFailed("only 100-continue can be expected"))

    def on_body(self, body: bytes) -> None:
        """A piece of the body; whoever sends faster than it is read has to wait."""
        self._fruitful = True
        cycle = self.cycle
        if cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > _MAX_DISCARDED_BYTES:
                self._closing = True
                self.transport.abort()
            return
        cycle.body += body
        if len(cycle.body) > _HIGH_WATER_BYTES:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._fruitful = True
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
        elif self._lingering:
            self._closing = True
            self.transport.close()

    def on_response_complete(self) -> None:
        """The answer is out: on to the next request, which may be here already."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def linger(self) -> None:
        """End our side, then read on: a close with bytes unread resets the connection and loses the answer."""
        self._lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _stop(self, error: ServiceError) -> None:
        self._refusal = error
        raise ValueError(error.code)  # stops the parser, which makes `data_received` refuse

    def _refuse(self, error: ServiceError) -> None:
        """Answer `error` if no answer is in progress, and end the connection."""
        self._closing = True
        self.turn.end()
        cycle = self.cycle
        idle = cycle is None or cycle.response_complete
        if not idle and self._in_head:
            cycle.keep_alive = False  # a later request is broken; the earlier one still gets its answer
            self.pipeline.clear()
            return
        if not idle:
            if cycle.more_body:
                cycle.disconnected = True  # its body is broken: it must not be taken for whole
                cycle.message_event.set()
            if not cycle.more_body or cycle.response_started:
                cycle.keep_alive = False
                self.pipeline.clear()
                if cycle.disconnected:
                    self.transport.close()
                return
        body = problem(error.status, error.code, error.title, error.detail)
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (MEDIA_TYPE.encode(), len(body))
        self.transport.write(STATUS_LINE[error.status] + head + body)
        self.transport.close()

    def shutdown(self) -> None:
        """The server stops."""
        self.turn.end()
        super().shutdown()

    def _sweep(self) -> None:
        """Close what idles for too long, refuse a head that does not end, give up on a client that does not read."""
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)
        now = self.loop.time()
        if self.flow.write_paused:
            self._stalled_since = self._stalled_since or now
            if now - self._stalled_since > WRITE_STALL_S:
                self.transport.abort()
        else:
            self._stalled_since = 0.0
        if self.cycle is not None and not self.cycle.response_complete:
            return
        waited_s = now - self._since
        if self._lingering and waited_s > LINGER_S:
            self.transport.abort()
        elif self._in_head:
            if waited_s > HEAD_TIMEOUT_S and not self._closing:
                self._refuse(RequestTimeout("the request's head did not arrive in time"))
        elif waited_s > (self.timeout_keep_alive if self.cycle is not None else HEAD_TIMEOUT_S):
            self.transport.close()


def edge_http() -> type[EdgeHttp]:
    """The protocol for one server."""

    class OneServersHttp(EdgeHttp):
        turn = Turn()

    return OneServersHttp


def _too_large_a_head() -> HeadersTooLarge:
    return HeadersTooLarge(f"the head may have {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} fields")
