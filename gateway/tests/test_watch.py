"""The administrator is told by mail of a service that is away, that fails, or that is slow; of nothing else."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

import aio_pika
import msgspec
import pytest

from gateway import stalls, watch
from gateway.metrics import RouteCount, slow_answers
from gateway.stalls import Figures, Stalls

from .support import Gateway, Seen, Service, answering, bearer, token
from .test_access_book import becomes, ready, snapshot

Launch = Callable[..., Awaitable[Gateway]]
NONE = Figures(0, 0, 0)


def kinds(found: list[stalls.Stall]) -> list[str]:
    return [one.kind for one in found]


def test_away_is_five_minutes_without_an_answer() -> None:
    seen = Stalls()
    assert seen.note("billing", NONE, 0, is_there=False) == []
    assert seen.note("billing", NONE, 299, is_there=False) == []
    [stall] = seen.note("billing", NONE, 300, is_there=False)
    assert (stall.service, stall.kind, stall.message) == ("billing", "away", "não responde há 5 min")
    assert seen.note("mailer", NONE, 300, is_there=False) == [], "each for itself"
    assert seen.note("billing", NONE, 330, is_there=True) == []
    assert seen.note("billing", NONE, 629, is_there=False) == []
    assert kinds(seen.note("billing", NONE, 630, is_there=False)) == ["away"]


@pytest.mark.parametrize(
    ("answers", "errors", "told"), [(100, 5, []), (100, 6, ["errors"]), (19, 19, []), (20, 2, ["errors"]), (20, 1, [])]
)
def test_errors_are_over_one_in_twenty_of_the_last_five_minutes(answers: int, errors: int, told: list[str]) -> None:
    seen = Stalls()
    old = Figures(10_000, 9_000, 0)  # what was before the window does not count
    assert seen.note("billing", old, 0, is_there=True) == []
    assert kinds(seen.note("billing", Figures(10_000 + answers, 9_000 + errors, 0), 30, is_there=True)) == told
    for second in range(60, 331, 30):
        found = seen.note("billing", Figures(10_000 + answers, 9_000 + errors, 0), second, is_there=True)
        assert kinds(found) == (told if second <= 300 else []), second


def test_one_slow_answer_is_enough() -> None:
    seen = Stalls()
    assert seen.note("billing", Figures(500, 0, 3), 0, is_there=True) == []
    assert kinds(seen.note("billing", Figures(501, 0, 4), 30, is_there=True)) == ["slow"]
    count = RouteCount()
    for took_s in (0.1, 4.9, 5.0, 5.001, 9.0, 31.0):
        count.add(200, took_s)
    assert slow_answers(count) == 3


class Mailbox:
    """What stands in the mail queue."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Self:
        self.connection = await aio_pika.connect(self.url)
        channel = await self.connection.channel()
        self.queue = await channel.declare_queue("mail_queue", durable=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()

    async def jobs(self) -> list[dict[str, Any]]:
        found = []
        while (message := await self.queue.get(no_ack=True, fail=False)) is not None:
            found.append(msgspec.json.decode(message.body))
        return found


async def tenants_script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    body = msgspec.json.encode(snapshot()) if seen.target == "/internal/access-snapshot" else b"{}"
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    return True


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five minutes are half a second here."""
    monkeypatch.setattr(watch, "EVERY_S", 0.1)
    monkeypatch.setattr(stalls, "AWAY_S", 0.5)


@pytest.mark.usefixtures("soon")
async def test_the_mails(launch: Launch, service: Service, amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = await Service(tenants_script).start()
    async with Mailbox(amqp_url) as mailbox:
        gateway = await launch(
            upstream_tenants=tenants.url,
            upstream_mailer=service.url,
            amqp_url=amqp_url,
            admin_email="ops@example.com",
        )
        await becomes(lambda: ready(gateway))
        owner = bearer(token(role="owner"))
        await asyncio.sleep(0.8)
        assert await mailbox.jobs() == [], "all is well"

        service.script = answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")
        for _ in range(stalls.ENOUGH):
            assert (await gateway.get("/emails", owner)).status == 500
        told: list[dict[str, Any]] = []

        async def heard(number: int) -> bool:
            told.extend(await mailbox.jobs())
            return len(told) >= number

        # Whose readiness is a 500 too is away as well.
        await becomes(lambda: heard(2))
        assert {job["variables"]["title"] for job in told} == {"Erros demais", "Serviço fora do ar"}
        await asyncio.sleep(0.5)
        assert await mailbox.jobs() == [], "once an hour"
        await tenants.stop()
        await becomes(lambda: heard(3))
        [away] = told[2:]
        assert (away["to"], away["template"]) == ("ops@example.com", "admin_alert")
        assert away["variables"]["message"].startswith("tenants: não responde há")
        assert set(away["variables"]) == {"title", "message", "at", "brand_name", "brand_color"}
        assert away["idempotency_key"].startswith("edge-stall:away:tenants:")
        assert len({job["idempotency_key"] for job in told}) == 3
    began = time.monotonic()
    await gateway.close()
    assert time.monotonic() - began < 5, "it does not wait for who is away"


@pytest.mark.usefixtures("soon")
async def test_a_mail_that_nobody_took_is_sent_the_next_time(launch: Launch, amqp_url: str) -> None:
    tenants = await Service(tenants_script).start()
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.queue_delete("mail_queue")
        gateway = await launch(upstream_tenants=tenants.url, amqp_url=amqp_url, admin_email="ops@example.com")
        await becomes(lambda: ready(gateway))
        await tenants.stop()
        await asyncio.sleep(1.5)  # told to a queue that is not there
        async with Mailbox(amqp_url) as mailbox:

            async def heard() -> bool:
                return len(await mailbox.jobs()) == 1

            await becomes(heard)


@pytest.mark.usefixtures("soon")
async def test_without_an_address_it_is_a_log_line(
    launch: Launch, amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    tenants = await Service(tenants_script).start()
    async with Mailbox(amqp_url) as mailbox:
        gateway = await launch(upstream_tenants=tenants.url, amqp_url=amqp_url, log_level="WARNING")
        await becomes(lambda: ready(gateway))
        await tenants.stop()

        async def logged() -> bool:
            return "journey.stalled" in caplog.text

        await becomes(logged)
        assert await mailbox.jobs() == []
