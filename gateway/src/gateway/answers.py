"""Whole answers that the gateway gives itself, problems above all."""

from collections.abc import Iterable
from typing import Any

from chassis.problems import MEDIA_TYPE, problem_body
from contracts.errors import ServiceError
from gateway.refusals import MethodNotAllowed

Send = Any  # an ASGI send
Headers = Iterable[tuple[bytes, bytes]]


async def send_answer(send: Send, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
    """Answer `body` at once."""
    fields = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_problem(send: Send, error: ServiceError, path: bytes, trace_id: bytes, headers: Headers = ()) -> None:
    """Answer `error` as an RFC 9457 problem with the headers that its status asks for."""
    fields: list[tuple[bytes, bytes]] = [(b"cache-control", b"no-store"), *headers]
    if error.status == 401:
        challenge = b'Bearer error="invalid_token"' if error.code == "invalid_token" else b"Bearer"
        fields.append((b"www-authenticate", challenge))
    if error.retry_after_s is not None:
        fields.append((b"retry-after", str(error.retry_after_s).encode()))
    elif error.status == 503:
        fields.append((b"retry-after", b"2"))
    if error.status in (408, 413):
        fields.append((b"connection", b"close"))  # the rest of the body is not wanted
    if isinstance(error, MethodNotAllowed):
        fields.append((b"allow", error.allow.encode()))
    body = problem_body(
        error.status, error.code, error.title, error.detail, path.decode("latin-1"), trace_id.decode(), error.errors
    )
    await send_answer(send, error.status, MEDIA_TYPE.encode(), body, fields)
