"""From mail_queue to the SMTP server, with inbox, delivery log and events, beside raw SMTP as the limit."""

import asyncio
import json
import time
import uuid
from pathlib import Path

import asyncpg
import httpx
from faults.load import QUEUE, CoreConnection
from stack import Secrets, Supervised, free_port, migrated, served, service_environment

from benchmarks.mail_stage import BODY, SUBJECT, VARIABLES, raw_round, sink, sink_count, variables_of
from benchmarks.report import Ratio, Round, Section, Series
from testkit.embedded.place import open_dir
from testkit.embedded.postgres import EmbeddedPostgres
from testkit.embedded.session import TemporaryServers

MAILS = 2000
ROOT = Path(__file__).resolve().parents[2]


def measure(directory: Path, *, rounds: int, seconds: float) -> Section:
    """Fill the queue while the mailer is away, start it, and time it from its first mail to its last log entry."""
    raw, ours = Series("raw aiosmtplib, prebuilt messages", "mails/s"), Series("mail_queue to SMTP and log", "mails/s")
    servers = TemporaryServers(ROOT)
    try:
        with sink(directory) as port:
            asyncio.run(_rounds(servers, port, directory, raw, ours, rounds=rounds, seconds=seconds))
    finally:
        servers.close()
    return Section(
        f"mailer: {MAILS} jobs from mail_queue to SMTP, with inbox, delivery log, outbox; embedded Postgres, broker",
        series=(raw, ours),
        ratios=(Ratio("mail_queue to SMTP / raw aiosmtplib", ours, raw),),
        notes=("limits beside the sink: Postgres (fsync on) and the broker share the cores with the mailer",),
    )


async def _rounds(
    servers: TemporaryServers,
    port: int,
    directory: Path,
    raw: Series,
    ours: Series,
    *,
    rounds: int,
    seconds: float,
) -> None:
    postgres = EmbeddedPostgres(open_dir(servers.directory / "bench-postgres"))
    broker = servers.broker("bench-broker")
    made = Secrets()
    try:
        database_url, amqp_url = await asyncio.gather(
            asyncio.to_thread(postgres.start), asyncio.to_thread(broker.start)
        )
        await migrated("mailer", owner_url=database_url, made=made)
        environment = service_environment(
            port=free_port(),
            database_url=database_url,
            amqp_url=amqp_url,
            made=made,
            SMTP_URL=f"smtp://127.0.0.1:{port}",
            SENDER_EMAIL="no-reply@bench.example.org",
        )
        mailer = served("mailer", environment, log=directory / "mailer.out")
        await mailer.start()
        try:
            await mailer.ready(timeout_s=60)
            tenant = uuid.uuid4()
            await _create_template(mailer, made, tenant)
            for number in range(rounds):
                for series, measured in (
                    (raw, await raw_round(port, seconds=seconds / 2)),
                    (ours, await _one(mailer, port, database_url, amqp_url, tenant)),
                ):
                    series.rounds.append(measured)
                    rate = f"{measured.per_s:>10,.0f} {series.unit}"
                    print(f"  round {number + 1}/{rounds}  {series.name:<34}{rate}", flush=True)
        finally:
            await mailer.stop()
    finally:
        await asyncio.to_thread(postgres.crash)


async def _one(mailer: Supervised, port: int, database_url: str, amqp_url: str, tenant: uuid.UUID) -> Round:
    """Mails a second between the first one at the sink and the last one recorded as sent."""
    await mailer.stop()
    await _publish(amqp_url, tenant)
    before = await sink_count(port)
    await mailer.start()
    deadline = time.monotonic() + 120
    while (count := await sink_count(port) - before) == 0:
        await _pause(deadline, "the first mail did not arrive")
    began = time.monotonic()
    connection = await asyncpg.connect(database_url)
    try:
        while await sink_count(port) - before < MAILS:
            await _pause(deadline, "not all mails arrived")
        while await connection.fetchval("SELECT count(*) FROM mailer.emails WHERE status <> 'sent'"):
            await _pause(deadline, "not all mails were recorded as sent")
    finally:
        await connection.close()
    return Round((MAILS - count) / (time.monotonic() - began))


async def _pause(deadline: float, otherwise: str) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(otherwise)
    await asyncio.sleep(0.02)


async def _publish(amqp_url: str, tenant: uuid.UUID) -> None:
    """Ask for the mails as the Go core does; confirmed, by sixteen clients."""
    numbers = iter(range(MAILS))

    async def client() -> None:
        core = CoreConnection(amqp_url)
        for number in numbers:
            job = {
                "to": f"user{number}@bench.example.org",
                "template": "order",
                "variables": variables_of(number),
                "tenant_id": str(tenant),
                "idempotency_key": uuid.uuid4().hex,
            }
            await core.publish(json.dumps(job).encode(), message_id=uuid.uuid4().hex, queue=QUEUE)
        await core.close()

    await asyncio.gather(*(client() for _ in range(16)))


async def _create_template(mailer: Supervised, made: Secrets, tenant: uuid.UUID) -> None:
    headers = made.identities.headers("mailer", tenant_id=tenant, permissions=["email_templates:write"])
    body = {"slug": "order", "subject": SUBJECT, "body_html": BODY, "variables": VARIABLES}
    async with httpx.AsyncClient(base_url=mailer.url, trust_env=False) as http:
        answer = await http.post("/email-templates", json=body, headers=headers)
    if answer.status_code != 201:
        raise RuntimeError(f"the template was answered {answer.status_code}: {answer.text}")
