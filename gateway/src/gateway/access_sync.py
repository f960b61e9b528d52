"""Keeps the access book up: a snapshot when its queue is bound, events from then on, a snapshot again now and then."""

import asyncio
import contextlib
from typing import Final

import msgspec
import structlog

from bus.connection import Broker
from bus.envelope import Envelope
from bus.follower import follow
from bus.messages import Outgoing as Message
from contracts.errors import Malformed, ServiceError, Unavailable
from contracts.tenants import AccessSnapshot
from gateway.access_book import FOLLOWED, AccessBook
from gateway.identity import IdentityHeaders
from gateway.proxy import Outgoing, fetch
from gateway.tokens import Principal
from gateway.upstream.connection import ClientGone, ConnectionFailed
from gateway.upstream.pool import Upstream

_TIMEOUT_S: Final = 5.0
_PUBLISH_WITHIN_S: Final = 2.0
_MAX_BYTES: Final = 64 * 1024 * 1024
#: While the broker is away, this is how soon a revocation is seen; with it, only what an event lost would need it.
_POLL_WITHOUT_BROKER_S: Final = 1.5
_POLL_S: Final = 60.0
_GATEWAY: Final = Principal(subject="gateway", kind="gateway")
_log = structlog.get_logger("gateway.access")


class AccessSync:
    """One gateway's link to the tenants service."""

    def __init__(self, book: AccessBook, upstream: Upstream, identities: IdentityHeaders, amqp_url: str) -> None:
        self._book = book
        self._upstream = upstream
        self._identities = identities
        self._broker = Broker(amqp_url, name="gateway")
        self._loading = asyncio.Lock()

    async def publish(self, message: Message) -> None:
        """Over the same connection. Raises Unavailable while there is none, or nobody took it."""
        if not await self._broker.ready_to_publish(_PUBLISH_WITHIN_S):
            raise Unavailable("The broker is away.")
        await self._broker.publish(message)

    async def run(self, stopping: asyncio.Event) -> None:
        """Follows and polls until `stopping`; what fails is tried again."""
        await self._broker.start()
        polling = asyncio.create_task(self._poll(stopping))
        try:
            await follow(
                self._broker,
                list(FOLLOWED),
                on_attached=self._load,
                on_event=self._apply,
                stopping=stopping,
            )
        finally:
            polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await polling
            await self._broker.close()

    async def _poll(self, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        loaded_at = loop.time()
        while not stopping.is_set():
            await asyncio.sleep(_POLL_WITHOUT_BROKER_S)
            if self._broker.connected and self._book.is_loaded and loop.time() - loaded_at < _POLL_S:
                continue
            try:
                await self._load()
                await self._report_uses()
                loaded_at = loop.time()
            except (ServiceError, OSError) as error:
                _log.warning("access.not_loaded", error=str(error))

    def _apply(self, envelope: Envelope) -> None:
        try:
            self._book.apply(envelope)
        except Malformed as error:
            _log.warning("access.event_passed_over", type=envelope.type, error=error.detail)

    async def _load(self) -> None:
        async with self._loading:
            raw = await self._ask("GET", b"/internal/access-snapshot", b"")
            self._book.load(msgspec.json.decode(raw, type=AccessSnapshot))

    async def _report_uses(self) -> None:
        uses = self._book.take_uses()
        if uses:
            await self._ask("POST", b"/internal/api-key-uses", msgspec.json.encode({"uses": uses}))

    async def _ask(self, method: str, path: bytes, body: bytes) -> bytes:
        """The 2xx answer's body. Raises Unavailable."""
        identity = self._identities.line(_GATEWAY, None, "tenants")
        kind = b"content-type: application/json\r\n" if body else b""
        head = b"".join((method.encode(), b" ", path, self._upstream.request_line_end, identity, kind))
        request = Outgoing(
            method,
            head,
            has_body=bool(body),
            content_length=len(body) or None,
            body_limit_bytes=max(1, len(body)),
            timeout_s=_TIMEOUT_S,
        )
        parts = [body]

        async def receive() -> dict[str, object]:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError  # nobody disconnects

        try:
            async with asyncio.timeout(_TIMEOUT_S):
                connection = await fetch(self._upstream, request, receive)
                try:
                    raw = bytearray()
                    while part := await connection.read():
                        raw += part
                        if len(raw) > _MAX_BYTES:
                            raise Unavailable("the tenants service's answer has no end")
                finally:
                    self._upstream.release(connection)
        except (ConnectionFailed, ClientGone, TimeoutError) as error:
            raise Unavailable(f"the tenants service cannot be asked: {error!r}") from error
        if not 200 <= connection.status < 300:
            raise Unavailable(f"the tenants service answered {connection.status}")
        return bytes(raw)
