"""The mailer's render + MIME + SMTP stage beside raw aiosmtplib over prebuilt messages: 10 connections, one sink."""

import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiosmtplib
import uvloop
from stack import LOOPBACK, free_port

from benchmarks import peers
from benchmarks.report import Ratio, Round, Section, Series
from contracts.errors import ServiceError
from mailer.domain.addresses import Address
from mailer.domain.mime import build_message, message_id
from mailer.domain.templates import PreparedTemplate, prepare
from mailer.renderer import Renderer, request_for
from mailer.smtp import SmtpPool, SmtpServer

CONNECTIONS = 10
BATCH = 100
SENDER = Address("no-reply@bench.example.org", "Bench")

SUBJECT = "Hello {{ name }}, your order {{ order }} is on its way"
BODY = """<!DOCTYPE html><html><body style="font-family: sans-serif">
<h1>Thank you, {{ name }}!</h1>
<p>Your order <b>{{ order }}</b> of {{ date }} was handed to the carrier.</p>
<table>{% for line in lines %}<tr><td>{{ line.title }}</td><td>{{ line.quantity }}</td><td>{{ line.price }}</td></tr>
{% endfor %}</table>
<p>{% if pickup %}Pick it up at {{ pickup }}.{% else %}It will be brought to your door.{% endif %}</p>
<p>Follow it here: <a href="{{ link }}">{{ link }}</a></p>
</body></html>"""
VARIABLES = ["name", "order", "date", "lines", "pickup", "link"]


def variables_of(number: int) -> dict[str, object]:
    """What a shop would send for one order."""
    return {
        "name": f"Ana Souza {number}",
        "order": f"2026-{number:06d}",
        "date": "22/11/2026",
        "lines": [{"title": f"Item {n}", "quantity": n, "price": f"R$ {n},90"} for n in range(1, 6)],
        "pickup": "",
        "link": f"https://shop.example.org/orders/{number}?t=abcdef0123456789",
    }


@contextmanager
def sink(directory: Path) -> Iterator[int]:
    """The port of an SMTP sink in a process of its own, on the load's core."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("smtp_sink.py")), str(port)]
    log = directory / "sink.out"
    with peers.running(peers.pinned(peers.LOAD_CORE, command), log=log) as child:
        asyncio.run(_listens(port, child.pid))
        yield port


async def _listens(port: int, pid: int) -> None:
    for _ in range(200):
        try:
            await sink_count(port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the SMTP sink (pid {pid}) does not listen")


async def sink_count(port: int) -> int:
    """How many messages the sink has accepted."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    await reader.readline()
    writer.write(b"NOOP\r\n")
    answer = await reader.readline()
    writer.close()
    return int(answer.split()[1])


def measure(directory: Path, *, rounds: int, seconds: float) -> Section:
    """Both senders on one core (with the mailer's render workers), the sink on the other, in turns."""
    raw, stage = Series("raw aiosmtplib, prebuilt messages", "mails/s"), Series("render + MIME + SMTP", "mails/s")
    with sink(directory) as port, _on_one_core():
        uvloop.run(_rounds(port, raw, stage, rounds=rounds, seconds=seconds))
    return Section(
        f"mailer: render + MIME + SMTP, {CONNECTIONS} connections, sender and render workers together on one core",
        series=(raw, stage),
        ratios=(Ratio("stage / raw aiosmtplib", stage, raw, at_least=0.5),),
        notes=("raw aiosmtplib is the limit that a mailer of this library has; nothing is rendered or built in it",),
    )


@contextmanager
def _on_one_core() -> Iterator[None]:
    """This process and the children it starts share the server's core."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, {peers.SERVER_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _rounds(port: int, raw: Series, stage: Series, *, rounds: int, seconds: float) -> None:
    template = prepare(SUBJECT, BODY, VARIABLES)
    async with AsyncExitStack() as stack:
        renderer = await stack.enter_async_context(Renderer(workers=1))
        pool = await stack.enter_async_context(SmtpPool())
        prebuilt = [raw_message for _, raw_message in [await _built(renderer, template, n) for n in range(200)]]
        clients = await stack.enter_async_context(_raw_clients(port))
        for number in range(rounds + 1):
            for series, work in (
                (raw, _send_raw(clients, prebuilt, seconds=seconds)),
                (stage, _send_rendered(renderer, pool, template, port, seconds=seconds)),
            ):
                per_s = await _timed(port, work)
                if number:  # the first pass only warms up
                    series.rounds.append(Round(per_s))
                    print(f"  round {number}/{rounds}  {series.name:<34}{per_s:>10,.0f} {series.unit}", flush=True)


async def _timed(port: int, work: Coroutine[None, None, None]) -> float:
    """Mails a second, as the sink counted them."""
    before, began = await sink_count(port), time.monotonic()
    await work
    return (await sink_count(port) - before) / (time.monotonic() - began)


@asynccontextmanager
async def _raw_clients(port: int) -> AsyncIterator[list[aiosmtplib.SMTP]]:
    clients = [aiosmtplib.SMTP(hostname=LOOPBACK, port=port, start_tls=False) for _ in range(CONNECTIONS)]
    for client in clients:
        await client.connect()
    yield clients
    for client in clients:
        await client.quit()


async def raw_round(port: int, *, seconds: float) -> Round:
    """What raw aiosmtplib sends to this sink with a message of the usual size, on whatever cores there are."""
    message = b"Subject: bench\r\nTo: user@bench.example.org\r\n\r\n" + b"<p>Hello, world</p>\r\n" * 150
    async with _raw_clients(port) as clients:
        return Round(await _timed(port, _send_raw(clients, [message], seconds=seconds)))


async def _send_raw(clients: list[aiosmtplib.SMTP], messages: list[bytes], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds

    async def send(client: aiosmtplib.SMTP, number: int) -> None:
        while time.monotonic() < deadline:
            number += 1
            await client.sendmail(SENDER.email, ["user@bench.example.org"], messages[number % len(messages)])

    await asyncio.gather(*(send(client, number * 17) for number, client in enumerate(clients)))


async def _built(renderer: Renderer, template: PreparedTemplate, number: int) -> tuple[str, bytes]:
    rendered = await renderer.render(request_for(template, variables_of(number)))
    to = f"user{number}@bench.example.org"
    return to, build_message(
        message_id=message_id(uuid.uuid4(), "bench.example.org"),
        date=datetime.now(UTC),
        sender=SENDER,
        recipients=[Address(to, None)],
        subject=rendered.subject,
        html=rendered.html,
        text=rendered.text,
    )


async def _send_rendered(
    renderer: Renderer, pool: SmtpPool, template: PreparedTemplate, port: int, *, seconds: float
) -> None:
    """As the delivery worker does it: batches are rendered while earlier mails are sent over ten connections."""
    server = SmtpServer(host=LOOPBACK, port=port, tls="opportunistic")
    deadline = time.monotonic() + seconds
    ready: asyncio.Queue[tuple[str, str, str, str] | None] = asyncio.Queue(maxsize=2 * BATCH)

    async def render() -> None:
        number = 0
        while time.monotonic() < deadline:
            batch = range(number, number + BATCH)
            number += BATCH
            results = await renderer.render_many([request_for(template, variables_of(one)) for one in batch])
            for one, result in zip(batch, results, strict=True):
                if isinstance(result, ServiceError):
                    raise RuntimeError(f"rendering failed: {result}")
                await ready.put((f"user{one}@bench.example.org", result.subject, result.html, result.text))
        for _ in range(CONNECTIONS):
            await ready.put(None)

    async def send() -> None:
        while (mail := await ready.get()) is not None:
            to, subject, html, text = mail
            raw = build_message(
                message_id=message_id(uuid.uuid4(), "bench.example.org"),
                date=datetime.now(UTC),
                sender=SENDER,
                recipients=[Address(to, None)],
                subject=subject,
                html=html,
                text=text,
            )
            await pool.send(server, SENDER.email, [to], raw)

    await asyncio.gather(render(), *(send() for _ in range(CONNECTIONS)))
