"""One request on a client's connection and its answer: uvicorn's with fewer writes, cut off where it is not whole."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from chassis.problems import MEDIA_TYPE, problem_body

if TYPE_CHECKING:
    from gateway.server import EdgeHttp

_log = logging.getLogger("gateway.server")


class Turn:
    """Whole answers of one turn of the loop, kept until its end and then written in a row.

    Between two of them a client that waits would fall asleep, and to wake it each time costs a twentieth of a request.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write at the end of this turn."""
        if not self._kept:
            asyncio.get_running_loop().call_soon(self.end)
        self._kept.append((transport, data))

    def end(self) -> None:
        """Write now what was kept, as must be before a connection is written to or closed in another way."""
        kept, self._kept = self._kept, []
        for transport, data in kept:
            if not transport.is_closing():  # else its client has left
                transport.write(data)


class EdgeCycle(RequestResponseCycle):
    """One request and its answer; head and first piece of the body leave in one write."""

    def __init__(self, protocol: "EdgeHttp", scope: Any, *, keep_alive: bool, expect_100_continue: bool) -> None:
        # Not super().__init__: it takes the same values one by one, and costs a tenth of a request.
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.access_log = False
        self.default_headers = protocol.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = protocol.on_response_complete
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expect_100_continue
        self.body = bytearray()
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding: bool | None = None
        self.expected_content_length = 0
        self._head = b""
        self._has_length = False
        self._linger = protocol.linger
        self._turn = protocol.turn

    async def run_asgi(self, app: Any) -> None:
        """Run the app; an answer that it does not finish is cut off, so that nobody takes it for whole."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                _log.error("the gateway failed", exc_info=error)
            await self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                await self._give_up()
        finally:
            self.on_response = lambda: None

    async def _give_up(self) -> None:
        if self.response_started:
            self.transport.close()
            return
        body = problem(500, "internal_error", "Internal error", "something went wrong on our side")
        fields = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": 500, "headers": [*fields, (b"connection", b"close")]})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def send(self, message: Any) -> None:
        """uvicorn's own, for headers that are known to be lower-case and well-formed.

        A start may carry the whole `body`, and is then the only message.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started = True
            self.waiting_for_100_continue = False
            self._head = self._start(message["status"], message["headers"])
            whole = message.get("body")
            if whole is not None:
                self._continue(whole, more=False)
        elif not self.response_complete:
            self._continue(message.get("body", b""), more=message.get("more_body", False))

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = [STATUS_LINE[status]]
        for name, value in self.default_headers:
            lines += (name, b": ", value, b"\r\n")
        chunked = True
        for name, value in headers:
            if name == b"content-length":
                chunked = False
                self.expected_content_length = int(value)
            elif name == b"connection" and value == b"close":
                self.keep_alive = False
                continue
            lines += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if chunked and self.scope["method"] != "HEAD" and status not in (204, 304):
            if self.scope["http_version"] == "1.1":
                self.chunked_encoding = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.chunked_encoding = None  # HTTP/1.0 knows no chunks: the end of the connection ends the answer
        elif self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        self._has_length = not chunked
        lines.append(b"\r\n")
        return b"".join(lines)

    def _continue(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            out = head
        elif self.chunked_encoding:
            out = b"%b%x\r\n%b\r\n" % (head, len(body), body) if body else head
            if not more:
                out += b"0\r\n\r\n"
        else:
            if self._has_length:
                self.expected_content_length -= len(body)
                if self.expected_content_length < 0 or (self.expected_content_length and not more):
                    raise RuntimeError("the body is not as long as its Content-Length")
            out = head + body if head else body
        if head and self.keep_alive and not more:
            self._turn.write(self.transport, out)
        elif out:
            self._turn.end()
            self.transport.write(out)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                if self.more_body:
                    self._linger()
                else:
                    self.transport.close()
            self.on_response()


def problem(status: int, code: str, title: str, detail: str) -> bytes:
    """The body of a refusal of the server's own, which has read no trace."""
    return problem_body(status, code, title, detail, "", "0" * 32)
