"""uvicorn's httptools protocol with bounds that httptools lacks: the size of a head, and the time to send it."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 16_384
HEAD_TIMEOUT_S = 10.0


class BoundedHttp(HttpToolsProtocol):
    """Answers 431 to a head over 16 kB and 408 to one that takes over 10 s; errors of framing are problems too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0  # of the lines that the parser has handed over
        self._pending_bytes = 0  # received since the head began, for a line that never ends
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: its first head is due."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser until the head is over its limit."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._pending_bytes += len(data)
            if self._pending_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large", b"head_too_large")
            elif self._deadline is None:
                self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        self._head_bytes = self._pending_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head ended."""
        self._in_head = False
        self._head_is_here()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser gives up."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", b"head_too_large")
        else:
            self._refuse(b"400 Bad Request", b"malformed_http")

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("head too large")  # the parser stops, and send_400_response is called

    def _head_is_late(self) -> None:
        self._deadline = None
        self._refuse(b"408 Request Timeout", b"request_timeout")

    def _head_is_here(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: bytes, code: bytes) -> None:
        # An earlier answer may be on its way; another's bytes must not get into it.
        if self.cycle is None or self.cycle.response_complete:
            body = b'{"type":"urn:problem:%s","title":"%s","status":%s,"code":"%s"}'
            body %= code, status[4:], status[:3], code
            head = b"HTTP/1.1 %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
            self.transport.write(head % (status, len(body)) + b"connection: close\r\n\r\n" + body)
        self.transport.close()
