"""A server that stops loses nobody at its door, and is gone in time whatever hangs."""

import asyncio
import contextlib
import ctypes
import socket
import struct
import time
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from chassis.app import create_app
from chassis.db import transaction
from chassis.health import Health
from chassis.lifecycle import Runtime
from chassis.serve import ServedApp, serve_apps
from chassis.settings import ServiceSettings, load
from testkit.embedded.process import free_port
from testkit.service import living

from .client import Env

_SO_ATTACH_FILTER = 26


def _may_filter() -> bool:
    """Whether this system lets this user attach a filter to a socket; this one takes every packet."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0xFFFF_FFFF))
    with socket.socket() as one:
        try:
            one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
        except PermissionError:
            return False
    return True


needs_a_filter = pytest.mark.skipif(not _may_filter(), reason="this system lets only root filter a socket")
REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers 200 to a whole request."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


@contextlib.asynccontextmanager
async def running(port: int, *, drain_wait_s: float) -> Any:
    """The app served until the block ends, then stopped in order."""
    stop, started = asyncio.Event(), asyncio.Event()
    served = ServedApp(
        name="door",
        app=app,
        host="127.0.0.1",
        port=port,
        metrics_host="127.0.0.1",
        metrics_port=free_port(),
        registry=CollectorRegistry(),
        health=Health({}),
        drain_wait_s=drain_wait_s,
        shutdown_grace_s=5,
    )
    task = asyncio.create_task(serve_apps([served], stop=stop, on_started=started.set))
    await asyncio.wait_for(started.wait(), 30)
    yield
    stop.set()
    assert await asyncio.wait_for(task, 30) == 0


@needs_a_filter
async def test_nobody_is_let_in_who_could_not_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that comes at the last moment, after which nothing is accepted, does not get as far as sending."""
    port = free_port()
    let_in: list[bytes] = []
    turned_away = 0
    shutdown = uvicorn.Server.shutdown

    async def after_a_last_client(server: uvicorn.Server, sockets: Any = None) -> None:
        nonlocal turned_away
        if server.config.port != port:
            await shutdown(server, sockets)
            return
        with socket.socket() as client:
            client.settimeout(0.3)
            try:
                client.connect(("127.0.0.1", port))
                client.sendall(REQUEST)
            except TimeoutError:
                turned_away += 1
                await shutdown(server, sockets)
                return
            await shutdown(server, sockets)
            let_in.append(client.recv(4096))

    monkeypatch.setattr(uvicorn.Server, "shutdown", after_a_last_client)
    async with running(port, drain_wait_s=0.2):
        pass
    assert (turned_away, let_in) == (1, [])


@needs_a_filter
async def test_whoever_is_let_in_is_served() -> None:
    """Callers that come as fast as they can, each on a new connection, see a port that is closed and no reset."""
    port = free_port()
    answered = 0
    lost: list[str] = []

    async def call() -> bool:
        nonlocal answered
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return False
        try:
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n\r\n{}")
            answered += 1
        except (OSError, EOFError) as error:
            lost.append(repr(error))
        finally:
            writer.close()
        return True

    async def caller() -> None:
        while await call():
            pass

    for _ in range(3):
        async with running(port, drain_wait_s=1.0):
            callers = [asyncio.create_task(caller()) for _ in range(16)]
            await asyncio.sleep(0.2)
        await asyncio.gather(*callers)
    assert answered > 100
    assert lost == []


async def test_work_has_its_grace_beside_the_last_requests(env: Env) -> None:
    """Work that does not end costs one grace from when it was told, not a second one after the requests'."""

    async def stubborn(runtime: Runtime) -> None:
        async with transaction(runtime.db, uuid4()):
            await asyncio.sleep(3600)

    settings = load(ServiceSettings, await env(SHUTDOWN_GRACE_S="4"))
    app = create_app(name="sample", settings=settings, routes=[], workers=[stubborn])
    async with living(app):
        app.state.served.stop_work()
        await asyncio.sleep(3)  # the last requests
        began = time.monotonic()
    assert time.monotonic() - began < 3
