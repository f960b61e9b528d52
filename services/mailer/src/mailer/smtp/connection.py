"""A server that greeted us, and the mails spoken with it, one after the other."""

import asyncio
from collections.abc import Callable

import aiosmtplib

from mailer.domain.smtp_answers import Phase, shown_text
from mailer.smtp.dialogue import Dialogue, Lost, Reply
from mailer.smtp.envelope import Envelope
from mailer.smtp.errors import SmtpBounced, SmtpUnknown, SmtpUnreachable, all_refused, failure, refusal
from mailer.smtp.server import Accepted, SmtpLimits


class Connection:
    """Takes over from `client`, which has greeted the server and logged in."""

    def __init__(self, client: aiosmtplib.SMTP, limits: SmtpLimits) -> None:
        self._limits = limits
        self._pipelining = client.supports_extension("pipelining")
        self._smtputf8 = client.supports_extension("smtputf8")
        self._size = _advertised_size(client)
        transport = client.transport
        if not isinstance(transport, asyncio.Transport) and not hasattr(transport, "write"):
            raise SmtpUnreachable("the connection ended while it was opened")
        # From here on aiosmtplib is out of the way: bytes come to our protocol.
        self._dialogue = Dialogue(transport)  # type: ignore[arg-type]  # uvloop's transport is no asyncio.Transport
        self._mails = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._finished = False

    @property
    def is_usable(self) -> bool:
        """Whether another mail may go over it."""
        return not self._finished and self._dialogue.is_quiet and self._mails < self._limits.mails_per_connection

    def rest(self, expired: Callable[[], None]) -> None:
        """Lie idle; `expired` is called when nobody woke it."""
        self._idle_timer = asyncio.get_running_loop().call_later(self._limits.idle_s, expired)

    def wake(self) -> bool:
        """Whether it is still alive, as far as one can see from here."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        return self.is_usable

    def quit(self) -> None:
        """Take leave without waiting for the answer."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._finished = True
        self._dialogue.leave()

    async def deliver(self, envelope: Envelope) -> Accepted:
        """One mail transaction.

        Raises SmtpBounced, SmtpDeferred, SmtpUnknown when the connection ended after the whole message was out, or
        Lost when it ended before.
        """
        self._mails += 1
        self._refuse_hopeless(envelope)
        self._finished = True  # until the transaction has come to its end
        mail, rcpts, data = await self._announce(envelope)
        if mail.code == 421 and self._mails > 1:
            # It lay idle for too long, or the server is being restarted: no word about this mail.
            raise Lost
        refused = [
            refusal(email, *reply) for email, reply in zip(envelope.to, rcpts, strict=False) if reply.code >= 300
        ]
        all_are_refused = len(refused) == len(envelope.to)
        if mail.code < 300 and not all_are_refused and data is not None and data.code == 354:
            code, text = await self._hand_over(envelope.content)
            return Accepted(f"{code} {shown_text(text)}", tuple(refused))
        await self._start_over(mail, data)
        if mail.code >= 300:
            raise failure(Phase.MAIL, *mail)
        if all_are_refused:
            raise all_refused(refused)
        assert data is not None
        raise failure(Phase.DATA, *data)

    def _refuse_hopeless(self, envelope: Envelope) -> None:
        if envelope.needs_smtputf8 and not self._smtputf8:
            raise SmtpBounced("550 5.6.7 the server does not take addresses outside ASCII (SMTPUTF8)", code=550)
        if self._size and len(envelope.content) > self._size:
            raise SmtpBounced(f"552 5.3.4 the message is over the server's {self._size} bytes", code=552)

    async def _announce(self, envelope: Envelope) -> tuple[Reply, list[Reply], Reply | None]:
        """The answers to MAIL, to each RCPT, and to DATA where it was worth asking."""
        dialogue, wait_s = self._dialogue, self._limits.command_s
        commands = self._commands(envelope)
        if self._pipelining:
            dialogue.write(b"".join(commands) + b"DATA\r\n")
            mail = await dialogue.reply(wait_s)
            if mail.code == 421:
                return mail, [], None
            rcpts = [await dialogue.reply(wait_s) for _ in envelope.to]
            return mail, rcpts, await dialogue.reply(wait_s)
        mail = await dialogue.ask(commands[0], wait_s)
        if mail.code >= 300:
            return mail, [], None
        rcpts = [await dialogue.ask(command, wait_s) for command in commands[1:]]
        if all(reply.code >= 300 for reply in rcpts):
            return mail, rcpts, None
        return mail, rcpts, await dialogue.ask(b"DATA\r\n", wait_s)

    def _commands(self, envelope: Envelope) -> list[bytes]:
        options = f" SIZE={len(envelope.content)}" if self._size is not None else ""
        if envelope.needs_smtputf8:
            options += " BODY=8BITMIME SMTPUTF8"
        return [
            f"MAIL FROM:<{envelope.sender}>{options}\r\n".encode(),
            *(f"RCPT TO:<{email}>\r\n".encode() for email in envelope.to),
        ]

    async def _hand_over(self, content: bytes) -> Reply:
        """The answer that accepts the message."""
        try:
            self._dialogue.write(content)
            reply = await self._dialogue.reply(self._limits.data_s)
        except Lost:
            raise SmtpUnknown("the connection ended after the message was sent") from None
        self._finished = reply.code == 421 or 300 <= reply.code < 400
        if reply.code >= 300:
            raise failure(Phase.DATA, *reply)
        return reply

    async def _start_over(self, mail: Reply, data: Reply | None) -> None:
        """Leave a transaction that failed before any content; the connection stays usable when the server agrees."""
        if mail.code == 421 or (data is not None and data.code in (354, 421)):
            # 354 though nobody is to get it: the end of data alone would be a mail to somebody on a broken server.
            return
        try:
            reply = await self._dialogue.ask(b"RSET\r\n", self._limits.command_s)
        except Lost:
            return
        self._finished = reply.code >= 300


def _advertised_size(client: aiosmtplib.SMTP) -> int | None:
    """None when SIZE is not offered, 0 when it is without a limit (RFC 1870)."""
    if not client.supports_extension("size"):
        return None
    size = client.esmtp_extensions.get("size", "").strip()
    return int(size) if size.isascii() and size.isdigit() and len(size) < 16 else 0
