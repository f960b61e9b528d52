"""Every answer of an SMTP server gets its right class; connections are reused, bounded, and never trusted too long."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.errors import Invalid
from mailer.smtp import (
    Accepted,
    SmtpBounced,
    SmtpDeferred,
    SmtpFailure,
    SmtpLimits,
    SmtpMisconfigured,
    SmtpPool,
    SmtpServer,
    SmtpUnknown,
    SmtpUnreachable,
)
from testkit.smtp_script import (
    Action,
    Hang,
    Phase,
    Reply,
    Reset,
    Script,
    Session,
    at,
    fails_tls,
    greylists,
    hangs_in_data,
    loses_its_250,
    refuses,
    resets_after_accept,
    shuts_down,
    slow_banner,
)
from testkit.smtp_server import ScriptedSmtp, scripted_smtp
from testkit.tls import self_signed

QUICK = SmtpLimits(connect_s=0.4, command_s=0.4, data_s=0.4, idle_s=5, failures_to_open=1000)
RAW = b"Message-ID: <1@x.test>\r\nSubject: s\r\n\r\nbody\r\n"


@pytest.fixture
async def pool() -> AsyncIterator[SmtpPool]:
    async with SmtpPool(QUICK, hello_name="mailer.test") as pool:
        yield pool


def plain(server: ScriptedSmtp, user: str | None = None) -> SmtpServer:
    return SmtpServer(host="127.0.0.1", port=server.port, tls="none", user=user, password=user and "secret")


async def send(pool: SmtpPool, server: SmtpServer, *to: str, raw: bytes = RAW) -> Accepted:
    return await pool.send(server, "from@x.test", to or ("to@y.test",), raw)


FOURTEEN: dict[str, tuple[Script, type[SmtpFailure] | None, bool]] = {
    "421 in the greeting": (refuses(Phase.BANNER, 421), SmtpUnreachable, False),
    "421 at MAIL": (shuts_down(Phase.MAIL), SmtpDeferred, False),
    "450 greylisting": (greylists(1), SmtpDeferred, False),
    "451 at the end of DATA": (refuses(Phase.BODY, 451), SmtpDeferred, False),
    "452 at RCPT": (refuses(Phase.RCPT, 452), SmtpDeferred, False),
    "550 at RCPT": (refuses(Phase.RCPT, 550, "5.1.1 no such user"), SmtpBounced, True),
    "552 at the end of DATA": (refuses(Phase.BODY, 552, "5.3.4 too big"), SmtpBounced, False),
    "554 in the greeting": (refuses(Phase.BANNER, 554), SmtpMisconfigured, False),
    "no answer in DATA": (hangs_in_data(), SmtpUnknown, False),
    "reset instead of 250": (loses_its_250(), SmtpUnknown, False),
    "250, then reset": (resets_after_accept(), None, False),
    "a TLS handshake that fails": (fails_tls(), SmtpDeferred, False),
    "a greeting that is too slow": (slow_banner(5), SmtpUnreachable, False),
    "535 wrong password": (refuses(Phase.AUTH, 535), SmtpMisconfigured, False),
}


@pytest.mark.parametrize("name", FOURTEEN)
async def test_fourteen_failures_get_their_class(name: str, pool: SmtpPool) -> None:
    script, expected, suppress = FOURTEEN[name]
    is_tls = "TLS" in name
    async with scripted_smtp(script, tls=self_signed()[0] if is_tls else None) as smtp:
        server = plain(smtp, user="u" if "password" in name else None)
        if is_tls:
            server = SmtpServer(host="127.0.0.1", port=smtp.port, tls="starttls", verify=False)
        started = time.monotonic()
        if expected is None:
            assert (await send(pool, server)).refused == ()
        else:
            with pytest.raises(expected) as failure:
                await send(pool, server)
            assert failure.value.suppress is suppress
            assert failure.value.text.isprintable()
        assert time.monotonic() - started < 3
        assert len(smtp.accepted) == (1 if expected is None or name == "reset instead of 250" else 0)


async def test_a_greylisted_mail_is_taken_the_second_time(pool: SmtpPool) -> None:
    async with scripted_smtp(greylists(1)) as smtp:
        with pytest.raises(SmtpDeferred):
            await send(pool, plain(smtp))
        assert (await send(pool, plain(smtp))).response.startswith("250 ")
        assert smtp.sessions == 1


async def test_connections_are_reused_and_bounded(pool: SmtpPool) -> None:
    async with scripted_smtp() as smtp:
        for _ in range(5):
            await send(pool, plain(smtp))
        assert smtp.sessions == 1
        await asyncio.gather(*(send(pool, plain(smtp)) for _ in range(60)))
        assert smtp.sessions <= QUICK.connections
        assert len(smtp.accepted) == 65


async def test_a_connection_carries_so_many_mails_and_no_more() -> None:
    limits = SmtpLimits(mails_per_connection=3)
    async with scripted_smtp() as smtp, SmtpPool(limits) as pool:
        for _ in range(7):
            await send(pool, plain(smtp))
        assert smtp.sessions == 3


async def test_an_idle_connection_is_closed() -> None:
    async with scripted_smtp() as smtp, SmtpPool(SmtpLimits(idle_s=0.05)) as pool:
        await send(pool, plain(smtp))
        await asyncio.sleep(0.2)
        await send(pool, plain(smtp))
        assert smtp.sessions == 2


@pytest.mark.parametrize("death", [Reset(), Reply(421, "4.4.2 idle too long", then_close=True), Hang()], ids=str)
async def test_a_reused_connection_that_had_died_is_replaced_once(death: Action, pool: SmtpPool) -> None:
    def script(session: Session, phase: Phase) -> Action | None:
        return death if phase is Phase.MAIL and session.number == 1 and len(smtp.accepted) == 1 else None

    async with scripted_smtp(script) as smtp:
        await send(pool, plain(smtp))
        await send(pool, plain(smtp))
        assert (smtp.sessions, len(smtp.accepted)) == (2, 2)


async def test_a_server_that_was_restarted_meanwhile_costs_nothing(pool: SmtpPool) -> None:
    async with scripted_smtp() as smtp:
        await send(pool, plain(smtp))
        await smtp.stop()
        await smtp.start(smtp.port)
        await send(pool, plain(smtp))
        assert len(smtp.accepted) == 2


@pytest.mark.parametrize("loss", [hangs_in_data(), loses_its_250()])
async def test_a_message_that_may_have_been_accepted_is_never_sent_again_here(loss: Script, pool: SmtpPool) -> None:
    async with scripted_smtp() as smtp:
        await send(pool, plain(smtp))
        bodies = 0

        def counting(session: Session, phase: Phase) -> Action | None:
            nonlocal bodies
            bodies += phase is Phase.BODY
            return loss(session, phase)

        smtp.script = counting
        with pytest.raises(SmtpUnknown):
            await send(pool, plain(smtp))
        assert bodies == 1


async def test_recipients_are_refused_one_by_one(pool: SmtpPool) -> None:
    def script(session: Session, phase: Phase) -> Action | None:
        refusals = {"gone@y.test": Reply(550, "5.1.1 gone"), "later@y.test": Reply(451, "4.3.0 later")}
        return refusals.get(session.argument) if phase is Phase.RCPT else None

    async with scripted_smtp(script) as smtp:
        accepted = await send(pool, plain(smtp), "gone@y.test", "to@y.test", "later@y.test")
        assert [(one.email, one.code, one.bounced, one.suppress) for one in accepted.refused] == [
            ("gone@y.test", 550, True, True),
            ("later@y.test", 451, False, False),
        ]
        assert smtp.accepted[0].recipients == ("to@y.test",)
        with pytest.raises(SmtpDeferred) as failure:
            await send(pool, plain(smtp), "gone@y.test", "later@y.test")
        assert len(failure.value.refused) == 2
        with pytest.raises(SmtpBounced) as bounce:
            await send(pool, plain(smtp), "gone@y.test")
        assert (bounce.value.code, bounce.value.suppress) == (550, True)
        # None of that spoiled the connection for the next mail.
        await send(pool, plain(smtp))
        assert smtp.sessions == 1
        assert len(smtp.accepted) == 2


@pytest.mark.parametrize(
    ("phase", "reply", "expected", "suppress"),
    [
        (Phase.MAIL, Reply(550, "5.7.1 sender rejected"), SmtpBounced, False),
        (Phase.MAIL, Reply(451, "4.7.1 slow down"), SmtpDeferred, False),
        (Phase.MAIL, Reply(530, "5.7.0 authentication required"), SmtpMisconfigured, False),
        (Phase.RCPT, Reply(552, "5.2.2 mailbox full"), SmtpBounced, False),
        (Phase.RCPT, Reply(553, "no such mailbox"), SmtpBounced, True),
        (Phase.RCPT, Reply(999, "nonsense"), SmtpUnreachable, False),
        (Phase.DATA, Reply(451, "4.3.0 no"), SmtpDeferred, False),
        (Phase.DATA, Reply(554, "5.7.1 no"), SmtpBounced, False),
        (Phase.BODY, Reply(550, "5.1.1 no such user"), SmtpBounced, True),
        (Phase.BODY, Reply(554, "5.7.1 spam"), SmtpBounced, False),
        (Phase.EHLO, Reply(421, "4.3.2 busy"), SmtpUnreachable, False),
        (Phase.MAIL, Reply(421, "4.3.2 restarting", then_close=True), SmtpDeferred, False),
        (Phase.MAIL, Reset(), SmtpUnreachable, False),
        (Phase.DATA, Hang(), SmtpUnreachable, False),
    ],
    ids=str,
)
async def test_answers_are_classed_by_where_they_come(
    phase: Phase, reply: Action, expected: type[SmtpFailure], suppress: bool, pool: SmtpPool
) -> None:
    async with scripted_smtp(at({phase: reply})) as smtp:
        with pytest.raises(SmtpFailure) as failure:
            await send(pool, plain(smtp))
        assert type(failure.value) is expected
        assert failure.value.suppress is suppress
        smtp.script = at({})
        await send(pool, plain(smtp))
        assert len(smtp.accepted) == 1


async def test_dots_and_line_ends_arrive_as_they_were_and_nothing_is_smuggled(pool: SmtpPool) -> None:
    raw = b"Subject: s\r\n\r\n.\r\n..\r\n.a\r\nx\n.\r\nMAIL FROM:<evil@x.test>\r\n\n.\n\r.\r\nend"
    async with scripted_smtp() as smtp:
        await send(pool, plain(smtp), raw=raw)
        await send(pool, plain(smtp))
        assert len(smtp.accepted) == 2
        lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        assert smtp.accepted[0].raw == b"\r\n".join(lines) + b"\r\n"


@pytest.mark.parametrize(
    "email", ["a@b>\r\nRCPT TO:<c@d", "a b@c", "a@b\n", "<a@b>", "a@b\x00", "a\u2028@b", "\ud800@b"]
)
async def test_an_address_that_is_a_command_is_refused(email: str, pool: SmtpPool) -> None:
    with pytest.raises(Invalid):
        await pool.send(SmtpServer(host="127.0.0.1", port=9), "from@x.test", ["a@b.test", email], RAW)
    with pytest.raises(Invalid):
        await pool.send(SmtpServer(host="127.0.0.1", port=9), email, ["a@b.test"], RAW)


async def test_login_is_done_once_per_connection_and_the_password_is_not_shown(pool: SmtpPool) -> None:
    seen: list[str | None] = []

    def script(session: Session, phase: Phase) -> Action | None:
        if phase is Phase.AUTH:
            seen.append(session.password)
        return None

    async with scripted_smtp(script) as smtp:
        server = plain(smtp, user="u")
        await send(pool, server)
        await send(pool, server)
    assert seen == ["secret"]
    assert "secret" not in repr(server)


async def test_starttls_and_certificates(tmp_path: Path) -> None:
    context, pem = self_signed()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(pem)
    async with scripted_smtp(tls=context) as smtp:
        trusted = SmtpServer(host="localhost", port=smtp.port, tls="starttls")
        async with SmtpPool(QUICK, ca_file=str(ca_file)) as knowing:
            await send(knowing, trusted)
        async with SmtpPool(QUICK) as strange:
            with pytest.raises(SmtpMisconfigured, match="TLS"):
                await send(strange, trusted)
            await send(strange, SmtpServer(host="localhost", port=smtp.port, tls="opportunistic", verify=False))
    async with scripted_smtp() as smtp, SmtpPool(QUICK) as pool:
        with pytest.raises(SmtpMisconfigured, match="STARTTLS"):
            await send(pool, SmtpServer(host="127.0.0.1", port=smtp.port, tls="starttls"))
        await send(pool, SmtpServer(host="127.0.0.1", port=smtp.port, tls="opportunistic"))


async def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    context, pem = self_signed()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(pem)
    async with scripted_smtp() as smtp:

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", smtp.port)

            async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                with contextlib.suppress(ConnectionError):
                    while data := await source.read(65536):
                        target.write(data)
                target.close()

            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

        front = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
        async with SmtpPool(QUICK, ca_file=str(ca_file)) as pool:
            server = SmtpServer(host="localhost", port=front.sockets[0].getsockname()[1], tls="implicit")
            await send(pool, server)
            await send(pool, server)
        front.close()
        assert len(smtp.accepted) == 2
        assert smtp.sessions == 1


async def test_smtputf8_is_asked_for_when_needed_and_only_then() -> None:
    said: list[str] = []

    def script(session: Session, phase: Phase) -> Action | None:
        if phase is Phase.MAIL:
            said.append(session.argument)
        return None

    async with scripted_smtp(script) as smtp, SmtpPool(QUICK) as pool:
        await send(pool, plain(smtp), "joão@y.test")
        await send(pool, plain(smtp))
        assert smtp.accepted[0].recipients == ("joão@y.test",)

    lines: list[bytes] = []

    async def ancient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = {b"EHLO": b"502 what\r\n", b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
        with contextlib.closing(writer):
            writer.write(b"220 old\r\n")
            while line := await reader.readline():
                lines.append(line)
                verb = line.split()[0].upper()
                writer.write(answers.get(verb, b"250 ok\r\n"))
                if verb == b"DATA":
                    await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250-taken\r\n250 really\r\n")

    old = await asyncio.start_server(ancient, "127.0.0.1", 0)
    async with SmtpPool(QUICK) as pool:
        server = SmtpServer(host="127.0.0.1", port=old.sockets[0].getsockname()[1], tls="opportunistic")
        with pytest.raises(SmtpBounced, match="SMTPUTF8") as failure:
            await send(pool, server, "joão@y.test")
        assert failure.value.suppress is False
        assert (await send(pool, server)).response == "250 taken really"
    old.close()
    assert b"MAIL FROM:<from@x.test>\r\n" in lines


async def test_a_message_over_the_servers_size_is_not_even_tried(pool: SmtpPool) -> None:
    async with scripted_smtp() as smtp:
        with pytest.raises(SmtpBounced) as failure:
            await send(pool, plain(smtp), raw=b"a" * 52428801)
        assert (failure.value.code, failure.value.suppress) == (552, False)
        await send(pool, plain(smtp))


@pytest.mark.parametrize("babble", [b"hello\r\n", b"250 ok" * 40000, b"\xff\xff\r\n", b"25 x\r\n", b"\r\n", b""])
async def test_a_server_that_speaks_no_smtp_is_unreachable(babble: bytes, pool: SmtpPool) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            writer.write(b"220 hi\r\n")
            while line := await reader.readline():
                writer.write(b"250-x\r\n250 PIPELINING\r\n" if line.startswith(b"EHLO") else babble)

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    with pytest.raises(SmtpUnreachable):
        await send(pool, SmtpServer(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls="none"))
    server.close()


async def test_a_dead_server_is_given_up_quickly_and_found_again() -> None:
    now_s = 0.0
    limits = SmtpLimits(connect_s=0.3, failures_to_open=3, open_s=30, connections=2)
    async with scripted_smtp(slow_banner(30)) as smtp, SmtpPool(limits, monotonic=lambda: now_s) as pool:
        server = plain(smtp)
        started = time.monotonic()
        outcomes = await asyncio.gather(*(send(pool, server) for _ in range(50)), return_exceptions=True)
        assert all(isinstance(outcome, SmtpUnreachable) for outcome in outcomes)
        # Two at a time until the third failure; the other 46 waited for nobody.
        assert smtp.sessions <= 4
        assert time.monotonic() - started < 2
        with pytest.raises(SmtpUnreachable, match="not tried"):
            await send(pool, server)
        now_s = 1000.0
        smtp.script = at({Phase.BANNER: Reply(220, delay_s=0.1)})
        first, *others = await asyncio.gather(*(send(pool, server) for _ in range(5)), return_exceptions=True)
        assert isinstance(first, Accepted)
        assert all(isinstance(other, SmtpUnreachable) for other in others)
        await send(pool, server)


async def test_a_dead_server_slows_no_other() -> None:
    async with (
        scripted_smtp(slow_banner(30)) as dead,
        scripted_smtp() as alive,
        SmtpPool(SmtpLimits(connect_s=30)) as pool,
    ):
        doomed = [asyncio.ensure_future(send(pool, plain(dead))) for _ in range(100)]
        await asyncio.sleep(0.05)
        for _ in range(20):
            await send(pool, plain(alive))
        assert not any(one.done() for one in doomed)
        for one in doomed:
            one.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)


async def test_a_cancelled_sending_leaves_no_connection_to_be_reused(pool: SmtpPool) -> None:
    async with scripted_smtp(at({Phase.BODY: Hang()})) as smtp:
        sending = asyncio.ensure_future(send(pool, plain(smtp)))
        await asyncio.sleep(0.1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        smtp.script = at({})
        await send(pool, plain(smtp))
        assert (smtp.sessions, len(smtp.accepted)) == (2, 1)
