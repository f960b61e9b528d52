"""One authorised request on its way to a service and its answer on the way back, streamed both ways."""

import asyncio
import math
import time
from typing import Any, Final

import msgspec

from contracts.errors import BadGateway, Malformed, TooLarge
from gateway.refusals import RequestTimeout
from gateway.upstream.connection import ClientGone, ConnectionFailed, Receive, UpstreamConnection
from gateway.upstream.pool import Upstream

#: A body up to here is read before a connection is taken, so that a slow sender holds none.
READ_AHEAD_BYTES: Final = 64 * 1024
BODY_PAUSE_S: Final = 30.0  # between two pieces of a request's body
_BODILESS: Final = frozenset({204, 304})
_BODY_UNUSUAL: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})  # without one they need no length
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
Headers = list[tuple[bytes, bytes]]
Send = Any  # an ASGI send


class Outgoing(msgspec.Struct, frozen=True):
    """A request that may be sent: its head without framing, and what is known of its body."""

    method: str
    head: bytes
    has_body: bool
    content_length: int | None
    body_limit_bytes: int
    timeout_s: float


async def fetch(upstream: Upstream, request: Outgoing, receive: Receive) -> UpstreamConnection:
    """Send `request` with its body and wait for the head of the answer.

    Raises ServiceError of the status to answer, ClientGone.
    """
    probe = upstream.breaker.enter()
    ok: bool | None = None
    try:
        if request.has_body:
            connection = await _send_with_body(upstream, request, receive)
        else:
            method = request.method
            connection = await upstream.send(
                request.head + (b"\r\n" if method in _BODY_UNUSUAL else b"content-length: 0\r\n\r\n"),
                is_head=method == "HEAD",
                may_repeat=method in _IDEMPOTENT,
                timeout_s=request.timeout_s,
                client=receive,
            )
        ok = True
        return connection
    except (ClientGone, TooLarge, RequestTimeout, Malformed, asyncio.CancelledError):
        raise  # nothing that the service did
    except BaseException:
        ok = False
        raise
    finally:
        upstream.breaker.leave(probe=probe, ok=ok)


async def _send_with_body(upstream: Upstream, request: Outgoing, receive: Receive) -> UpstreamConnection:
    body, more = await _read_ahead(receive, request.body_limit_bytes)
    if more:
        return await _stream(upstream, request, body, receive)
    return await upstream.send(
        b"%bcontent-length: %d\r\n\r\n%b" % (request.head, len(body), body),
        is_head=False,
        may_repeat=request.method in _IDEMPOTENT,
        timeout_s=request.timeout_s,
        client=receive,
    )


async def _read_ahead(receive: Receive, limit_bytes: int) -> tuple[bytes, bool]:
    """The body's beginning, and whether there is more of it."""
    parts: list[bytes] = []
    size = 0
    while True:
        part, more = await _next_part(receive)
        size += len(part)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        parts.append(part)
        if not more or size >= READ_AHEAD_BYTES:
            return b"".join(parts), more


async def _next_part(receive: Receive) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(BODY_PAUSE_S):
            message = await receive()
    except TimeoutError:
        raise RequestTimeout("the body did not arrive in time") from None
    return _part_of(message)


def _part_of(message: Any) -> tuple[bytes, bool]:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def _stream(upstream: Upstream, request: Outgoing, begun: bytes, receive: Receive) -> UpstreamConnection:
    """Send a body that is still arriving, at the slower one's pace; it is never sent twice."""
    length = request.content_length
    framing = b"transfer-encoding: chunked\r\n\r\n" if length is None else b"content-length: %d\r\n\r\n" % length
    connection = await upstream.acquire(time.monotonic() + request.timeout_s, must_trust=True)
    now = time.monotonic()
    upstream.begin(connection, request.head + framing, now=now, is_head=False, deadline=math.inf, client=None)
    try:
        await connection.write(_framed(begun, chunked=length is None))
        sent = len(begun)
        more = True
        while more and not connection.head_is_here:
            part, more = await _part_or_head(connection, receive)
            sent += len(part)
            if sent > request.body_limit_bytes:
                raise too_large(request.body_limit_bytes)
            if part:
                await connection.write(_framed(part, chunked=length is None))
        if more:
            connection.keep_alive = False  # answered early: the rest of the body is not wanted
        elif length is None and not connection.head_is_here:
            await connection.write(b"0\r\n\r\n")
        connection.deadline = time.monotonic() + request.timeout_s
        connection.client = receive
        await connection.head()
        if more:
            connection.keep_alive = False
    except ConnectionFailed:
        upstream.abort(connection)
        raise BadGateway("the service closed the connection without an answer", code="upstream_closed") from None
    except BaseException:
        upstream.abort(connection)
        raise
    return connection


async def _part_or_head(connection: UpstreamConnection, receive: Receive) -> tuple[bytes, bool]:
    """The next part of the body, or nothing when the service answers before it has come."""
    incoming = asyncio.ensure_future(receive())
    try:
        waits: set[asyncio.Future[Any]] = {incoming, connection.head_waiter()}
        await asyncio.wait(waits, timeout=BODY_PAUSE_S, return_when=asyncio.FIRST_COMPLETED)
        if incoming.done():
            return _part_of(incoming.result())
        if connection.head_is_here:
            return b"", True
        raise RequestTimeout("the body did not arrive in time")
    finally:
        incoming.cancel()


def _framed(part: bytes, *, chunked: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part) if chunked else part


def too_large(limit_bytes: int) -> TooLarge:
    """The refusal of a body over the route's limit."""
    return TooLarge(f"the body may have {limit_bytes} bytes")


def whole_answer(upstream: Upstream, connection: UpstreamConnection, extra: Headers) -> dict[str, Any]:
    """The one message that answers the client, of an exchange that is complete; the connection is given back."""
    status = connection.status
    headers = connection.headers
    if status in _BODILESS:
        headers = [field for field in headers if field[0] != b"content-length"]
    body = connection.take()
    if body and not connection.has_length and status not in _BODILESS:
        headers.append((b"content-length", b"%d" % len(body)))
    headers += extra
    upstream.release(connection)
    return {"type": "http.response.start", "status": status, "headers": headers, "body": body}


async def deliver(upstream: Upstream, connection: UpstreamConnection, extra: Headers, send: Send) -> None:
    """Answer the client with what the service answers, at the client's pace, and give the connection back.

    Raises ServiceError or ClientGone when the body breaks off: then the client must be cut off, for its head is out.
    """
    status = connection.status
    headers = connection.headers
    if status in _BODILESS:
        headers = [field for field in headers if field[0] != b"content-length"]
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers + extra})
        while True:
            connection.deadline = time.monotonic() + upstream.limits.idle_s
            part = await connection.read()
            if not part:
                break
            connection.deadline = math.inf  # from here the client sets the pace
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        if connection.in_use:
            upstream.release(connection)
