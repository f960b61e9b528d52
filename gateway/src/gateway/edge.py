"""The ASGI callable in front: canonical path, match, who calls, may they, how often, and on to the service."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from chassis.health import Health
from chassis.telemetry import StartSpan
from contracts.errors import Malformed, NotFound, ServiceError, Unauthenticated, Unavailable
from gateway.access import SAFE_METHODS, Door
from gateway.access_sync import AccessSync
from gateway.answers import send_answer, send_problem
from gateway.cors import Headers, Origins
from gateway.headers import Head, Proxies, check_host
from gateway.identity import IdentityHeaders
from gateway.match import Matcher
from gateway.metrics import RouteCount
from gateway.pages import Page
from gateway.paths import check_target
from gateway.proxy import Outgoing, deliver, fetch, too_large, whole_answer
from gateway.rate_limit import RateLimit
from gateway.refusals import ExpectationFailed, MethodNotAllowed
from gateway.routes.row import Row
from gateway.upstream.connection import ClientGone, Receive
from gateway.upstream.pool import Upstream
from gateway.watch import Watch

_NO_EXTRA: Final[frozenset[bytes]] = frozenset()
_log = structlog.get_logger("gateway")

#: For the pages of the gateway itself: nothing is loaded from anywhere else, and nobody frames them.
_PAGE_HEADERS: Final[Headers] = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Endpoint:
    """One method of one row of the table, ready to serve."""

    __slots__ = ("count", "extra", "limit", "row", "service", "upstream")

    def __init__(self, row: Row, service: str, upstream: Upstream | None, limit: RateLimit, count: RouteCount) -> None:
        self.row = row
        self.service = service
        self.upstream = upstream  # None: the service is not part of this deployment
        self.limit = limit
        self.count = count
        self.extra = frozenset(name.encode() for name in row.policy.headers)


class Edge:
    """Serves every request of the public port."""

    def __init__(
        self,
        *,
        matcher: Matcher[Endpoint],
        pages: Mapping[bytes, Page],
        door: Door,
        origins: Origins,
        proxies: Proxies,
        identities: IdentityHeaders,
        address_limit: RateLimit,
        health: Health,
        start_span: StartSpan | None,
        refused: dict[str, int],
        upstreams: Sequence[Upstream],
        sync: AccessSync | None,
        watch: Watch | None,
    ) -> None:
        self._matcher = matcher
        self._pages = pages
        self._door = door
        self._origins = origins
        self._proxies = proxies
        self._identities = identities
        self._address_limit = address_limit
        self._health = health
        self._start_span = start_span
        self._refused = refused
        self._upstreams = upstreams
        self._workers = [worker for worker in (sync, watch) if worker is not None]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one HTTP request, or the server's own start and stop. (The protocol in front refuses WebSockets.)"""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: bytes = scope["raw_path"]
        head: Head | None = None
        try:
            method: str = scope["method"]
            if path not in self._matcher.remembered or scope["query_string"]:
                check_target(path, scope["query_string"])  # what the matcher remembers has passed it before
            page = self._pages.get(path)
            if page is not None:
                await self._show(page, method, send)
                return
            found = self._matcher.find(path)
            if found is None:
                raise NotFound("there is nothing at this path")
            inner_path, methods = found
            endpoint = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
            head = Head(scope["headers"], endpoint.extra if endpoint is not None else _NO_EXTRA)
            if endpoint is None:
                await self._without_endpoint(method, methods, head, send)
                return
            await self._serve(endpoint, method, inner_path, head, scope, receive, send)
        except ServiceError as error:
            self._refused[error.code] = self._refused.get(error.code, 0) + 1
            await send_problem(send, error, path, head.trace_id if head else b"0" * 32, self._common(head))

    async def _live(self, receive: Receive, send: Any) -> None:
        await receive()
        stopping = asyncio.Event()
        working = {asyncio.create_task(worker.run(stopping)) for worker in self._workers}
        await send({"type": "lifespan.startup.complete"})
        await receive()
        stopping.set()
        if working:
            await asyncio.wait(working)
        for upstream in self._upstreams:
            await upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(
        self, endpoint: Endpoint, method: str, path: bytes, head: Head, scope: Any, receive: Receive, send: Any
    ) -> None:
        started_at = time.perf_counter()
        row = endpoint.row
        status = 0
        span = None
        if self._start_span is not None:
            parent = b"00-%b-%b-%b" % (head.trace_id, b"0" * 15 + b"1", head.trace_flags)
            span = self._start_span(method, head.read.get(b"traceparent", parent).decode("latin-1"))
        connection = None
        try:
            host = check_host(head.read.get(b"host"))
            peer = scope["client"]
            address, scheme = self._proxies.client(peer[0] if peer else "", scope["scheme"], head.read)
            try:
                principal = self._door.identify(row, method, head, scheme)
            except Unauthenticated:
                self._address_limit.take(f"refused|{address}")
                raise
            if principal.key is not None:
                principal.key.admit(address, time.time())
            named = principal.kind in ("user", "platform_admin", "api_key")
            endpoint.limit.take(principal.limit_key if named else f"{principal.kind}|{address}")
            tenant = self._door.authorise(row, principal, head)
            upstream = endpoint.upstream
            if upstream is None:
                raise Unavailable(
                    f"the service {endpoint.service} is not available here", code="service_absent", retry_after_s=60
                )
            has_body, length = _framing(head, method, row.body_limit_bytes)
            query = scope["query_string"]
            if span is not None:
                traceparent = span.traceparent.encode()
            else:
                traceparent = b"00-%b-%b-%b" % (head.trace_id, head.trace_id[16:], head.trace_flags)
            request = b"".join(
                (
                    *(method.encode(), b" ", path, b"?" if query else b"", query, upstream.request_line_end),
                    *head.lines,
                    self._identities.line(principal, tenant, endpoint.service),
                    *(b"x-request-id: ", head.request_id, b"\r\ntraceparent: ", traceparent),
                    *(b"\r\nx-forwarded-for: ", address.encode(), b"\r\nx-forwarded-proto: ", scheme.encode()),
                    *(b"\r\nx-forwarded-host: ", host, b"\r\n"),
                )
            )
            outgoing = Outgoing(
                method,
                request,
                has_body=has_body,
                content_length=length,
                body_limit_bytes=row.body_limit_bytes,
                timeout_s=row.timeout_s,
            )
            connection = await fetch(upstream, outgoing, receive)
            if connection.has_cookies and not row.sets_cookies:
                connection.headers = [field for field in connection.headers if field[0] != b"set-cookie"]
            status = connection.status
            if connection.complete:  # the usual case: the whole answer came with its head
                await send(whole_answer(upstream, connection, self._common(head)))
            else:
                await deliver(upstream, connection, self._common(head), send)
        except ServiceError as error:
            if connection is not None:
                # The answer's head is out. Returning without its end makes the server cut the connection, which is the
                # only way left to tell the client that the body is not whole.
                _log.warning("answer.cut", service=endpoint.service, route=row.path, code=error.code)
                return
            status = error.status
            if status >= 502 and error.code not in ("service_absent", "circuit_open"):
                _log.warning("upstream.failed", service=endpoint.service, route=row.path, code=error.code)
            raise
        except ClientGone:
            status = 0
        finally:
            endpoint.count.add(status, time.perf_counter() - started_at)
            if span is not None:
                span.end(f"{method} {row.path}", status)

    def _common(self, head: Head | None) -> Headers:
        """What every answer carries."""
        fields: Headers = []
        if head is not None:
            fields.append((b"x-request-id", head.request_id))
            origin = head.read.get(b"origin")
            if origin is not None:
                fields += self._origins.answer_headers(origin)
        if self._health.draining:
            fields.append((b"connection", b"close"))  # the next request had better find another process
        return fields

    async def _show(self, page: Page, method: str, send: Any) -> None:
        if method not in SAFE_METHODS:
            raise MethodNotAllowed({"GET", "HEAD", "OPTIONS"})
        status, content_type, body = await page()
        await send_answer(send, status, content_type, body, [*_PAGE_HEADERS, *self._common(None)])

    async def _without_endpoint(self, method: str, methods: Mapping[str, Endpoint], head: Head, send: Any) -> None:
        allowed = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        if method != "OPTIONS":
            raise MethodNotAllowed(allowed)
        origin = head.read.get(b"origin")
        fields: Headers = [(b"allow", ", ".join(sorted(allowed)).encode()), *self._common(None)]
        if origin is not None and b"access-control-request-method" in head.read:
            fields += self._origins.preflight_headers(origin, allowed)
        await send({"type": "http.response.start", "status": 204, "headers": fields})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _framing(head: Head, method: str, limit_bytes: int) -> tuple[bool, int | None]:
    """Whether a body comes, and its length when it is known. Raises Malformed, TooLarge, ExpectationFailed."""
    read = head.read
    expect = read.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise ExpectationFailed("only 100-continue can be expected")
    length = read.get(b"content-length")
    if length is None:
        has_body = b"transfer-encoding" in read
        size = None
    else:
        size = int(length)
        has_body = size > 0
        if size > limit_bytes:
            raise too_large(limit_bytes)
    if has_body and method in SAFE_METHODS:
        raise Malformed(f"a {method} has no body", code="unexpected_body")
    return has_body, size
