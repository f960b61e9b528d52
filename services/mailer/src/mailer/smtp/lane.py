"""One server's mails: how many connections may be open, which of them lie idle, and which one takes the next mail."""

import asyncio
from collections.abc import Awaitable, Callable

from mailer.smtp.breaker import Breaker
from mailer.smtp.connection import Connection
from mailer.smtp.dialogue import Lost
from mailer.smtp.envelope import Envelope
from mailer.smtp.errors import SmtpUnreachable
from mailer.smtp.server import Accepted, SmtpLimits


class Lane:
    """`connect` opens a new connection to the server."""

    def __init__(
        self, limits: SmtpLimits, *, connect: Callable[[], Awaitable[Connection]], monotonic: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._connect = connect
        self._breaker = Breaker(limits, monotonic)
        self._slots = asyncio.Semaphore(limits.connections)
        self._idle: list[Connection] = []
        self._present = 0

    @property
    def is_forgettable(self) -> bool:
        """Nothing is open, under way or remembered against it."""
        return not self._idle and not self._present and self._breaker.is_clear

    def close(self) -> None:
        """Take leave on every idle connection."""
        for connection in self._idle:
            connection.quit()
        self._idle.clear()

    async def send(self, envelope: Envelope) -> Accepted:
        """The server's acceptance. Raises SmtpBounced or SmtpDeferred."""
        if self._present >= self._limits.waiting:
            raise SmtpUnreachable("too many mails wait for this server")
        self._breaker.check()
        self._present += 1
        try:
            # The breaker may open while this mail waits for its turn: `attempt` looks again.
            async with self._slots:
                with self._breaker.attempt():
                    return await self._deliver(envelope)
        finally:
            self._present -= 1

    async def _deliver(self, envelope: Envelope) -> Accepted:
        if (connection := self._take_idle()) is not None:
            try:
                return await self._over(connection, envelope)
            except Lost:
                pass  # It had died in our hands, before the server took anything: a fresh one may try once.
        connection = await self._connect()
        try:
            return await self._over(connection, envelope)
        except Lost as lost:
            raise SmtpUnreachable("the connection ended before the message was sent") from lost

    async def _over(self, connection: Connection, envelope: Envelope) -> Accepted:
        try:
            return await connection.deliver(envelope)
        finally:
            if connection.is_usable:
                self._idle.append(connection)
                connection.rest(lambda: self._expired(connection))
            else:
                connection.quit()

    def _expired(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        connection.quit()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.wake():
                return connection
            connection.quit()
        return None
