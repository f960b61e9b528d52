"""An SMTP server that accepts everything and keeps each message as an .eml file, newest last, within bounds."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from testkit.embedded.process import LOOPBACK

_serial = itertools.count(1)


@dataclass
class MailSink:
    """Where the messages lie; older files are deleted beyond `max_messages` or `max_bytes`."""

    directory: Path
    port: int
    max_messages: int = 1000
    max_bytes: int = 200_000_000

    @property
    def url(self) -> str:
        """The SMTP_URL of this sink."""
        return f"smtp://{LOOPBACK}:{self.port}"

    def messages(self) -> list[Path]:
        """The files, oldest first; only whole messages are ever seen."""
        return sorted(self.directory.glob("*.eml"))

    def keep(self, sender: str, recipients: list[str], content: bytes) -> Path:
        """Store one message, with its envelope as two X- headers before it, and drop what is beyond the bounds."""
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{next(_serial):06d}.eml"
        envelope = f"X-Envelope-From: <{sender}>\r\nX-Envelope-To: {', '.join(f'<{to}>' for to in recipients)}\r\n"
        unfinished = self.directory / f".{os.getpid()}-{name}"
        unfinished.write_bytes(envelope.encode() + content)
        unfinished.rename(self.directory / name)
        self._rotate()
        return self.directory / name

    def _rotate(self) -> None:
        # Listing is cheap next to a mail, and other programs may delete files here too.
        with os.scandir(self.directory) as entries:
            files = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.name.endswith(".eml"))
        excess_bytes = sum(size for _, size in files) - self.max_bytes
        excess_files = len(files) - self.max_messages
        for name, size in files[:-1]:
            if excess_files <= 0 and excess_bytes <= 0:
                return
            (self.directory / name).unlink(missing_ok=True)
            excess_files -= 1
            excess_bytes -= size


class _Handler:
    def __init__(self, sink: MailSink) -> None:
        self._sink = sink

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        try:
            kept = self._sink.keep(envelope.mail_from or "", list(envelope.rcpt_tos), raw)
        except OSError as error:
            return f"452 cannot keep it: {error.strerror}"
        return f"250 kept as {kept.name}"


@asynccontextmanager
async def mail_sink(directory: Path, *, port: int = 0, max_messages: int = 1000) -> AsyncIterator[MailSink]:
    """Serve a sink on the loopback interface (port 0: a free one) in this event loop.

    Raises: OSError when the port is taken.
    """
    sink = MailSink(directory, port, max_messages)

    def accept_anyone(*_: Any) -> AuthResult:
        return AuthResult(success=True)

    def session() -> SMTP:
        return SMTP(
            _Handler(sink),
            hostname="sink.localhost",
            enable_SMTPUTF8=True,
            data_size_limit=50_000_000,
            authenticator=accept_anyone,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(session, LOOPBACK, port)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()
