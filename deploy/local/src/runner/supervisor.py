"""Serves the gateway and every service in a process each, and starts again what dies."""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence

import httpx

from runner.environments import Program
from testkit.embedded.process import LOOPBACK

_STOP_WITHIN_S = 25.0
_BACKOFF_S = (0.2, 1.0, 5.0)
_SETTLED_AFTER_S = 30.0


async def supervise(
    programs: Sequence[Program], *, stop: asyncio.Event, on_started: Callable[[], None], say: Callable[[str], None]
) -> int:
    """Keep one process of each running until `stop`; then the gateway ends first, so that nothing new comes in.

    `on_started` is called once every program is ready. Returns 0, or 1 when one of them cannot start at all.
    """
    closing = {program.name: asyncio.Event() for program in programs}
    keepers = {program.name: asyncio.create_task(_keep(program, closing[program.name], say)) for program in programs}
    ready = asyncio.create_task(_all_ready(programs))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([ready, stopping, *keepers.values()], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not stop.is_set():
            on_started()
            await asyncio.wait([stopping, *keepers.values()], return_when=asyncio.FIRST_COMPLETED)
        return 0 if stop.is_set() else 1
    finally:
        ready.cancel()
        stopping.cancel()
        for program in reversed(programs):
            closing[program.name].set()
            if program.name == "gateway":
                await asyncio.wait([keepers["gateway"]])
        await asyncio.gather(*keepers.values(), return_exceptions=True)


async def _keep(program: Program, closing: asyncio.Event, say: Callable[[str], None]) -> None:
    """Run the program until `closing`; return early when it refuses its settings, which no restart would change."""
    failures = 0
    while not closing.is_set():
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(*_command(program), env=program.env, start_new_session=True)
        say(f"{program.name} runs as process {process.pid}")
        exited, told = asyncio.create_task(process.wait()), asyncio.create_task(closing.wait())
        try:
            await asyncio.wait([exited, told], return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await _end(process)
                return
        finally:
            told.cancel()
            if process.returncode is None:
                process.kill()
            await exited
        if process.returncode == 2:
            say(f"{program.name} refused to start")
            return
        failures = 0 if time.monotonic() - began > _SETTLED_AFTER_S else failures + 1
        wait_s = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
        say(f"{program.name} ended with code {process.returncode}; starting it again in {wait_s:g} s")
        pause = asyncio.create_task(closing.wait())
        await asyncio.wait([pause], timeout=wait_s)
        pause.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _STOP_WITHIN_S)
    except TimeoutError:
        process.kill()


def _command(program: Program) -> list[str]:
    serve = [sys.executable, "-m", "chassis", "serve", program.package]
    # Else they would outlive a runner that was killed, and take messages from the next one's.
    if setpriv := shutil.which("setpriv"):
        return [setpriv, "--pdeathsig", "TERM", *serve]
    return serve


async def _all_ready(programs: Sequence[Program]) -> None:
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        for program in programs:
            url = f"http://{LOOPBACK}:{program.env['METRICS_PORT']}/health/ready"
            while True:
                try:
                    if (await client.get(url)).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
