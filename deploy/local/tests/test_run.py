"""The local system really starts, does the main job, refuses a second one, and leaves nothing behind."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.demo import demo
from runner.env_file import read_env
from runner.layout import Layout, here
from testkit.embedded.process import free_port

START = "import sys; from pathlib import Path; from runner.__main__ import main; from runner.layout import Layout\n"
START += "sys.exit(main(Layout(Path(sys.argv[1]))))"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A checkout of its own with the real services."""
    (tmp_path / "services").symlink_to(here().root / "services")
    made = Layout(tmp_path)
    yield made
    shutil.rmtree(made.state.parent, ignore_errors=True)


async def _start(layout: Layout, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, str(layout.root)),
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def _line(process: asyncio.subprocess.Process, start: str) -> str:
    """The next line of its output that begins so."""
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(90):
        while line := (await process.stdout.readline()).decode():
            seen += line
            if line.startswith(start):
                return line.rstrip("\n")
    raise AssertionError(f"it ended without a line {start!r}:\n{seen}")


@asynccontextmanager
async def _running(layout: Layout, env: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await _start(layout, env)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


def _processes_of(layout: Layout) -> list[str]:
    """The command lines that name this checkout's folders."""
    marks = (str(layout.root), str(layout.state.parent))
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(mark in words for mark in marks):
            found.append(words)
    return found


@pytest.mark.parametrize("processes", ["one", "each"])
async def test_the_main_job_from_start_to_stop(layout: Layout, amqp_url: str, processes: str) -> None:
    port = str(free_port())
    env = {"PORT": port, "AMQP_URL": amqp_url, "PROCESSES": processes}
    async with _running(layout, env) as process:
        assert await _line(process, "ready:") == f"ready: http://127.0.0.1:{port}"
        decided = read_env(layout.local_env)
        assert decided["AMQP_URL"] == amqp_url
        assert decided.keys() == {
            *("DATABASE_URL", "AMQP_URL", "SMTP_URL", "JWT_SECRET", "PORT", "MAIL_DIR", "ADMIN_TOKEN")
        }
        said: list[str] = []
        await demo(decided, said.append)
        assert any("Welcome to Demo Ltda, Ana" in line for line in said)

        second = await _start(layout, env | {"PORT": str(free_port())})
        assert "already running here as process" in (await second.communicate())[0].decode()
        assert second.returncode == 1

        process.send_signal(signal.SIGINT if processes == "one" else signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0
    assert await asyncio.to_thread(_processes_of, layout) == []


async def test_interrupted_while_it_starts_it_leaves_nothing(layout: Layout, amqp_url: str) -> None:
    for pause_s in (0.6, 1.2):
        async with _running(layout, {"PORT": str(free_port()), "AMQP_URL": amqp_url}) as process:
            await asyncio.sleep(pause_s)
            process.send_signal(signal.SIGTERM)
            await process.communicate()
            assert process.returncode in (0, -signal.SIGTERM), "-15 only before Python could take the signal"
        assert await asyncio.to_thread(_processes_of, layout) == []


async def test_a_taken_port_is_an_error_that_names_it(layout: Layout, amqp_url: str) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    process = await _start(layout, {"PORT": str(port), "AMQP_URL": amqp_url})
    output = (await process.communicate())[0].decode()
    server.close()
    assert process.returncode == 1
    assert output.startswith(f"make run: PORT {port} is taken")


@pytest.mark.parametrize(
    "url", ["postgresql://owner:hunter22/x@127.0.0.1/product", "postgresql://owner:hunter22@127.0.0.1:1/x"]
)
async def test_a_database_url_that_leads_nowhere_is_one_line_without_its_password(
    layout: Layout, amqp_url: str, url: str
) -> None:
    process = await _start(layout, {"PORT": str(free_port()), "AMQP_URL": amqp_url, "DATABASE_URL": url})
    output = (await process.communicate())[0].decode()
    assert process.returncode == 1
    [refusal] = [line for line in output.splitlines() if not line.startswith("[")]
    assert refusal.startswith("make run: ")
    assert "DATABASE_URL" in refusal
    assert "hunter22" not in output
