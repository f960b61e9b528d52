"""The outermost layer of an app: a trace, a log line and a metric per request; nobody unknown gets past it."""

import re
import string
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from bus.trace import current_traceparent
from chassis.health import Health
from chassis.identity import HEADER, IdentityVerifier
from chassis.logs import shown_path
from chassis.problems import MEDIA_TYPE, headers_of, problem_body
from chassis.telemetry import Metrics, StartSpan, current_trace_id
from contracts.errors import Malformed, NotFound, ServiceError, Unauthenticated, Unavailable

_IDENTITY_HEADER = HEADER.lower().encode()
_PLAIN_PATH = re.compile(rb"/(?:[\w.~!$&'()*+,=:@-]+(?:/[\w.~!$&'()*+,=:@-]+)*)?")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_NEVER_ESCAPED = frozenset(string.ascii_letters.encode() + b"0123456789-._~/\\;" + bytes([*range(32), 127]))
_log = structlog.get_logger("chassis.request")


class Edge:
    """Wraps Litestar's own ASGI handler, so that what fails before routing is answered and counted like the rest."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        verifier: IdentityVerifier,
        health: Health,
        metrics: Metrics,
        start_span: StartSpan,
        is_started: Callable[[], bool],
        openapi: Callable[[], bytes],
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._health = health
        self._metrics = metrics
        self._start_span = start_span
        self._is_started = is_started
        self._openapi = openapi

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket."""
        if scope["type"] == "http" and scope["path"].startswith("/health/"):
            await answer_health(self._health, scope["path"], send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            scope["user"] = self._identify(scope)
            await self._app(scope, receive, send)

    async def _request(self, scope: Any, receive: Receive, send: Send) -> None:
        started_at = time.perf_counter()
        parent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"").decode("latin-1")
        span = self._start_span(scope["method"], parent or None)
        current_traceparent.set(span.traceparent)
        status = 0

        async def counted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._health.draining:  # the caller's next request had better find another process
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._answer(scope, receive, counted_send)
        except Exception as error:
            if not isinstance(error, ServiceError):
                structlog.get_logger("chassis").error("request.failed", path=shown_path(scope), exc_info=error)
            if status:
                raise  # the head is out: only the server can break the connection off
            await send_problem(error if isinstance(error, ServiceError) else None, scope["path"], counted_send)
        finally:
            self._metrics.in_flight.dec()
            self._tell(scope, span.end, status, time.perf_counter() - started_at)

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        refuse_odd_path(scope)
        scope["user"] = self._identify(scope)
        if scope["path"] == "/openapi.json":
            await send_bytes(send, 200, "application/json", self._openapi())
        elif not self._is_started():
            raise Unavailable("The service is starting.", code="starting", retry_after_s=2)
        else:
            await self._app(scope, receive, send)

    def _identify(self, scope: Any) -> Any:
        tokens = [value for name, value in scope["headers"] if name == _IDENTITY_HEADER]
        if len(tokens) != 1:
            raise Unauthenticated("This is reached through the gateway only.")
        return self._verifier.verify(tokens[0].decode("latin-1"))

    def _tell(self, scope: Any, end_span: Callable[[str, int], None], status: int, took_s: float) -> None:
        # An unknown path is one label, or a scanner would fill the registry.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = scope.get("path_template") or "unmatched"
        self._metrics.requests.labels(method, route, f"{status // 100}xx").observe(took_s)
        end_span(f"{method} {route}", status)
        identity = scope.get("user")
        _log.info(
            "request",
            method=method,
            route=route,
            path=shown_path(scope),
            status=status,
            took_ms=round(took_s * 1000, 1),
            tenant_id=str(identity.tenant_id) if identity else None,
            subject=identity.subject if identity else None,
        )


_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def refuse_odd_path(scope: Any) -> None:
    """Nothing, for a path with one spelling. Raises Malformed: two spellings may get two answers to "who may?"."""
    raw: bytes = (scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")).split(b"?", 1)[0]
    odd = not _PLAIN_PATH.fullmatch(_ESCAPE.sub(b"~", raw)) or any(part in (b".", b"..") for part in raw.split(b"/"))
    if b"%" in raw and not odd:
        odd = any(int(match[1], 16) in _NEVER_ESCAPED for match in _ESCAPE.finditer(raw)) or not _is_utf8(raw)
    if odd:
        raise Malformed("The path is not in its canonical form.", code="path_not_canonical")


def _is_utf8(raw_path: bytes) -> bool:
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return False
    return True


async def answer_health(health: Health, path: str, send: Send) -> None:
    """Answers /health/live and /health/ready."""
    if path == "/health/live":
        await send_bytes(send, *_json(health.live()))
    elif path == "/health/ready":
        await send_bytes(send, *_json(await health.ready()))
    else:
        await send_problem(NotFound("Not found."), path, send)


def _json(answer: tuple[int, bytes]) -> tuple[int, str, bytes]:
    return answer[0], "application/json", answer[1]


async def send_problem(error: ServiceError | None, path: str, send: Send) -> None:
    """Answers `error`, or a bare 500 for None, as a problem."""
    error = error or ServiceError("Something went wrong on our side; the trace id finds it in our logs.")
    body = problem_body(error.status, error.code, error.title, error.detail, path, current_trace_id(), error.errors)
    await send_bytes(send, error.status, MEDIA_TYPE, body, headers_of(error))


async def send_bytes(send: Send, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Answers a whole body at once."""
    fields = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})
