"""Verified webhooks into the database beside pgbench at the same inserts, and a list of invoices beside raw asyncpg."""

import asyncio
import hashlib
import hmac
import json
import re
import secrets
import subprocess
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stack import Secrets, free_port, migrated, service_environment

from benchmarks.report import Ratio, Round, Section, Series
from billing import store
from billing.accounts import Accounts, PlatformCredentials
from billing.api.intake import Intake
from billing.app import build
from billing.domain.customers import PLATFORM_ACCOUNT, Customer, SoldBy
from billing.domain.drafts import charge_invoice
from billing.domain.identifiers import new_id
from billing.domain.providers import Provider
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.recognise_webhook import Delivery
from chassis.db import Database, role_password, transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from testkit.embedded.place import open_dir
from testkit.embedded.postgres import EmbeddedPostgres
from testkit.embedded.postgres_binaries import postgres_binaries
from testkit.embedded.session import TemporaryServers
from testkit.service import running

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 64
WHSEC = "whsec_benchmark0123456789abcdef"
_SCRIPT = """
BEGIN;
INSERT INTO provider_events (id, provider, account_id, event_id, type, kind, payload, status, received_at)
VALUES (gen_random_uuid(), 'stripe', '00000000-0000-0000-0000-000000000000', gen_random_uuid()::text,
        'invoice.paid', 'invoice', repeat('x', 900)::bytea, 'received', now());
INSERT INTO outbox (id, aggregate_id, type, exchange, routing_key, content_type, body)
VALUES (gen_random_uuid(), gen_random_uuid(), 'billing.provider_event.received.v1', 'billing.events',
        'billing.provider_event.received.v1', 'application/cloudevents+json', repeat('x', 400)::bytea);
COMMIT;
"""


def measure(directory: Path, *, rounds: int, seconds: float) -> Section:
    """Both comparisons on one Postgres with fsync on; nothing is published meanwhile."""
    intake, pgbench = Series("verified webhook stored", "events/s"), Series("pgbench, the same two inserts", "events/s")
    lists, raw = Series("GET /invoices, 20 rows", "lists/s"), Series("raw asyncpg, the same transaction", "lists/s")
    servers = TemporaryServers(ROOT)
    try:
        asyncio.run(_rounds(servers, directory, intake, pgbench, lists, raw, rounds=rounds, seconds=seconds))
    finally:
        servers.close()
    return Section(
        f"billing: webhook intake at {AT_ONCE} in flight; 20 invoices, the HTTP stack in process, 8 at once",
        series=(intake, pgbench, lists, raw),
        ratios=(
            Ratio("webhook intake / pgbench", intake, pgbench, at_least=0.8),
            Ratio("GET /invoices / raw asyncpg", lists, raw, at_least=0.35),
        ),
    )


async def _rounds(
    servers: TemporaryServers,
    directory: Path,
    intake: Series,
    pgbench: Series,
    lists: Series,
    raw: Series,
    *,
    rounds: int,
    seconds: float,
) -> None:
    postgres = EmbeddedPostgres(open_dir(servers.directory / "bench-postgres"))
    made = Secrets()
    url = await asyncio.to_thread(postgres.start)
    try:
        await migrated("billing", owner_url=url, made=made)
        script = directory / "two_inserts.sql"
        script.write_text(_SCRIPT)
        db = Database(url, "billing", Secret(made.db_role))
        await db.open()
        accounts = Accounts(
            PlatformCredentials(stripe_key="sk_test_benchmark", stripe_webhook_secrets=(WHSEC,)),
            SecretBox(Secret(made.secrets_key)),
        )
        tenant = await _invoices(db)
        environment = service_environment(
            port=free_port(), database_url=url, amqp_url=f"amqp://u:{made.db_role}@127.0.0.1:{free_port()}/",
            made=made, LOG_LEVEL="error", ROLE="api",
        )  # fmt: skip
        async with (
            accounts,
            Intake(accounts) as queue,
            running("billing", build(environment), made.identities) as service,
        ):
            token = made.identities.token("billing", tenant_id=tenant, permissions=["billing:read"], lifetime_s=290)
            for _ in range(rounds):
                intake.rounds.append(await _intake(db, queue, seconds))
                pgbench.rounds.append(await asyncio.to_thread(_pgbench, url, made, script, seconds))
                lists.rounds.append(await _timed(lambda: _get(service.app, token), seconds))
                raw.rounds.append(await _timed(lambda: _raw(db, tenant), seconds))
        await db.close()
    finally:
        await asyncio.to_thread(postgres.crash)


async def _intake(db: Database, queue: Intake, seconds: float) -> Round:
    """Events that a Stripe would sign, each another one, from many callers at once."""
    until = time.perf_counter() + seconds
    counts = await asyncio.gather(*(_caller(db, queue, until) for _ in range(AT_ONCE)))
    return Round(sum(counts) / seconds)


async def _caller(db: Database, queue: Intake, until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        body = json.dumps(
            {
                "id": f"evt_{secrets.token_hex(12)}",
                "object": "event",
                "type": "invoice.paid",
                "created": int(time.time()),
                "livemode": False,
                "data": {"object": {"id": f"in_{secrets.token_hex(12)}", "object": "invoice", "pad": "x" * 700}},
            }
        ).encode()
        at = int(time.time())
        mac = hmac.new(WHSEC.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        await queue.receive(db, Delivery(provider=Provider.STRIPE, raw=body, signature=f"t={at},v1={mac}"))
        count += 1
    return count


def _pgbench(url: str, made: Secrets, script: Path, seconds: float) -> Round:
    parts = re.match(r"\w+://[^@]*@([^:/]+):(\d+)/(\w+)", url)
    assert parts is not None, "the embedded server's URL"
    host, port, name = parts.groups()
    user = "billing_platform"
    output = subprocess.run(
        [
            *(str(postgres_binaries(None) / "pgbench"), "-n", "-h", host, "-p", port, "-U", user),
            *(
                "-c",
                str(AT_ONCE),
                "-j",
                "1",
                "-M",
                "prepared",
                "-T",
                str(max(1, round(seconds))),
                "-f",
                str(script),
                name,
            ),
        ],
        env={"PGPASSWORD": role_password(Secret(made.db_role), user), "PGOPTIONS": "-c search_path=billing"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"tps = ([\d.]+)", output.stdout)
    if found is None:
        raise RuntimeError(f"pgbench failed: {output.stderr[-400:]}")
    return Round(float(found[1]))


async def _timed(ask: Any, seconds: float) -> Round:
    until = time.perf_counter() + seconds

    async def caller() -> int:
        count = 0
        while time.perf_counter() < until:
            await ask()
            count += 1
        return count

    return Round(sum(await asyncio.gather(*(caller() for _ in range(8)))) / seconds)


async def _get(app: Any, token: str) -> None:
    """One request, as the server hands it to the app."""
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/invoices", "raw_path": b"/invoices",
        "query_string": b"limit=20", "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2), "headers": [(b"x-internal-identity", token.encode()), (b"accept", b"*/*")],
        "asgi": {"version": "3.0"}, "extensions": {}, "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    if status != 200:
        raise RuntimeError(f"GET /invoices was answered {status}")


async def _raw(db: Database, tenant: uuid.UUID) -> None:
    async with transaction(db, tenant) as conn:
        rows = await conn.fetch("SELECT * FROM invoices WHERE tenant_id = $1 ORDER BY id DESC LIMIT 21", tenant)
    if len(rows) != 21:
        raise RuntimeError(f"{len(rows)} invoices")


async def _invoices(db: Database) -> uuid.UUID:
    """A tenant with 200 invoices."""
    tenant, now = uuid.uuid4(), datetime.now(UTC)
    customer = Customer(
        id=new_id(now), tenant_id=tenant, sold_by=SoldBy.PLATFORM, email="bench@example.org", name="Bench", tax_id=None,
        phone=None, lead_id=None, is_provisional=False, created_at=now, updated_at=now, erased_at=None,
    )  # fmt: skip
    async with transaction(db, tenant) as conn:
        await store.customers.upsert_customer(conn, tenant, customer)
        for number in range(200):
            draft = charge_invoice(
                tenant_id=tenant, sold_by=SoldBy.PLATFORM, customer_id=customer.id, description="A plan's month",
                amount_cents=58_000 + number, currency="BRL", provider=Provider.STRIPE, account_id=PLATFORM_ACCOUNT,
                due_at=now, now=now + timedelta(milliseconds=number),
            )  # fmt: skip
            await issue_invoice(conn, draft, now=now)
    return tenant
