"""A served process: several apps in one loop, bounded heads, a shutdown in order, and exit codes that tell."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from testkit.embedded.process import free_port
from testkit.tokens import Identities

from .client import Env

HERE = Path(__file__).parent
Process = subprocess.Popen[str]
Launch = Callable[..., Process]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Starts `python -m chassis serve sample` with an environment; ends it if the test does not."""
    processes: list[Process] = []

    def started(env: dict[str, str], *arguments: str) -> Process:
        environment = {**os.environ, **env, "PYTHONPATH": str(HERE)}
        process = subprocess.Popen(
            [sys.executable, *(arguments or ("-m", "chassis", "serve", "sample"))],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


async def status(url: str, **options: object) -> int:
    try:
        async with httpx.AsyncClient(timeout=30) as http:
            return (await http.get(url, **options)).status_code  # type: ignore[arg-type]
    except httpx.TransportError:
        return 0


async def eventually(url: str, wanted: int, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while (got := await status(url)) != wanted:
        assert time.monotonic() < deadline, f"{url}: {got}, not {wanted}"
        await asyncio.sleep(0.05)


async def end(process: Process, timeout_s: float = 60) -> tuple[int, str]:
    output, _ = await asyncio.to_thread(process.communicate, timeout=timeout_s)
    return process.returncode, output


async def ports(env: Env, **overrides: str) -> dict[str, str]:
    return await env(PORT=str(free_port()), METRICS_PORT=str(free_port()), **overrides)


async def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(
    env: Env, launch: Launch, identities: Identities
) -> None:
    settings = await ports(env, DRAIN_WAIT_S="3")
    process = launch(settings)
    url, private = f"http://127.0.0.1:{settings['PORT']}", f"http://127.0.0.1:{settings['METRICS_PORT']}"
    await eventually(f"{url}/health/ready", 200)
    slow = asyncio.create_task(status(f"{url}/slow", headers=identities.headers("sample")))
    await asyncio.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    await eventually(f"{private}/health/ready", 503, 3)
    assert await status(f"{url}/health/live") == 200, "still accepts while others learn that it is not ready"
    assert await slow == 200
    code, output = await end(process)
    assert code == 0, output
    assert "Traceback" not in output
    assert await status(url) == 0


async def test_metrics_are_on_the_private_port_only(env: Env, launch: Launch, identities: Identities) -> None:
    settings = await ports(env)
    launch(settings)
    url, private = f"http://127.0.0.1:{settings['PORT']}", f"http://127.0.0.1:{settings['METRICS_PORT']}"
    await eventually(f"{url}/health/ready", 200)
    async with httpx.AsyncClient(headers=identities.headers("sample", permissions=["*"])) as http:
        answer = await http.get(f"{url}/notes")
        assert answer.status_code == 400, "a tenant is needed"
        assert "server" not in answer.headers
        assert (await http.get(f"{url}/metrics")).status_code == 404
        metrics = (await http.get(f"{private}/metrics")).text
        line = 'http_server_request_duration_seconds_count{method="GET",route="/notes",status="4xx"} 1.0'
        assert line in metrics
        for name in (
            "db_pool_connections",
            "event_loop_lag_seconds",
            "process_resident_memory_bytes",
            "bus_outbox_rows",
        ):
            assert name in metrics
        assert (await http.get(f"{private}/openapi.json")).json()["info"]["title"] == "sample"
        assert (await http.get(f"{private}/anything")).status_code == 404


async def test_two_apps_in_one_loop_are_two_services(env: Env, launch: Launch, identities: Identities) -> None:
    first, second = await ports(env), await ports(env)
    code = "import json, sys; from sample.app import build; from chassis.serve import serve_all\n"
    code += "sys.exit(serve_all([(build, env) for env in json.loads(sys.argv[1])]))"
    process = launch({}, "-c", code, json.dumps([first, second]))
    headers = identities.headers("sample", permissions=["*"])
    for settings, requests in ((first, 1), (second, 2)):
        await eventually(f"http://127.0.0.1:{settings['PORT']}/health/ready", 200)
        for _ in range(requests):
            assert await status(f"http://127.0.0.1:{settings['PORT']}/nothing", headers=headers) == 404
    for settings, requests in ((first, 1), (second, 2)):
        async with httpx.AsyncClient() as http:
            metrics = (await http.get(f"http://127.0.0.1:{settings['METRICS_PORT']}/metrics")).text
        line = 'http_server_request_duration_seconds_count{method="GET",route="unmatched",status="4xx"}'
        assert f"{line} {requests}.0" in metrics
    process.send_signal(signal.SIGINT)
    code_, output = await end(process)
    assert code_ == 0, output


async def test_heads_are_bounded(env: Env, launch: Launch) -> None:
    settings = await ports(env)
    launch(settings)
    await eventually(f"http://127.0.0.1:{settings['PORT']}/health/live", 200)

    async def answer_to(*parts: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(settings["PORT"]))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)
            return await asyncio.wait_for(reader.read(65_536), 5)
        except ConnectionError:
            return b"reset"
        finally:
            writer.close()

    get = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    assert b" 200 " in await answer_to(get + b"a: " + b"x" * 15_000 + b"\r\n\r\n")
    assert b" 431 " in await answer_to(get + b"a: " + b"x" * 17_000 + b"\r\n\r\n")
    assert b" 431 " in await answer_to(get, b"a: ", b"x" * 10_000, b"x" * 10_000)
    assert b" 431 " in await answer_to(get + b"".join(b"h%d: x\r\n" % n for n in range(3_000)) + b"\r\n")
    assert b" 431 " in await answer_to(b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\n\r\n")
    for garbage in (b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", get + b"a b: c\r\n\r\n"):
        refused = await answer_to(garbage)
        assert b" 400 " in refused
        assert b"application/problem+json" in refused


async def test_it_waits_for_its_database(env: Env, launch: Launch, database_url: str, db_role_secret: str) -> None:
    # The database is there, but nobody has migrated it: no role, no schema.
    settings = await ports(env, DATABASE_URL=database_url)
    process = launch(settings)
    url = f"http://127.0.0.1:{settings['PORT']}"
    await eventually(f"{url}/health/live", 200)
    assert await status(f"{url}/health/ready") == 503
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "chassis", "migrate", "sample"],
        env={**os.environ, **settings, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "0001_notes.sql" in done.stdout
    await eventually(f"{url}/health/ready", 200)
    assert process.poll() is None


async def test_it_answers_503_while_there_is_no_database_at_all(
    env: Env, launch: Launch, identities: Identities
) -> None:
    settings = await ports(env, DATABASE_URL=f"postgresql://127.0.0.1:{free_port()}/none")
    process = launch(settings)
    url = f"http://127.0.0.1:{settings['PORT']}"
    await eventually(f"{url}/health/live", 200)
    async with httpx.AsyncClient(headers=identities.headers("sample")) as http:
        answer = await http.get(f"{url}/notes")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert int(answer.headers["retry-after"]) > 0
    process.terminate()
    code, output = await end(process)
    assert code == 0, output


async def test_a_mighty_role_ends_the_process(env: Env, launch: Launch) -> None:
    settings = await ports(env)
    admin = await asyncpg.connect(settings["DATABASE_URL"])
    try:
        # Owning the schema, in this test's database only: a role's attributes would be every test's.
        await admin.execute("ALTER SCHEMA sample OWNER TO sample_app")
        code, output = await end(launch(settings))
    finally:
        await admin.execute("ALTER SCHEMA sample OWNER TO sample_owner")
        await admin.close()
    assert code != 0
    assert "sample_app owns schema sample" in output


async def test_a_taken_port_ends_the_process(env: Env, launch: Launch) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    taken = server.sockets[0].getsockname()[1]
    settings = await ports(env) | {"PORT": str(taken)}
    code, output = await end(launch(settings))
    server.close()
    assert code == 3
    assert f"cannot listen on 127.0.0.1:{taken}" in output
