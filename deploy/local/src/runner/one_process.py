"""Serves the gateway and every service in this process: one event loop, one app, port and pool each."""

import asyncio
import importlib
from collections.abc import Callable, Sequence

from chassis.serve import serve_apps, served
from runner.environments import Program


async def serve_in_one_process(
    programs: Sequence[Program], *, stop: asyncio.Event, on_started: Callable[[], None]
) -> int:
    """Serve until `stop`, SIGTERM or SIGINT and return the exit code; `on_started` is called when all ports listen.

    Raises: chassis.settings.SettingsError naming the variables that are wrong.
    """
    apps = [served(importlib.import_module(f"{program.package}.app").build(program.env)) for program in programs]
    return await serve_apps(apps, stop=stop, on_started=on_started)
