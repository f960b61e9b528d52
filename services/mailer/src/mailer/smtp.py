"""Delivery over SMTP: connections reused per server, answers classed, a dead server cut off before it slows the others.

aiosmtplib opens a connection (TLS, EHLO, AUTH); the mails themselves are spoken by `_Dialogue`, because aiosmtplib
waits for each reply before the next command and so cannot pipeline (RFC 2920), which is worth more than all else here.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self

import aiosmtplib
import msgspec

from contracts.errors import FieldError, Invalid
from mailer.domain.email_settings import is_public
from mailer.domain.smtp_answers import Meaning, Phase, judge, shown_text

TlsMode = Literal["implicit", "starttls", "opportunistic", "none"]
_UNSAFE_IN_COMMAND = re.compile(r"[\x00-\x20\x7f-\x9f<>\u2028\u2029\ud800-\udfff]")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_MOST_REPLY_BYTES = 64 * 1024


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to send.

    `implicit` is TLS from the first byte (465), `starttls` insists on it, `opportunistic` takes it where it is offered.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: TlsMode = "starttls"
    verify: bool = True
    #: Named by somebody who may not make us speak to our own network: looked at again when it is connected to.
    public_only: bool = False

    def __repr__(self) -> str:
        return (
            f"SmtpServer({self.host}:{self.port}, tls={self.tls}, verify={self.verify}, user={self.user is not None})"
        )


class SmtpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on time and on connections, per server."""

    connect_s: float = 10.0
    command_s: float = 30.0
    data_s: float = 60.0
    idle_s: float = 30.0
    connections: int = 10
    mails_per_connection: int = 100
    waiting: int = 1000
    failures_to_open: int = 5
    open_s: float = 30.0
    longest_open_s: float = 300.0


class Refusal(msgspec.Struct, frozen=True):
    """A recipient that the server did not take; `suppress` when its mailbox itself is at fault."""

    email: str
    code: int
    text: str
    bounced: bool
    suppress: bool


class Accepted(msgspec.Struct, frozen=True):
    """The server took the message for every recipient but the refused ones."""

    response: str
    refused: tuple[Refusal, ...] = ()


class SmtpFailure(Exception):
    """The message was not accepted; `text` is fit to be stored and shown."""

    def __init__(
        self, text: str, *, code: int | None = None, suppress: bool = False, refused: Sequence[Refusal] = ()
    ) -> None:
        super().__init__(text)
        self.text = shown_text(text)
        self.code = code
        self.suppress = suppress
        self.refused = tuple(refused)


class SmtpBounced(SmtpFailure):
    """Refused for good (5xx); `suppress` says whether the recipient's mailbox is why."""


class SmtpDeferred(SmtpFailure):
    """Not now: a 4xx, or one of the kinds below."""


class SmtpUnreachable(SmtpDeferred):
    """No connection, no reply in time, or the server's breaker is open."""


class SmtpMisconfigured(SmtpDeferred):
    """The server refuses our settings: user, password, TLS, or that it is a mail server at all. Somebody must look."""


class SmtpUnknown(SmtpDeferred):
    """The whole message was sent and no reply came: it may have been accepted. A repeat carries the same Message-ID."""


class _Lost(Exception):
    """The connection ended, or fell silent for too long."""


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
        self._lanes: dict[SmtpServer, _Lane] = {}
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
        if not to or any(_UNSAFE_IN_COMMAND.search(email) for email in (envelope_from, *to)):
            raise Invalid(
                "an address cannot stand in an SMTP command", errors=[FieldError("to", "is not one mail address")]
            )
        lane = self._lanes.get(server)
        if lane is None:
            lane = self._lanes[server] = _Lane(server, self)
        try:
            return await lane.send(_Envelope(envelope_from, tuple(to), _stuffed(raw)))
        finally:
            if lane.is_forgettable and self._lanes.get(server) is lane:
                del self._lanes[server]

    async def connect(self, server: SmtpServer) -> "_Connection":
        """A new connection, greeted, encrypted as asked and logged in.

        Raises SmtpUnreachable, SmtpMisconfigured or SmtpDeferred.
        """
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=None if server.public_only else server.port,
            sock=await self._public_socket(server) if server.public_only else None,
            local_hostname=self._hello_name,
            timeout=self._limits.connect_s,
            use_tls=server.tls == "implicit",
            start_tls=False,
            tls_context=None if server.tls == "none" else await self._context(server.verify),
        )
        phase = Phase.CONNECT
        try:
            await client.connect()
            await _hello(client)
            if server.tls == "starttls" or (server.tls == "opportunistic" and client.supports_extension("starttls")):
                phase = Phase.TLS
                if not client.supports_extension("starttls"):
                    raise SmtpMisconfigured("the server does not offer STARTTLS")
                await client.starttls()
                await _hello(client)
            if server.user:
                phase = Phase.AUTH
                await client.login(server.user, server.password or "")
            return _Connection(client, self._limits)
        except SmtpFailure:
            client.close()
            raise
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            raise _failure(phase, error.code, error.message) from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            client.close()
            raise SmtpMisconfigured(f"TLS failed: {error}") from error
        except aiosmtplib.SMTPTimeoutError as error:
            client.close()
            raise SmtpUnreachable(f"no answer in time ({phase})") from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            cause = error.__cause__ or error
            if isinstance(cause, ssl.SSLError):
                raise SmtpMisconfigured(f"TLS failed: {cause}") from error
            if phase is Phase.AUTH and not isinstance(error, OSError):
                raise SmtpMisconfigured(f"the server takes no login of ours: {error}") from error
            raise SmtpUnreachable(f"no connection ({phase}): {cause}") from error
        except BaseException:
            client.close()
            raise

    async def _public_socket(self, server: SmtpServer) -> socket.socket:
        """A connection to the very address that was looked at: a name may mean another one a moment later."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.connect_s):
                found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
                if not all(is_public(ipaddress.ip_address(address[0])) for *_, address in found):
                    raise SmtpMisconfigured("the server's name leads to an internal address")
                family, kind, protocol, _, address = found[0]
                connected = socket.socket(family, kind, protocol)
                try:
                    connected.setblocking(False)
                    await loop.sock_connect(connected, address)
                except BaseException:
                    connected.close()
                    raise
        except TimeoutError:
            raise SmtpUnreachable("no answer in time (connect)") from None
        except OSError as error:
            raise SmtpUnreachable(f"no connection (connect): {error}") from error
        return connected

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

    @property
    def limits(self) -> SmtpLimits:
        """The bounds this pool keeps."""
        return self._limits

    def now_s(self) -> float:
        """Monotonic seconds."""
        return self._monotonic()


class _Envelope(msgspec.Struct, frozen=True):
    sender: str
    to: tuple[str, ...]
    content: bytes

    @property
    def needs_smtputf8(self) -> bool:
        return not (self.sender.isascii() and "".join(self.to).isascii())


class _Lane:
    """One server: its connections, how many may be open, and its breaker."""

    def __init__(self, server: SmtpServer, pool: SmtpPool) -> None:
        self._server = server
        self._pool = pool
        self._limits = pool.limits
        self._slots = asyncio.Semaphore(pool.limits.connections)
        self._idle: list[_Connection] = []
        self._present = 0
        self._failures = 0
        self._open_until_s = 0.0
        self._probing = False

    @property
    def is_forgettable(self) -> bool:
        """Nothing is open, under way or remembered against it."""
        return not (self._idle or self._present or self._failures)

    def close(self) -> None:
        for connection in self._idle:
            connection.quit()
        self._idle.clear()

    async def send(self, envelope: _Envelope) -> Accepted:
        if self._present >= self._limits.waiting:
            raise SmtpUnreachable("too many mails wait for this server")
        self._refuse_when_open()
        self._present += 1
        try:
            async with self._slots:
                # The breaker may have opened while this mail waited for its turn.
                self._refuse_when_open()
                return await self._guarded(envelope)
        finally:
            self._present -= 1

    async def _guarded(self, envelope: _Envelope) -> Accepted:
        is_probe = self._failures >= self._limits.failures_to_open
        self._probing = self._probing or is_probe
        try:
            accepted = await self._deliver(envelope)
        except (SmtpUnreachable, SmtpMisconfigured, SmtpUnknown):
            self._failed()
            raise
        except (SmtpBounced, SmtpDeferred):
            # It talks to us: whatever it said was about this mail.
            self._failures = 0
            raise
        finally:
            if is_probe:
                self._probing = False
        self._failures = 0
        return accepted

    async def _deliver(self, envelope: _Envelope) -> Accepted:
        connection = self._take_idle()
        if connection is not None:
            try:
                return await self._over(connection, envelope)
            except _Lost:
                if connection.is_doubtful:
                    raise SmtpUnknown("the connection ended after the message was sent") from None
                # It had died in our hands, before the server took anything: a fresh one may try once.
        connection = await self._pool.connect(self._server)
        try:
            return await self._over(connection, envelope)
        except _Lost as lost:
            if connection.is_doubtful:
                raise SmtpUnknown("the connection ended after the message was sent") from lost
            raise SmtpUnreachable("the connection ended before the message was sent") from lost

    async def _over(self, connection: "_Connection", envelope: _Envelope) -> Accepted:
        try:
            return await connection.deliver(envelope)
        finally:
            if connection.is_usable:
                self._rest(connection)
            else:
                connection.quit()

    def _rest(self, connection: "_Connection") -> None:
        self._idle.append(connection)
        connection.rest(self._limits.idle_s, lambda: self._expired(connection))

    def _expired(self, connection: "_Connection") -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        connection.quit()

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.wake():
                return connection
            connection.quit()
        return None

    def _refuse_when_open(self) -> None:
        if self._failures < self._limits.failures_to_open:
            return
        if self._probing or self._pool.now_s() < self._open_until_s:
            raise SmtpUnreachable("not tried: the server has not been working")

    def _failed(self) -> None:
        self._failures += 1
        over = self._failures - self._limits.failures_to_open
        if over >= 0:
            open_s = min(self._limits.longest_open_s, self._limits.open_s * 2.0 ** min(over, 20))
            self._open_until_s = self._pool.now_s() + open_s


class _Connection:
    """A server that greeted us, and the mails spoken with it."""

    def __init__(self, client: aiosmtplib.SMTP, limits: SmtpLimits) -> None:
        self._limits = limits
        self._pipelining = client.supports_extension("pipelining")
        self._smtputf8 = client.supports_extension("smtputf8")
        self._size = _advertised_size(client)
        transport = client.transport
        if not isinstance(transport, asyncio.Transport) and not hasattr(transport, "write"):
            raise SmtpUnreachable("the connection ended while it was opened")
        # From here on aiosmtplib is out of the way: bytes come to our protocol.
        self._dialogue = _Dialogue(transport)  # type: ignore[arg-type]  # uvloop's transport is no asyncio.Transport
        self._mails = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._finished = False
        self.is_doubtful = False

    @property
    def is_usable(self) -> bool:
        """Whether another mail may go over it."""
        return not self._finished and self._dialogue.is_quiet and self._mails < self._limits.mails_per_connection

    def rest(self, idle_s: float, expired: Callable[[], None]) -> None:
        """Lie idle; `expired` is called when nobody woke it."""
        self._idle_timer = asyncio.get_running_loop().call_later(idle_s, expired)

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

    async def deliver(self, envelope: _Envelope) -> Accepted:
        """One mail transaction.

        Raises SmtpBounced, SmtpDeferred, or _Lost; after _Lost, `is_doubtful` tells whether the whole message was out.
        """
        self._finished = True  # until the transaction has come to its end
        self._mails += 1
        if envelope.needs_smtputf8 and not self._smtputf8:
            self._finished = False
            raise SmtpBounced("550 5.6.7 the server does not take addresses outside ASCII (SMTPUTF8)", code=550)
        if self._size and len(envelope.content) > self._size:
            self._finished = False
            raise SmtpBounced(f"552 5.3.4 the message is over the server's {self._size} bytes", code=552)
        mail, rcpts, data = await self._announce(envelope)
        if mail[0] == 421 and self._mails > 1:
            # It lay idle for too long, or the server is being restarted: no word about this mail.
            raise _Lost
        refused = [
            _refusal(email, code, text) for email, (code, text) in zip(envelope.to, rcpts, strict=False) if code >= 300
        ]
        taken = mail[0] < 300 and len(refused) < len(envelope.to)
        if taken and data is not None and data[0] == 354:
            self.is_doubtful = True
            self._dialogue.write(envelope.content)
            code, text = await self._dialogue.reply(self._limits.data_s)
            self.is_doubtful = False
            self._finished = code == 421 or not 200 <= code < 600 or 300 <= code < 400
            if 200 <= code < 300:
                return Accepted(f"{code} {shown_text(text)}", tuple(refused))
            raise _failure(Phase.DATA, code, text)
        await self._start_over(mail, data)
        if mail[0] >= 300:
            raise _failure(Phase.MAIL, *mail)
        if not taken:
            raise _all_refused(refused)
        assert data is not None
        raise _failure(Phase.DATA, *data)

    async def _announce(
        self, envelope: _Envelope
    ) -> tuple[tuple[int, str], list[tuple[int, str]], tuple[int, str] | None]:
        """The answers to MAIL, to each RCPT, and to DATA where it was worth asking."""
        dialogue, wait_s = self._dialogue, self._limits.command_s
        commands = self._commands(envelope)
        if self._pipelining:
            dialogue.write(b"".join(commands) + b"DATA\r\n")
            mail = await dialogue.reply(wait_s)
            if mail[0] == 421:
                return mail, [], None
            rcpts = [await dialogue.reply(wait_s) for _ in envelope.to]
            return mail, rcpts, await dialogue.reply(wait_s)
        mail = await dialogue.ask(commands[0], wait_s)
        if mail[0] >= 300:
            return mail, [], None
        rcpts = [await dialogue.ask(command, wait_s) for command in commands[1:]]
        if all(code >= 300 for code, _ in rcpts):
            return mail, rcpts, None
        return mail, rcpts, await dialogue.ask(b"DATA\r\n", wait_s)

    def _commands(self, envelope: _Envelope) -> list[bytes]:
        options = f" SIZE={len(envelope.content)}" if self._size is not None else ""
        if envelope.needs_smtputf8:
            options += " BODY=8BITMIME SMTPUTF8"
        return [
            f"MAIL FROM:<{envelope.sender}>{options}\r\n".encode(),
            *(f"RCPT TO:<{email}>\r\n".encode() for email in envelope.to),
        ]

    async def _start_over(self, mail: tuple[int, str], data: tuple[int, str] | None) -> None:
        """Leave a transaction that failed before any content; the connection stays usable when the server agrees."""
        if mail[0] == 421 or (data is not None and data[0] in (354, 421)):
            # 354 though nobody is to get it: the end of data alone would be a mail to somebody on a broken server.
            return
        try:
            code, _ = await self._dialogue.ask(b"RSET\r\n", self._limits.command_s)
        except _Lost:
            return
        self._finished = code >= 300


class _Dialogue(asyncio.Protocol):
    """Commands out, replies in, in order; several may be under way at once."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        self._replies: list[tuple[int, str]] = []
        self._lines: list[str] = []
        self._waiter: asyncio.Future[None] | None = None
        self._broken = transport.is_closing()
        transport.set_protocol(self)

    @property
    def is_quiet(self) -> bool:
        """Connected, and nothing was said that nobody asked for (an idle server's 421, say)."""
        return not (self._broken or self._buffer or self._replies or self._lines or self._transport.is_closing())

    def write(self, data: bytes) -> None:
        """Send; raises _Lost when the connection is gone."""
        if self._broken or self._transport.is_closing():
            raise _Lost
        self._transport.write(data)

    async def ask(self, command: bytes, wait_s: float) -> tuple[int, str]:
        """The reply to one command."""
        self.write(command)
        return await self.reply(wait_s)

    async def reply(self, wait_s: float) -> tuple[int, str]:
        """The next reply; raises _Lost when none comes in time, or it is no SMTP reply."""
        if not self._replies:
            if self._broken:
                raise _Lost
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(wait_s, self._give_up)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
            if not self._replies:
                raise _Lost
        return self._replies.pop(0)

    def leave(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
        self._broken = True

    def _give_up(self) -> None:
        self._break()

    def _break(self) -> None:
        self._broken = True
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _MOST_REPLY_BYTES or len(self._replies) > 10_000 or len(self._lines) > 1000:
            self._break()
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        for line in lines:
            shown = line.rstrip(b"\r").decode("utf-8", "replace")
            if not re.fullmatch(r"[2-5][0-9]{2}(?:[ -].*)?", shown):
                self._break()
                return
            self._lines.append(shown[4:])
            if shown[3:4] != "-":
                self._replies.append((int(shown[:3]), " ".join(self._lines)))
                self._lines.clear()
        if self._replies:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._broken = True
        self._wake()


async def _hello(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code == 421 or not client.is_connected:
            raise
        await client.helo()


def _advertised_size(client: aiosmtplib.SMTP) -> int | None:
    """None when SIZE is not offered, 0 when it is without a limit (RFC 1870)."""
    if not client.supports_extension("size"):
        return None
    size = client.esmtp_extensions.get("size", "").strip()
    return int(size) if size.isascii() and size.isdigit() and len(size) < 16 else 0


def _failure(phase: Phase, code: int, text: str) -> SmtpFailure:
    verdict = judge(phase, code, text)
    shown = f"{code} {text}"
    if verdict.meaning is Meaning.BOUNCED:
        return SmtpBounced(shown, code=code, suppress=verdict.suppress)
    if verdict.meaning is Meaning.MISCONFIGURED:
        return SmtpMisconfigured(shown, code=code)
    return SmtpUnreachable(shown, code=code) if phase is Phase.CONNECT else SmtpDeferred(shown, code=code)


def _refusal(email: str, code: int, text: str) -> Refusal:
    verdict = judge(Phase.RCPT, code, text)
    return Refusal(email, code, f"{code} {shown_text(text)}", verdict.meaning is Meaning.BOUNCED, verdict.suppress)


def _all_refused(refused: Sequence[Refusal]) -> SmtpFailure:
    # One recipient that may still be reached keeps the mail alive; the caller sees each one's own answer.
    first = next((one for one in refused if not one.bounced), refused[0])
    kind: type[SmtpFailure] = SmtpDeferred
    if first.bounced:
        kind = SmtpBounced
    elif judge(Phase.RCPT, first.code, first.text).meaning is Meaning.MISCONFIGURED:
        kind = SmtpMisconfigured
    return kind(first.text, code=first.code, suppress=first.suppress, refused=refused)


def _stuffed(raw: bytes) -> bytes:
    """The message as it goes after DATA: CRLF only (a bare end could smuggle an end of data), dots doubled, the end."""
    if not raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r"):
        raw = _LINE_END.sub(b"\r\n", raw)
    if b"\r\n." in raw or raw.startswith(b"."):
        raw = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]
    return raw + (b".\r\n" if raw.endswith(b"\r\n") else b"\r\n.\r\n")


def _own_name() -> str:
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", name) else "localhost"
