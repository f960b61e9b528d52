"""Commands out, replies in, in order; several may be under way at once."""

import asyncio
import re
from collections import deque
from typing import NamedTuple

_MOST_REPLY_BYTES = 64 * 1024
_MOST_REPLIES = 10_000
_MOST_LINES = 1000
_REPLY_LINE = re.compile(r"[2-5][0-9]{2}(?:[ -].*)?")


class Lost(Exception):
    """The connection ended, or fell silent for too long."""


class Reply(NamedTuple):
    """A server's answer; the lines of `text` are joined by spaces."""

    code: int
    text: str


class Dialogue(asyncio.Protocol):
    """One conversation over a transport, which it takes over.

    aiosmtplib waits for each reply before the next command and so cannot pipeline (RFC 2920), which is worth more than
    all else here: it opens a connection (TLS, EHLO, AUTH), and the mails are spoken by this.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._broken = transport.is_closing()
        transport.set_protocol(self)

    @property
    def is_quiet(self) -> bool:
        """Connected, and nothing was said that nobody asked for (an idle server's 421, say)."""
        return not (self._broken or self._buffer or self._replies or self._lines or self._transport.is_closing())

    def write(self, data: bytes) -> None:
        """Send; raises Lost when the connection is gone."""
        if self._broken or self._transport.is_closing():
            raise Lost
        self._transport.write(data)

    async def ask(self, command: bytes, wait_s: float) -> Reply:
        """The reply to one command; raises Lost like `write` and `reply`."""
        self.write(command)
        return await self.reply(wait_s)

    async def reply(self, wait_s: float) -> Reply:
        """The next reply; raises Lost when none comes in time, or it is no SMTP reply."""
        if not self._replies and not self._broken:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(wait_s, self._break)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if not self._replies:
            raise Lost
        return self._replies.popleft()

    def leave(self) -> None:
        """Say QUIT and close, without waiting for the answer."""
        if not self._transport.is_closing():
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
        self._broken = True

    def data_received(self, data: bytes) -> None:
        """The server said something (asyncio.Protocol)."""
        self._buffer += data
        if (
            len(self._buffer) > _MOST_REPLY_BYTES
            or len(self._replies) > _MOST_REPLIES
            or len(self._lines) > _MOST_LINES
        ):
            self._break()
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        for line in lines:
            shown = line.rstrip(b"\r").decode("utf-8", "replace")
            if not _REPLY_LINE.fullmatch(shown):
                self._break()
                return
            self._lines.append(shown[4:])
            if shown[3:4] != "-":
                self._replies.append(Reply(int(shown[:3]), " ".join(self._lines)))
                self._lines.clear()
        if self._replies:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended (asyncio.Protocol)."""
        self._broken = True
        self._wake()

    def _break(self) -> None:
        self._broken = True
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
