"""What the providers' fakes share: an HTTP server on a socket of its own, and the faults it can be told to have."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import uvicorn

from testkit.embedded.process import LOOPBACK, free_port


class Fault(StrEnum):
    """What may go wrong with one request."""

    REFUSE_429 = "429"  # nothing happened; Retry-After: 1
    FAIL_500 = "500"  # nothing happened, or so it says
    FAIL_500_AFTER = "500 after the effect"
    DROP_REPLY = "drop reply"  # the effect is there, the connection ends without an answer
    HANG = "hang"  # the effect is there, the answer comes after `hang_s`
    GARBAGE = "garbage"  # 200 with what is not JSON


@dataclass
class Request:
    """One request as the fake got it; `headers` by lower-case name."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


@dataclass
class Answer:
    """What the fake answers; `body` is sent as JSON unless it is bytes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, dict[str, str]]:
        """The bytes and all headers."""
        if isinstance(self.body, bytes):
            return self.body, {"content-type": "text/html; charset=utf-8", **self.headers}
        return json.dumps(self.body).encode(), {"content-type": "application/json", **self.headers}


Respond = Callable[[Request], Awaitable[Answer]]


class FakeServer:
    """Serves `respond` over HTTP; `faults` are taken in order, one per request that `faulty` picks (all by default)."""

    def __init__(self, respond: Respond, *, port: int = 0, hang_s: float = 30.0) -> None:
        self._respond = respond
        self.port = port or free_port()
        self.hang_s = hang_s
        self.faults: list[Fault | None] = []
        self.faulty: Callable[[Request], bool] = lambda _: True
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listens while the block runs."""
        config = uvicorn.Config(
            self._app,
            host=LOOPBACK,
            port=self.port,
            log_level="error",
            lifespan="off",
            http="httptools",
            interface="asgi3",
        )
        server = _QuietServer(config)
        task = asyncio.create_task(server.serve())
        try:
            while not server.started:
                if task.done():
                    task.result()
                    raise RuntimeError("the fake did not start")
                await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = server.force_exit = True
            await task

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(scope["method"], scope["path"], scope["query_string"].decode(), headers, body)
        self.requests.append(request)
        fault = self.faults.pop(0) if self.faults and self.faulty(request) else None
        if fault is Fault.REFUSE_429:
            answer = Answer(429, {"error": {"message": "Too many requests"}}, {"retry-after": "1"})
        elif fault is Fault.FAIL_500:
            answer = Answer(500, {"error": {"message": "Internal"}})
        else:
            answer = await self._respond(request)
        if fault is Fault.FAIL_500_AFTER:
            answer = Answer(500, {"error": {"message": "Internal"}})
        elif fault is Fault.GARBAGE:
            answer = Answer(200, b"<html>maintenance</html>")
        elif fault is Fault.HANG:
            await asyncio.sleep(self.hang_s)
        elif fault is Fault.DROP_REPLY:
            send.__self__.transport.abort()  # uvicorn's own cycle: ASGI has no word for hanging up
            return
        raw, fields = answer.encoded()
        sent = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        sent.append((b"content-length", str(len(raw)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": raw})


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the test's, or the local runner's."""
        yield
