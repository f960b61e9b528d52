"""From `mail_queue` to a real SMTP server, through everything that may go wrong on the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
import pytest

from chassis.db import platform_transaction
from mailer.renderer import Renderer, RenderRequest
from testkit.fault_modes import Pass, Refuse
from testkit.fault_proxy import FaultProxy, fault_proxy
from testkit.plugin import ServiceDatabase
from testkit.service import until
from testkit.smtp_script import Delay, Phase, Reply, Reset, Script, at, fails_tls, greylists, refuses, shuts_down
from testkit.smtp_server import ScriptedSmtp, scripted_smtp
from testkit.tls import self_signed

Start = Callable[..., Awaitable[Any]]
WELCOME = {"to": "ana@example.com", "template": "welcome", "variables": {"name": "Ana"}}


def read(server: ScriptedSmtp) -> EmailMessage:
    [accepted] = server.accepted
    message = message_from_bytes(accepted.raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


async def log_of(mailer: Any, tenant_id: UUID | None = None, **params: str) -> list[dict[str, Any]]:
    kind = "user" if tenant_id else "platform_admin"
    answer = await mailer.call("GET", "/emails", tenant_id, kind=kind, params=params)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def status_of(mailer: Any, tenant_id: UUID | None = None) -> list[str]:
    return sorted(mail["status"] for mail in await log_of(mailer, tenant_id))


async def events_of(mailer: Any) -> list[dict[str, Any]]:
    async with platform_transaction(mailer.db) as conn:
        rows = await conn.fetch("SELECT body FROM outbox ORDER BY id")
    return [msgspec.json.decode(row["body"]) for row in rows]


async def make_due(mailer: Any) -> None:
    async with platform_transaction(mailer.db) as conn:
        await conn.execute("UPDATE emails SET due_at = now() WHERE status = 'deferred'")


async def test_a_job_becomes_a_mail_and_a_line_in_the_log(start: Start) -> None:
    async with scripted_smtp() as server:
        mailer = await start(SMTP_URL=server.url, SENDER_EMAIL="shop@example.com", SENDER_NAME="Loja")
        job = {**WELCOME, "to": {"email": "ana@example.com", "name": "Ana Souza"}, "locale": "en"}
        await mailer.publish(job, message_id="job-1", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
        await until(lambda: server.accepted)
        message = read(server)
        assert server.accepted[0].recipients == ("ana@example.com",)
        assert message["To"] == "Ana Souza <ana@example.com>"
        assert message["From"] == "Loja <shop@example.com>"
        assert message["Subject"] == "Welcome, Ana!"
        html, text = message.get_body(("html",)), message.get_body(("plain",))
        assert html is not None
        assert text is not None
        assert "<h1>Hello, Ana!</h1>" in html.get_content()
        assert "Hello, Ana!" in text.get_content()

        async def sent() -> bool:
            return await status_of(mailer) == ["sent"]

        await until(sent)
        [logged] = await log_of(mailer)
        assert logged["message_id"] == message["Message-ID"]
        assert (logged["attempts"], logged["to_email"], logged["template"]) == (1, "ana@example.com", "welcome")
        [event] = await events_of(mailer)
        assert event["type"] == "mailer.email.sent.v1"
        assert event["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"
        assert event["data"]["email_id"] == logged["id"]
        assert "ana@example.com" not in str(event)


async def test_each_recipient_gets_a_mail_of_their_own(start: Start) -> None:
    async with scripted_smtp() as server:
        mailer = await start(SMTP_URL=server.url)
        await mailer.publish({**WELCOME, "to": ["a@example.com", {"email": "b@example.com"}, "A@example.com"]})
        await until(lambda: len(server.accepted) == 2)
        assert sorted(message.recipients for message in server.accepted) == [("a@example.com",), ("b@example.com",)]
        assert len(server.by_message_id()) == 2


async def test_a_tenants_own_server_and_template_come_first(start: Start, tenant: UUID) -> None:
    async with scripted_smtp() as platform, scripted_smtp() as own:
        mailer = await start(SMTP_URL=platform.url)
        settings = {"smtp_host": "127.0.0.1", "smtp_port": own.port, "sender_email": "own@example.com"}
        template = {"slug": "welcome", "subject": "Oi {{name}}", "body_html": "<p>{{#if name}}{{name}}{{/if}}</p>"}
        assert (await mailer.call("POST", "/email-settings", tenant, json=settings)).status_code == 201
        answer = await mailer.call("POST", "/email-templates", tenant, json={**template, "variables": ["name"]})
        assert answer.status_code == 201, answer.text
        assert answer.json()["syntax"] == "handlebars"
        await mailer.publish({**WELCOME, "tenantId": str(tenant)})
        await until(lambda: own.accepted)
        assert read(own)["Subject"] == "Oi Ana"
        assert read(own)["From"] == "own@example.com"
        assert not platform.accepted


async def test_a_secret_is_sealed_masked_and_erased(start: Start) -> None:
    link = "https://example.com/reset?token=canary-4711"
    job = {"to": "ana@example.com", "template": "password_reset", "variables": {"name": "Ana", "link": link}}
    server = ScriptedSmtp(refuses(Phase.RCPT, 451))
    await server.start()
    try:
        mailer = await start(SMTP_URL=server.url)
        await mailer.publish(job, message_id="reset-1")

        async def deferred() -> bool:
            return await status_of(mailer) == ["deferred"]

        await until(deferred)
        [logged] = await log_of(mailer)
        assert logged["variables"] == {"name": "Ana", "link": "********"}
        async with platform_transaction(mailer.db) as conn:
            row = await conn.fetchrow("SELECT variables::text, secret_variables FROM emails")
            assert row is not None
            assert b"canary" not in row["secret_variables"]
            assert "canary" not in row["variables"]
            # A copy such as a replayed dead letter leaves behind:
            await conn.execute(
                """
                INSERT INTO dead_letters (id, death_id, queue, message_id, reason, attempts, headers, body)
                VALUES ($1, $1, 'mail_queue', 'reset-1', 'test', 1, '{}', $2)
                """,
                uuid4(),
                msgspec.json.encode(job),
            )
        server.script = at({})
        await make_due(mailer)
        await until(lambda: server.accepted)
        html = read(server).get_body(("html",))
        assert html is not None
        assert "canary-4711" in html.get_content()

        async def erased() -> bool:
            async with platform_transaction(mailer.db) as conn:
                left: int = await conn.fetchval("SELECT count(*) FROM emails WHERE secret_variables IS NOT NULL")
                left += await conn.fetchval("SELECT count(*) FROM dead_letters WHERE position('canary' IN body) > 0")
                return left == 0

        await until(erased)
        assert "canary" not in str(await events_of(mailer))
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("script", "tls", "status", "code"),
    [
        (refuses(Phase.RCPT, 450), False, "deferred", 450),
        (refuses(Phase.RCPT, 451), False, "deferred", 451),
        (shuts_down(), False, "deferred", 421),
        (refuses(Phase.RCPT, 550), False, "bounced", 550),
        (refuses(Phase.BODY, 552), False, "bounced", 552),
        (fails_tls(), True, "deferred", None),
        (at({Phase.BODY: Reset()}), False, "deferred", None),
        (at({Phase.BANNER: Reply(554, "no", then_close=True)}), False, "deferred", None),
    ],
    ids=["450", "451", "421", "550", "552", "no-tls", "reset-in-data", "554-banner"],
)
async def test_an_answer_decides_the_state(
    start: Start, script: Script, tls: bool, status: str, code: int | None
) -> None:
    async with scripted_smtp(script, tls=self_signed()[0] if tls else None) as server:
        mailer = await start(SMTP_URL=server.url)
        await mailer.publish(WELCOME)

        async def decided() -> bool:
            return await status_of(mailer) == [status]

        await until(decided)
        [logged] = await log_of(mailer)
        assert logged["reason"]
        if code is not None:
            assert logged["smtp_code"] == code
        [event] = await events_of(mailer)
        assert event["type"] == f"mailer.email.{status}.v1"


async def test_a_greylisted_mail_arrives_under_the_same_message_id(start: Start) -> None:
    async with scripted_smtp(greylists(1)) as server:
        mailer = await start(SMTP_URL=server.url)
        await mailer.publish(WELCOME)

        async def deferred() -> bool:
            return await status_of(mailer) == ["deferred"]

        await until(deferred)
        [before] = await log_of(mailer)
        await make_due(mailer)
        await until(lambda: server.accepted)
        assert read(server)["Message-ID"] == before["message_id"]

        async def told() -> bool:
            return [event["type"] for event in await events_of(mailer)] == [
                "mailer.email.deferred.v1",
                "mailer.email.sent.v1",
            ]

        await until(told)


async def test_a_bounced_address_is_not_written_to_again(start: Start, tenant: UUID) -> None:
    async with scripted_smtp(refuses(Phase.RCPT, 550, "5.1.1 no such user")) as server:
        mailer = await start(SMTP_URL=server.url)
        await mailer.publish({**WELCOME, "tenant_id": str(tenant)})

        async def bounced() -> bool:
            return await status_of(mailer, tenant) == ["bounced"]

        await until(bounced)
        [entry] = (await mailer.call("GET", "/suppressions", tenant)).json()["data"]
        assert (entry["email"], entry["cause"]) == ("ana@example.com", "bounced")
        sessions = server.sessions
        await mailer.publish({**WELCOME, "tenant_id": str(tenant), "to": "ANA@example.com"})

        async def suppressed() -> bool:
            return await status_of(mailer, tenant) == ["bounced", "suppressed"]

        await until(suppressed)
        assert server.sessions == sessions
        assert (await mailer.call("DELETE", f"/suppressions/{entry['id']}", tenant)).status_code == 204
        server.script = at({})
        await mailer.publish({**WELCOME, "tenant_id": str(tenant)})
        await until(lambda: server.accepted)


async def test_what_cannot_be_rendered_fails_with_its_reason(start: Start) -> None:
    async with scripted_smtp() as server:
        mailer = await start(SMTP_URL=server.url)
        await mailer.publish({**WELCOME, "variables": {}})

        async def failed() -> bool:
            return await status_of(mailer) == ["failed"]

        await until(failed)
        [logged] = await log_of(mailer)
        assert logged["reason"] == "missing variables: name"
        assert logged["attempts"] == 0
        assert not server.accepted


async def test_no_address_and_no_secret_is_told_by_a_reason(start: Start) -> None:
    """Servers quote the recipient and what they dislike in a mail; a missing name may be a value of the data."""
    secret = {"to": "canary-7@example.com", "template": "secretive", "variables": {"link": "https://x.test/canary-8"}}
    async with scripted_smtp(
        at({Phase.BODY: Reply(554, "5.7.1 <Canary-7@example.com>: https://x.test/CANARY-8 is listed")})
    ) as server:
        mailer = await start(SMTP_URL=server.url)
        for slug, body in (("secretive", "{{ link }}"), ("indexed", "{{ link }} {{ prices[link] }}")):
            declared = ["link:secret", "prices"] if slug == "indexed" else ["link:secret"]
            new = {"slug": slug, "subject": "s", "body_html": body, "variables": declared}
            answer = await mailer.call("POST", "/email-templates", None, kind="platform_admin", json=new)
            assert answer.status_code == 201, answer.text
        await mailer.publish(secret)
        await mailer.publish(
            {**secret, "template": "indexed", "variables": {"link": "https://x.test/canary-8", "prices": {}}}
        )

        async def ended() -> bool:
            return await status_of(mailer) == ["bounced", "failed"]

        await until(ended)
        logged = await log_of(mailer)
        assert sorted(mail["reason"] for mail in logged) == [
            "554 5.7.1 <********>: ******** is listed",
            "missing variables: ********",
        ]
        told = str(await events_of(mailer)) + str([mail["reason"] for mail in logged])
        assert "canary" not in told.lower()


async def test_no_settings_at_all_is_a_failure(start: Start) -> None:
    mailer = await start()
    await mailer.publish(WELCOME)

    async def failed() -> bool:
        return await status_of(mailer) == ["failed"]

    await until(failed)


async def test_a_dead_server_delays_only_its_own_tenants(start: Start) -> None:
    """One tenant's server accepts connections and says nothing; another's 60 mails pass meanwhile."""
    async with scripted_smtp() as alive, scripted_smtp(at({Phase.BANNER: Reply(220, delay_s=60)})) as dead:
        mailer = await start(SMTP_URL=alive.url)
        stuck, well = uuid4(), uuid4()
        settings = {"smtp_host": "127.0.0.1", "smtp_port": dead.port, "sender_email": "own@example.com"}
        assert (await mailer.call("POST", "/email-settings", stuck, json=settings)).status_code == 201
        await mailer.publish(*[{**WELCOME, "tenant_id": str(stuck)} for _ in range(200)])
        await until(lambda: dead.sessions)
        await mailer.publish(*[{**WELCOME, "tenant_id": str(well)} for _ in range(60)])
        # Within the 10 s after which the dead server would be given up; alone it takes well under a second.
        await until(lambda: len(alive.accepted) == 60, timeout_s=9)
        under_way = [mail for mail in await log_of(mailer, stuck, limit="100") if mail["status"] == "sending"]
        assert len(under_way) <= 4, "a server that never answered has more than its first window"


async def test_a_slow_server_keeps_its_mail_beyond_the_first_lease(start: Start) -> None:
    """The lease is renewed while the server thinks: nobody else takes the mail, and it is sent once."""
    async with scripted_smtp(at({Phase.BODY: Delay(3)})) as server:
        mailer = await start(SMTP_URL=server.url, MAIL_LEASE_S="1")
        await mailer.publish(WELCOME)

        async def sent() -> bool:
            return await status_of(mailer) == ["sent"]

        await until(sent)
        async with platform_transaction(mailer.db) as conn:
            assert await conn.fetchval("SELECT fence FROM emails") == 1
        assert len(server.accepted) == 1


@pytest.fixture
async def database_link(service_database: ServiceDatabase) -> AsyncIterator[tuple[FaultProxy, str]]:
    """A proxy before the mailer's database, and its URL by way of it; outlives the mailer."""
    parts = urlsplit(await service_database("mailer"))
    async with fault_proxy(str(parts.hostname), int(parts.port or 5432)) as link:
        yield link, parts._replace(netloc=f"127.0.0.1:{link.port}").geturl()


async def test_a_mail_sent_while_the_database_is_away_is_recorded_and_not_sent_again(
    database_link: tuple[FaultProxy, str], start: Start
) -> None:
    """Away for longer than the lease: when it is back, the mail is due for a claim and waits to be recorded."""
    link, url = database_link
    async with scripted_smtp(at({Phase.BODY: Delay(0.5)})) as server:
        mailer = await start(SMTP_URL=server.url, DATABASE_URL=url, MAIL_LEASE_S="1")
        await mailer.publish(*[WELCOME] * 4)
        await until(lambda: server.sessions)
        await link.become(Refuse())
        await until(lambda: len(server.accepted) == 4)
        await asyncio.sleep(1.5)
        await link.become(Pass())

        async def sent() -> bool:
            return await status_of(mailer) == ["sent"] * 4

        await until(sent)
        assert len(server.accepted) == 4
        async with platform_transaction(mailer.db) as conn:
            assert await conn.fetchval("SELECT max(fence) FROM emails") == 1


async def test_what_is_being_rendered_at_a_stop_is_sent_and_recorded(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sending begins after the stop: cut off on the wire, it would be accepted, not recorded, and sent again."""
    async with scripted_smtp(at({Phase.BODY: Delay(0.5)})) as server:
        mailer = await start(SMTP_URL=server.url)
        render_many = Renderer.render_many

        async def slow(renderer: Renderer, requests: Sequence[RenderRequest]) -> Any:
            mailer.app.state.runtime.stopping.set()
            await asyncio.sleep(0.2)
            return await render_many(renderer, requests)

        monkeypatch.setattr(Renderer, "render_many", slow)
        await mailer.publish(WELCOME)
        await until(lambda: server.accepted)

        async def sent() -> bool:
            return await status_of(mailer) == ["sent"]

        await until(sent)
