"""A real SMTP client sees each scripted failure, and the ledger knows what was accepted."""

import asyncio
import json
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

import pytest

from testkit import smtp_script as script
from testkit.smtp_script import Phase
from testkit.smtp_server import ScriptedSmtp, scripted_smtp
from testkit.tls import self_signed


def _mail(message_id: str, text: str = "hello\n.\n..dots\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "s"
    message["Message-ID"] = message_id
    message.set_content(text)
    return message


def _send(
    server: ScriptedSmtp, message_id: str = "<1@test>", *, timeout_s: float = 5.0, tls: str | None = None
) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=timeout_s) as client:
        if tls is not None:
            client.starttls(context=ssl.create_default_context(cadata=tls))
        client.send_message(_mail(message_id))


async def _sending(server: ScriptedSmtp, message_id: str = "<1@test>", *, timeout_s: float = 5.0) -> None:
    await asyncio.to_thread(_send, server, message_id, timeout_s=timeout_s)


async def test_a_healthy_server_keeps_what_was_sent_byte_for_byte(tmp_path: Path) -> None:
    async with scripted_smtp(ledger=tmp_path / "ledger") as server:
        await _sending(server, "<one@test>")
        (accepted,) = server.by_message_id()["<one@test>"]
    assert accepted.sender == "a@example.com"
    assert accepted.recipients == ("b@example.com",)
    assert accepted.raw.endswith(b"\r\n\r\nhello\r\n.\r\n..dots\r\n")
    (line,) = (tmp_path / "ledger").read_text().splitlines()
    assert json.loads(line)["message_id"] == "<one@test>"


@pytest.mark.parametrize(
    ("phase", "code", "error"),
    [
        (Phase.BANNER, 554, smtplib.SMTPConnectError),
        (Phase.MAIL, 451, smtplib.SMTPSenderRefused),
        (Phase.RCPT, 550, smtplib.SMTPRecipientsRefused),
        (Phase.RCPT, 450, smtplib.SMTPRecipientsRefused),
        (Phase.DATA, 451, smtplib.SMTPDataError),
        (Phase.BODY, 552, smtplib.SMTPDataError),
    ],
)
async def test_a_refusal_at_each_phase_accepts_nothing(phase: Phase, code: int, error: type[Exception]) -> None:
    async with scripted_smtp(script.refuses(phase, code)) as server:
        with pytest.raises(error) as refused:
            await _sending(server)
        assert str(code) in str(refused.value)
        assert server.accepted == []


async def test_421_hangs_up() -> None:
    async with scripted_smtp(script.shuts_down()) as server:
        with pytest.raises(smtplib.SMTPSenderRefused, match="421"):
            await _sending(server)


async def test_a_time_out_in_data_accepts_nothing() -> None:
    async with scripted_smtp(script.hangs_in_data()) as server:
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            await _sending(server, timeout_s=0.3)
        assert server.accepted == []


async def test_a_reset_after_250_comes_behind_the_answer() -> None:
    async with scripted_smtp(script.resets_after_accept()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for line in (b"EHLO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA", b"Message-ID: <r@t>\r\n\r\nx\r\n."):
            writer.write(line + b"\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert len(server.by_message_id()["<r@t>"]) == 1


async def test_a_lost_250_is_in_the_ledger_all_the_same() -> None:
    async with scripted_smtp(script.loses_its_250()) as server:
        with pytest.raises((ConnectionResetError, smtplib.SMTPServerDisconnected)):
            await _sending(server, "<lost@test>")
        assert len(server.by_message_id()["<lost@test>"]) == 1


async def test_greylisting_refuses_a_pair_once() -> None:
    async with scripted_smtp(script.greylists()) as server:
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="450"):
            await _sending(server)
        await _sending(server)
        assert len(server.accepted) == 1


async def test_a_slow_banner_is_only_slow() -> None:
    async with scripted_smtp(script.slow_banner(0.3)) as server:
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected), match="timed out"):
            await _sending(server, timeout_s=0.1)
        await _sending(server)
        assert len(server.accepted) == 1


async def test_tls_is_real_and_its_failure_too() -> None:
    context, certificate = self_signed()
    async with scripted_smtp(tls=context) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(_send, server, tls=self_signed()[1].decode())  # another server's certificate
        await asyncio.to_thread(_send, server, tls=certificate.decode())
        assert len(server.accepted) == 1
        server.script = script.fails_tls()
        with pytest.raises((ssl.SSLError, smtplib.SMTPException, ConnectionError)):
            await asyncio.to_thread(_send, server, tls=certificate.decode())
        assert len(server.accepted) == 1


async def test_it_comes_back_on_the_same_port() -> None:
    async with scripted_smtp() as server:
        port = server.port
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await _sending(server)
        await server.start()
        assert server.port == port
        await _sending(server)
        assert len(server.accepted) == 1
