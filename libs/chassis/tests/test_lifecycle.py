"""A running service: events from its outbox to its consumer, dead letters, health, and what it describes."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chassis.__main__ import main
from chassis.health import Health

from .client import Client, Env, Start

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def until(check: Callable[[], Awaitable[Any]], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := await check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
    return found


async def test_what_was_kept_for_long_enough_is_forgotten(start: Start, env: Env) -> None:
    """Without any message that would bring it about, and without a broker."""
    url = (await env())["DATABASE_URL"]
    platform = (await start(ROLE="api", DATABASE_URL=url)).app.state.runtime.db.platform
    await platform.execute(
        "INSERT INTO inbox (consumer, message_id, received_at) VALUES ('a', 'old', now() - interval '31 days'),"
        " ('a', 'young', now() - interval '29 days')"
    )
    await platform.execute(
        "INSERT INTO deliveries (queue, message_key, started_at) VALUES ('q', 'old', now() - interval '2 days'),"
        " ('q', 'young', now())"
    )
    await start(DATABASE_URL=url)

    async def left() -> Any:
        rows = await platform.fetch(
            "SELECT message_id AS name FROM inbox UNION ALL SELECT encode(message_key, 'escape') FROM deliveries"
        )
        return [row["name"] for row in rows] == ["young", "young"]

    await until(left)


async def test_an_event_goes_round_in_one_trace(
    start: Start, amqp_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    client = await start(AMQP_URL=amqp_url)

    async def listening() -> Any:
        return "sample: attached" in caplog.text

    await until(listening)  # an event that is published before anybody listens goes to nobody
    told = await client.post("/notes/hello/told", headers={"traceparent": TRACE})
    assert told.status_code == 201, told.text

    async def heard() -> Any:
        return (await client.get("/notes")).json()

    notes = await until(heard)
    assert notes[0]["title"] == f"hello, heard in {TRACE[3:35]}"
    assert len(await heard()) == 1
    ready = await client.http.get("/health/ready")
    assert ready.json()["checks"]["broker"] == "ok"

    # A handler with a bug: the event goes to the dead letters, and the command line shows and discards it.
    await client.post("/notes/poison/told")
    db = client.app.state.runtime.db

    async def dead() -> Any:
        return await db.platform.fetchval("SELECT count(*) FROM dead_letters")

    await until(dead)
    env = {
        "DATABASE_URL": f"postgresql://{db._url.split('://', 1)[1]}",
        "DB_ROLE_SECRET": db._secret.reveal(),
        "AMQP_URL": amqp_url,
        "ENVIRONMENT": "local",  # the broker that a test is given may have an example for a password
    }
    assert await asyncio.to_thread(main, ["dlq", "sample", "list"], env) == 0
    letter = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "a bug in the handler" in letter["reason"]
    assert letter["type"] == "sample.note.written.v1"
    assert await asyncio.to_thread(main, ["dlq", "sample", "show", letter["id"]], env) == 0
    assert "poison" in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["dlq", "sample", "replay", letter["id"], "--actor", "ana"], env) == 0

    async def died_again() -> Any:
        return await db.platform.fetchval("SELECT count(*) FROM dead_letters WHERE times > 1")

    await until(died_again)
    # Without a word about which, none is discarded.
    with pytest.raises(SystemExit):
        main(["dlq", "sample", "discard", "--limit", "5", "--reason", ""], env)
    assert "or --all" in capsys.readouterr().err
    for bad in (["show"], ["list", "--since", "99999999d"], ["list", "--limit", "-1"], ["replay", "--rate", "nan"]):
        with pytest.raises(SystemExit, match="2"):
            main(["dlq", "sample", *bad], env)
    capsys.readouterr()
    torn = env | {"DATABASE_URL": "postgresql://owner:hunter22/x@db/product"}
    for command in (["migrate", "sample"], ["dlq", "sample", "list"]):
        assert await asyncio.to_thread(main, command, torn) == 2
    refusal = capsys.readouterr()
    assert "DATABASE_URL is refused" in refusal.err
    assert "hunter22" not in refusal.err + refusal.out
    assert await asyncio.to_thread(main, ["dlq", "sample", "discard", "--queue", "another"], env) == 0
    assert await db.platform.fetchval("SELECT count(*) FROM dead_letters WHERE resolution IS NULL") == 1
    assert await asyncio.to_thread(main, ["dlq", "sample", "discard", "--all", "--actor", "ana"], env) == 0
    row = await db.platform.fetchrow("SELECT resolution, resolved_by FROM dead_letters")
    assert tuple(row) == ("discarded", "ana")

    # Everything again, as after a broker that lost its data: the inbox knows it.
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["outbox", "sample", "republish", "--since", "1h"], env) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["republished"] >= 1

    async def published() -> Any:
        return not await db.relay.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")

    await until(published)
    await asyncio.sleep(0.5)
    assert len(await heard()) == 1


async def test_without_a_broker_http_serves_and_the_outbox_keeps(
    start: Start, env: Env, temporary_servers: Any, database_url: str
) -> None:
    client = await start()
    assert (await client.post("/notes/later/told")).status_code == 201
    ready = await client.http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["checks"] == {"database": "ok", "migrations": "ok", "keys": "ok", "broker": "away"}
    waiting = await client.app.state.runtime.db.relay.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
    assert waiting == 1


async def test_shutdown_publishes_what_was_told(env: Env, start: Start, amqp_url: str) -> None:
    client = await start(AMQP_URL=amqp_url, ROLE="api")
    settings_url = client.app.state.runtime.db._url
    for number in range(20):
        await client.post(f"/notes/n{number}/told")
    worker = await start(AMQP_URL=amqp_url, ROLE="worker", DATABASE_URL=settings_url)
    assert (await worker.get("/notes")).status_code == 404, "a worker serves no routes"

    async def all_heard() -> Any:
        return len((await client.get("/notes")).json()) == 20

    await until(all_heard)


async def test_readiness() -> None:
    answers: dict[str, str | None] = {"database": None, "broker": "away"}

    async def database() -> str | None:
        return answers["database"]

    async def broker() -> str | None:
        return answers["broker"]

    health = Health({"database": database}, {"broker": broker})
    assert (await health.ready())[0] == 200
    answers["database"] = "away"
    assert (await health.ready())[0] == 200, "kept for a second"
    health._kept = None
    assert (await health.ready())[0] == 503
    answers["database"] = None
    health.drain()
    assert (await health.ready())[0] == 503
    assert health.live()[0] == 200

    async def broken() -> str | None:
        raise RuntimeError("with internals")

    status, body = await Health({"x": broken}).ready()
    assert status == 503
    assert b"internals" not in body


async def test_a_draining_service_sends_its_callers_elsewhere(client: Client) -> None:
    assert "connection" not in (await client.get("/notes")).headers
    client.app.state.served.health.drain()
    answer = await client.get("/notes")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


async def test_the_description_names_every_problem(client: Client) -> None:
    answer = await client.get("/openapi.json")
    document = answer.json()
    assert set(document["paths"]) >= {"/notes", "/notes/{note_id}"}
    post = document["paths"]["/notes"]["post"]
    for status in ("400", "401", "403", "404", "409", "413", "415", "422", "429", "503"):
        assert list(post["responses"][status]["content"]) == ["application/problem+json"], status
    assert "415" not in document["paths"]["/notes"]["get"]["responses"]
    assert document["components"]["schemas"]["NewNote"]["additionalProperties"] is False
    assert document["components"]["schemas"]["Problem"]["required"]


def test_opentelemetry_is_imported_only_when_asked_for() -> None:
    # Litestar itself imports opentelemetry.semconv, which is constants only.
    code = "import sys, chassis.app; from litestar import Litestar; Litestar()\n"
    code += "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.trace'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_spans_go_to_the_collector_in_the_callers_trace(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # the exporter's own: 5 s otherwise
    received = asyncio.Event()
    requests: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        received.set()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await start(ROLE="api", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    await client.get("/notes", headers={"traceparent": TRACE})
    await asyncio.wait_for(received.wait(), 60)
    assert b"POST /v1/traces" in requests[0]
    server.close()
