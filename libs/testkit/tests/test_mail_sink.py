"""The sink accepts everything, keeps whole messages only, and stays within its bounds."""

import asyncio
import smtplib
from pathlib import Path

from testkit.mail_sink import MailSink, mail_sink


async def test_a_mail_becomes_a_file_with_its_envelope(tmp_path: Path) -> None:
    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.ehlo()
            client.login("anyone", "anything")
            client.sendmail("a@example.com", ["b@example.com", "c@example.com"], "Subject: hi\r\n\r\nbody\r\n")

    async with mail_sink(tmp_path / "mail") as sink:
        await asyncio.to_thread(send, sink.port)
        (kept,) = sink.messages()
    text = await asyncio.to_thread(kept.read_bytes)
    assert text.startswith(b"X-Envelope-From: <a@example.com>\r\nX-Envelope-To: <b@example.com>, <c@example.com>\r\n")
    assert text.endswith(b"Subject: hi\r\n\r\nbody\r\n")


def test_the_oldest_go_first(tmp_path: Path) -> None:
    sink = MailSink(tmp_path, 0, max_messages=3, max_bytes=10_000)
    kept = [sink.keep("a", ["b"], b"%d" % number) for number in range(5)]
    assert sink.messages() == kept[2:]
    large = sink.keep("a", ["b"], b"x" * 20_000)
    assert sink.messages() == [large], "one message is kept even where it alone is too large"
    assert list(tmp_path.glob(".*")) == []
