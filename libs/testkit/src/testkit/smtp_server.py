"""An SMTP server over a real socket that can be told to refuse, hang, hang up or lie at each phase (smtp_script).

Every message that was accepted stands in `accepted`, written before the answer is sent: a client that never saw its
250 has still sent the mail.
"""

import asyncio
import base64
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

from testkit.embedded.process import LOOPBACK, free_port
from testkit.smtp_script import Action, Phase, Script, Session, healthy
from testkit.smtp_session import Dialogue


@dataclass(frozen=True)
class Accepted:
    """One accepted message; `raw` is what came after DATA, without the dots of the transfer."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    at_s: float
    session: int


class ScriptedSmtp:
    """The server; `script` may be replaced at any time and holds from the next answer on."""

    def __init__(
        self, script: Script = healthy, *, ledger: Path | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.script = script
        self.accepted: list[Accepted] = []
        self.sessions = 0
        self.port = 0
        self._tls = tls
        self._ledger = ledger
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its SMTP_URL."""
        return f"smtp://{LOOPBACK}:{self.port}"

    def by_message_id(self) -> dict[str, list[Accepted]]:
        """The accepted messages under their Message-ID; more than one under an id is a duplicate."""
        found: dict[str, list[Accepted]] = {}
        for message in self.accepted:
            found.setdefault(message.message_id, []).append(message)
        return found

    async def start(self, port: int = 0) -> None:
        """Listen on the loopback interface. Raises: OSError when the port is taken."""
        self.port = port or self.port or free_port()
        self._server = await asyncio.start_server(self._connected, LOOPBACK, self.port, limit=64 * 1024 * 1024)

    async def stop(self) -> None:
        """Stop listening and hang up on everyone; it can be started again on the same port."""
        if self._server is not None:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        try:
            session = Session(str(writer.get_extra_info("peername")), self.sessions)
            await Dialogue(reader, writer, session, script=self._ask, record=self._record, tls=self._tls).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # The client hung up, or we did.
        finally:
            self._tasks.discard(task)
            writer.close()

    def _ask(self, session: Session, phase: Phase) -> Action | None:
        return self.script(session, phase)

    def _record(self, session: Session, raw: bytes) -> int:
        message_id = BytesHeaderParser().parsebytes(raw[:65536]).get("Message-ID", "").strip()
        accepted = Accepted(message_id, session.sender, tuple(session.recipients), raw, time.time(), session.number)
        if self._ledger is not None:
            line = {"message_id": message_id, "from": session.sender, "to": session.recipients}
            line["raw"] = base64.b64encode(raw).decode()
            with self._ledger.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self.accepted.append(accepted)
        return len(self.accepted)


@asynccontextmanager
async def scripted_smtp(
    script: Script = healthy, *, ledger: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedSmtp]:
    """Serve on a free loopback port of this event loop."""
    server = ScriptedSmtp(script, ledger=ledger, tls=tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
