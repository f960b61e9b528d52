"""Serves several ASGI apps in one event loop, and stops them in an order that loses nothing.

SIGTERM: not ready -> short wait -> let nobody else in -> stop accepting, stop taking messages -> finish what is in
flight -> each app's own shutdown (flush the outbox, close broker and pools) -> exit 0.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
import uvicorn
import uvloop
from litestar import Litestar
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry, generate_latest
from uvicorn.lifespan.on import LifespanOn

from chassis.edge import answer_health, send_bytes
from chassis.health import Health
from chassis.http_limits import BoundedHttp
from chassis.problems import MEDIA_TYPE, problem_body

#: After the drain, as a share of it: the time in which those who were let in last say what they want.
_LAST_CALL_SHARE = 0.25
_SO_ATTACH_FILTER = 26
#: Classic BPF over a TCP segment: drop it when it carries SYN, else let it pass.
_DROP_SYN = struct.pack(
    "HBBI" * 4,
    *(0x30, 0, 0, 13),  # A = flags
    *(0x45, 0, 1, 0x02),  # A & SYN?
    *(0x06, 0, 0, 0),
    *(0x06, 0, 0, 0xFFFF_FFFF),
)


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class ServedApp:
    """An ASGI app with lifespan, and what it takes to serve it.

    A service's `build(env)` returns the Litestar of `create_app`, which carries its own in `app.state.served`. Any
    other ASGI app (the gateway) returns a ServedApp from `build`; it is itself an ASGI callable.
    """

    name: str
    app: ASGIApp
    host: str
    port: int
    metrics_host: str
    metrics_port: int
    registry: CollectorRegistry
    health: Health
    drain_wait_s: float = 2.0
    shutdown_grace_s: float = 15.0
    #: Called when the server stops accepting: stop taking messages and starting work.
    stop_work: Callable[[], None] = _nothing
    #: The app's OpenAPI document, shown on the private port as well.
    openapi: Callable[[], bytes] | None = None
    http: type[asyncio.Protocol] = BoundedHttp

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The app itself."""
        await self.app(scope, receive, send)


class Build(Protocol):
    """What every service package has in its `app` module."""

    def __call__(self, env: Mapping[str, str], /) -> Any:
        """The app for this environment. Raises SettingsError."""


def served(app: Any) -> ServedApp:
    """How to serve what a `build` returned. Raises TypeError for anything else."""
    found = app.state.served if isinstance(app, Litestar) else app
    if not isinstance(found, ServedApp):
        raise TypeError(f"{app!r} is neither a Litestar of create_app nor a ServedApp")
    return found


def private_app(app: ServedApp) -> ASGIApp:
    """What answers on the private port: /metrics, /health/*, /openapi.json."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/metrics":
            await send_bytes(send, 200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(app.registry))
        elif path == "/openapi.json" and app.openapi:
            await send_bytes(send, 200, "application/json", app.openapi())
        elif path.startswith("/health/"):
            await answer_health(app.health, path, send)
        else:
            body = problem_body(404, "not_found", "Not found", "Not found.", path, "0" * 32)
            await send_bytes(send, 404, MEDIA_TYPE, body)

    return answer


class _Server(uvicorn.Server):
    """uvicorn, less its signal handling: several servers in one loop would each take SIGTERM and raise it again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_apps(
    apps: Sequence[ServedApp],
    *,
    stop: asyncio.Event | None = None,
    on_started: Callable[[], None] = _nothing,
) -> int:
    """Serves until SIGTERM, SIGINT, `stop` or a failed app; answers the exit code.

    `on_started` is called once every port listens.
    """
    stop = stop or asyncio.Event()
    log = structlog.get_logger("chassis.serve")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # not the main thread: the caller stops us by `stop`
            loop.add_signal_handler(number, stop.set)
    configs = [_config(app.app, app.host, app.port, app) for app in apps]
    lifespans = [LifespanOn(uvicorn.Config(app.app, lifespan="on", log_config=None)) for app in apps]
    servers: list[_Server] = []
    tasks: list[asyncio.Task[None]] = []
    exit_code = 0
    try:
        await asyncio.gather(*(lifespan.startup() for lifespan in lifespans))
        if failed := [app.name for app, life in zip(apps, lifespans, strict=True) if life.should_exit]:
            log.error("start.failed", services=failed)
            return 3
        servers = [_Server(config) for config in configs]
        servers += [_Server(_config(private_app(app), app.metrics_host, app.metrics_port, app)) for app in apps]
        tasks = [asyncio.create_task(_run(server)) for server in servers]
        if await _listening(servers, tasks):
            _spare_the_collector()
            on_started()
            log.info("started", services=[app.name for app in apps])
        exit_code = await _until_stopped(apps, tasks, stop)
    finally:
        for app in apps:
            app.health.drain()
        if servers and exit_code == 0:
            drain_wait_s = max(app.drain_wait_s for app in apps)
            await asyncio.sleep(drain_wait_s)
            _let_nobody_in(servers[: len(apps)])
            await asyncio.sleep(drain_wait_s * _LAST_CALL_SHARE)
        for app in apps:
            app.stop_work()
        for server in servers[: len(apps)]:
            server.should_exit = True
        await asyncio.gather(*tasks[: len(apps)], return_exceptions=True)
        await asyncio.gather(*(life.shutdown() for life in lifespans))
        for server in servers[len(apps) :]:
            server.should_exit = True
        await asyncio.gather(*tasks[len(apps) :], return_exceptions=True)
        log.info("stopped", exit_code=exit_code)
    return exit_code


def serve_all(builds: Sequence[tuple[Build, Mapping[str, str]]]) -> int:
    """Builds every app with its environment, serves them in one uvloop, and answers the exit code.

    Raises SettingsError before anything is started.
    """
    apps = [served(build(env)) for build, env in builds]
    return uvloop.run(serve_apps(apps))


def _let_nobody_in(servers: Sequence[_Server]) -> None:
    """Connections are no longer made, while those that are made already are still accepted and served.

    Closing a listener resets what the kernel has accepted and we have not: a request that may not be repeated is lost
    then, and its sender cannot know. A SYN without an answer is sent again by the kernel, and finds the port closed.
    Some systems let only root filter a socket: there the few of the last moment are reset.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_SYN)
    option = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(program))
    for listener in (one for server in servers for each in server.servers for one in each.sockets):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(listener.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def _spare_the_collector() -> None:
    """What is there at start stays: looking through it at each collection would stop the loop for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _config(app: Any, host: str, port: int, settings: ServedApp) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=settings.http,
        ws="none",
        lifespan="off",  # run here, so that the servers of one loop start and stop in one order
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # longer than a client keeps one idle: it should be the side that closes
        timeout_graceful_shutdown=max(1, round(settings.shutdown_grace_s)),
    )
    config.load()
    return config


async def _run(server: _Server) -> None:
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way to say that the port is taken
        raise OSError(f"cannot listen on {server.config.host}:{server.config.port}") from error


async def _listening(servers: Sequence[_Server], tasks: Sequence[asyncio.Task[None]]) -> bool:
    """Whether all servers listen, once they do or one has given up; uvicorn tells it by a flag only."""
    for _ in range(3000):
        if any(task.done() for task in tasks) or all(server.started for server in servers):
            break
        await asyncio.sleep(0.01)
    return not any(task.done() for task in tasks)


async def _until_stopped(apps: Sequence[ServedApp], tasks: Sequence[asyncio.Task[None]], stop: asyncio.Event) -> int:
    waits = [asyncio.create_task(event.wait()) for event in (stop, *(app.health.failed for app in apps))]
    try:
        done, _ = await asyncio.wait([*waits, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    log = structlog.get_logger("chassis.serve")
    for task in tasks:
        if task in done:
            log.error("serve.failed", error=str(task.exception()))
            return 3
    for app in apps:
        if app.health.failure:
            log.error("service.failed", service=app.name, error=str(app.health.failure))
            return 4
    return 0
