"""A gateway on a real port, services that answer or misbehave as told, a client that sends exactly what it is given."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from chassis.serve import ServedApp, serve_apps
from gateway.app import build
from gateway.routes import ROUTES
from gateway.routes.row import Row
from testkit.tokens import new_key_pair, user_jwt

SECRET = "Zk3v9Qw8Lr2Tn5Xy7Bc1Df4Gh6Jm0PqsUv"
PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
TENANT = "11111111-2222-4333-8444-555555555555"
OTHER_TENANT = "99999999-2222-4333-8444-555555555555"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
Table = Mapping[str, tuple[Row, ...]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def token(**claims: Any) -> str:
    """A good token of an owner of TENANT; claims set to None are left out."""
    merged: dict[str, Any] = {"tenant_id": TENANT, "role": "owner", **claims}
    kept = {name: value for name, value in merged.items() if value is not None}
    kept.setdefault("role", [])
    return user_jwt(SECRET, **kept)


def admin_token(**claims: Any) -> str:
    return token(tenant_id=None, role="superadmin", **claims)


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


@dataclass
class Seen:
    """A request as a service received it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Answer:
    """An answer as a client received it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool = True

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


Script = Callable[[Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool | None]]


async def answer_ok(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool | None:
    writer.write(OK)
    return True


def answering(raw: bytes, *, keep: bool = True, then_close: bool = False) -> Script:
    """A script that answers these bytes, whatever they are."""

    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool | None:
        writer.write(raw)
        await writer.drain()
        return keep and not then_close

    return script


class Service:
    """An HTTP/1.1 server that records each request it parses and answers by `script`; falsy from a script closes."""

    def __init__(self, script: Script = answer_ok) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.connections = 0
        self.live: set[asyncio.StreamWriter] = set()
        self.disconnected = asyncio.Event()
        self.port = 0
        self.reads_bodies = True
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**18)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self.live):
                writer.transport.abort()
            self._server = None
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.live.add(writer)
        try:
            while True:
                seen = await self._read(reader)
                self.seen.append(seen)
                if not await self.script(seen, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.disconnected.set()
        finally:
            self.live.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        headers = [(line.split(": ", 1)[0].lower(), line.split(": ", 1)[1]) for line in lines]
        named = dict(headers)
        seen = Seen(method, target, headers, b"")
        if not self.reads_bodies:
            return seen
        if "transfer-encoding" in named:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                seen.body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            seen.body = await reader.readexactly(int(named.get("content-length", "0")))
        return seen


@dataclass
class Gateway:
    """A running gateway."""

    port: int
    served: ServedApp
    stop: asyncio.Event
    task: "asyncio.Task[int]"
    metrics_port: int
    secrets: dict[str, str] = field(default_factory=dict)

    async def raw(self, data: bytes, *, wait_s: float = 2.0, chunk: int = 0) -> bytes:
        """Send bytes, in chunks if asked; everything that comes back until the gateway closes or falls silent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**26)
        received = b""
        try:
            for start in range(0, len(data), chunk or len(data) or 1):
                writer.write(data[start : start + (chunk or len(data))])
                await writer.drain()
                if chunk:
                    await asyncio.sleep(0)
            while True:
                part = await asyncio.wait_for(reader.read(65536), wait_s)
                if not part:
                    break
                received += part
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
        return received

    async def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        fields = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **(headers or {})}
        if body is not None:
            fields.setdefault("Content-Length", str(len(body)))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        raw = await self.raw(head.encode("latin-1") + (body or b""), wait_s=20)
        return parse(raw, is_head=method == "HEAD")

    async def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("GET", target, headers)

    async def close(self) -> int:
        self.stop.set()
        return await asyncio.wait_for(self.task, 20)


def parse(raw: bytes, *, is_head: bool = False) -> Answer:
    """The first answer in `raw`; `whole` tells whether its body ends as its framing says."""
    head, separator, rest = raw.partition(b"\r\n\r\n")
    assert separator, f"no answer in {raw[:200]!r}"
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(line.split(": ", 1)[0].lower(), line.split(": ", 1)[1]) for line in lines]
    named = dict(headers)
    answer = Answer(int(first.split(" ")[1]), headers, rest)
    if is_head or answer.status in (204, 304):
        answer.whole = not rest
    elif "transfer-encoding" in named:
        answer.body, answer.whole = b"", False
        while rest:
            size_line, _, rest = rest.partition(b"\r\n")
            size = int(size_line or b"0", 16)
            answer.body += rest[:size]
            if not size:
                answer.whole = rest[:2] == b"\r\n"
                break
            rest = rest[size + 2 :]
    elif "content-length" in named:
        answer.whole = len(rest) >= int(named["content-length"])
        answer.body = rest[: int(named["content-length"])]
    return answer


async def start_gateway(table: Table = ROUTES, **env: str) -> Gateway:
    """A gateway that listens; variables are given in lower case."""
    port, metrics_port = free_port(), free_port()
    variables = {
        "JWT_SECRET": SECRET,
        "INTERNAL_SIGNING_KEY": PRIVATE_KEY,
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "LOG_LEVEL": "ERROR",
        "DRAIN_WAIT_S": "0",
        "SHUTDOWN_GRACE_S": "3",
        "UPSTREAM_CONNECT_BUDGET_S": "0.3",
        "RATE_LIMIT_REQUESTS": "0",
        "RATE_LIMIT_ANONYMOUS_REQUESTS": "0",
        "RATE_LIMIT_WEBHOOK_REQUESTS": "0",
        **{name.upper(): value for name, value in env.items()},
    }
    served = build(variables, table)
    stop, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve_apps([served], stop=stop, on_started=started.set))
    waits = {task, asyncio.create_task(started.wait())}
    await asyncio.wait(waits, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert started.is_set(), "the gateway did not start"
    return Gateway(port, served, stop, task, metrics_port)
