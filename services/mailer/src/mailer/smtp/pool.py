"""The door to every server: a lane for each, opened with its first mail and forgotten when nothing is left of it."""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from mailer.smtp.connection import Connection
from mailer.smtp.envelope import seal
from mailer.smtp.greeting import connect
from mailer.smtp.lane import Lane
from mailer.smtp.server import Accepted, SmtpLimits, SmtpServer


class SmtpPool:
    """Sends over reused connections; `async with` closes them."""

    def __init__(
        self,
        limits: SmtpLimits | None = None,
        *,
        hello_name: str | None = None,
        ca_file: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or SmtpLimits()
        self._hello_name = hello_name or _own_name()
        self._ca_file = ca_file
        self._monotonic = monotonic
        self._lanes: dict[SmtpServer, Lane] = {}
        self._contexts: dict[bool, ssl.SSLContext] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    async def send(self, server: SmtpServer, envelope_from: str, to: Sequence[str], raw: bytes) -> Accepted:
        """The server's acceptance of one message, maybe without some of the recipients.

        Raises SmtpBounced, SmtpDeferred (SmtpUnreachable, SmtpMisconfigured, SmtpUnknown), or Invalid for an address
        that cannot stand in an SMTP command.
        """
        envelope = seal(envelope_from, to, raw)
        lane = self._lanes.get(server)
        if lane is None:
            lane = Lane(self._limits, connect=lambda: self._connect(server), monotonic=self._monotonic)
            self._lanes[server] = lane
        try:
            return await lane.send(envelope)
        finally:
            if lane.is_forgettable and self._lanes.get(server) is lane:
                del self._lanes[server]

    async def _connect(self, server: SmtpServer) -> Connection:
        context = None if server.tls == "none" else await self._context(server.verify)
        return await connect(server, self._limits, hello_name=self._hello_name, tls_context=context)

    async def _context(self, verify: bool) -> ssl.SSLContext:
        context = self._contexts.get(verify)
        if context is None:
            # Reading the machine's certificates takes tens of milliseconds.
            context = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca_file)
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._contexts[verify] = context
        return context


def _own_name() -> str:
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", name) else "localhost"
