"""One client's SMTP dialogue with a scripted server: answers as a healthy server would unless the script objects."""

import asyncio
import base64
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

from testkit.smtp_script import Action, Delay, Hang, Phase, Reply, Reset, Script, Session

Record = Callable[[Session, bytes], int]


class HangUp(ConnectionError):
    """The script ended the connection."""


class Dialogue:
    """Speaks with one client; `script` is asked before each answer, `record` keeps an accepted message."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        session: Session,
        *,
        script: Script,
        record: Record,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._reader, self._writer, self._session = reader, writer, session
        self._script, self._record, self._tls = script, record, tls

    async def run(self) -> None:
        """Speak SMTP until someone hangs up."""
        if not await self._answer(Phase.BANNER, 220, "scripted.localhost ESMTP"):
            return
        while line := await self._reader.readuntil(b"\r\n"):
            text = line[:-2].decode("utf-8", "replace")
            verb, _, argument = text.partition(" ")
            self._session.argument = argument
            if not await self._command(verb.upper(), argument):
                return

    async def _command(self, verb: str, argument: str) -> bool:
        session = self._session
        if verb in ("EHLO", "HELO"):
            return await self._answer(Phase.EHLO, 250, *self._capabilities())
        if verb == "STARTTLS" and self._tls is not None:
            return await self._starttls(self._tls)
        if verb == "AUTH":
            return await self._auth(argument)
        if verb == "MAIL":
            session.sender, session.recipients = _address(argument), []
            return await self._answer(Phase.MAIL, 250, "sender ok")
        if verb == "RCPT":
            session.argument = _address(argument)
            return await self._answer(Phase.RCPT, 250, "recipient ok", on_success=session.recipients.append)
        if verb == "DATA":
            return await self._data()
        if verb == "QUIT":
            await self._answer(Phase.QUIT, 221, "bye")
            return False
        if verb in ("RSET", "NOOP"):
            if verb == "RSET":
                session.sender, session.recipients = "", []
            return await self._send(250, "ok")
        return await self._send(502, "not here")

    async def _data(self) -> bool:
        session = self._session
        if not session.recipients:
            return await self._send(503, "no recipients")
        went_on: list[str] = []
        if not await self._answer(Phase.DATA, 354, "go ahead", on_success=went_on.append):
            return False
        if not went_on:
            return True
        lines: list[bytes] = []
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        raw = b"".join(lines)
        refusal = self._script(session, Phase.BODY)
        if refusal is not None and not isinstance(refusal, Delay):
            return await self._perform(refusal, 250, ("accepted",))
        if isinstance(refusal, Delay):
            await asyncio.sleep(refusal.seconds)
        number = self._record(session, raw)
        session.sender, session.recipients = "", []
        return await self._answer(Phase.ACCEPTED, 250, f"accepted as {number}")

    async def _auth(self, argument: str) -> bool:
        mechanism, _, initial = argument.partition(" ")
        try:
            if mechanism.upper() == "PLAIN":
                if not initial:
                    await self._send(334, "")
                    initial = (await self._reader.readuntil(b"\r\n")).decode().strip()
                _, self._session.user, self._session.password = base64.b64decode(initial).decode().split("\0")
            elif mechanism.upper() == "LOGIN":
                answers = [initial] if initial else []
                for prompt in ("Username:", "Password:")[len(answers) :]:
                    await self._send(334, base64.b64encode(prompt.encode()).decode())
                    answers.append((await self._reader.readuntil(b"\r\n")).decode().strip())
                self._session.user, self._session.password = (base64.b64decode(part).decode() for part in answers)
            else:
                return await self._send(504, "unknown mechanism")
        except ValueError:
            return await self._send(501, "not base64")
        return await self._answer(Phase.AUTH, 235, "welcome")

    async def _starttls(self, context: ssl.SSLContext) -> bool:
        went_on: list[str] = []
        if not await self._answer(Phase.STARTTLS, 220, "go ahead", on_success=went_on.append):
            return False
        if not went_on:
            return True
        action = self._script(self._session, Phase.HANDSHAKE)
        if action is not None:  # Whatever is scripted, it is not a TLS handshake: that is the failure.
            return await self._perform(action, 220, ("this is not TLS",))
        await self._writer.start_tls(context)
        self._session.tls = True
        return True

    def _capabilities(self) -> tuple[str, ...]:
        offered = ("scripted.localhost", "PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 52428800", "AUTH PLAIN LOGIN")
        return (*offered, "STARTTLS") if self._tls is not None and not self._session.tls else offered

    async def _answer(
        self, phase: Phase, code: int, *lines: str, on_success: Callable[[str], object] | None = None
    ) -> bool:
        """Do what the script says, else answer as given; False ends the session."""
        action = self._script(self._session, phase)
        if on_success is not None and (action is None or isinstance(action, Delay)):
            on_success(self._session.argument)
        return await self._perform(action, code, lines)

    async def _perform(self, action: Action | None, code: int, lines: tuple[str, ...]) -> bool:
        match action:
            case None:
                return await self._send(code, *lines)
            case Delay(seconds):
                await asyncio.sleep(seconds)
                return await self._send(code, *lines)
            case Reply(scripted, text, delay_s, then_close):
                await asyncio.sleep(delay_s)
                await self._send(scripted, text)
                return not then_close and scripted != 421
            case Hang():
                with contextlib.suppress(ConnectionError):
                    while await self._reader.read(65536):
                        pass
                return False
            case Reset(after_reply):
                if after_reply:
                    await self._send(code, *lines)
                raw: socket.socket = self._writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
                raise HangUp

    async def _send(self, code: int, *lines: str) -> bool:
        *before, last = lines or ("",)
        text = "".join(f"{code}-{line}\r\n" for line in before) + f"{code} {last}\r\n"
        self._writer.write(text.encode())
        await self._writer.drain()
        return True


def _address(argument: str) -> str:
    """What stands between the angle brackets of `FROM:<...>` or `TO:<...>`."""
    return argument.partition("<")[2].rpartition(">")[0]
