"""Tells the administrator by mail when what passes the edge stalls: once an hour for each service and reason.

Seed 002's three alarms. They are here because every answer passes here, and who is away cannot tell it themselves.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from bus.messages import Outgoing as Message
from contracts.errors import ServiceError, Unavailable
from contracts.mailer import MAIL_QUEUE, MailJob
from gateway.metrics import RouteCount, slow_answers
from gateway.proxy import Outgoing, fetch
from gateway.stalls import Figures, Stall, Stalls
from gateway.upstream.connection import ClientGone, ConnectionFailed
from gateway.upstream.pool import Upstream

EVERY_S: Final = 30.0
_PROBE_S: Final = 5.0
_TITLES: Final = {"away": "Serviço fora do ar", "errors": "Erros demais", "slow": "Respostas lentas"}
#: The platform's own look; the gateway knows no tenant's.
_BRAND: Final = {"brand_name": "Backoffice", "brand_color": "#D62598"}
_log = structlog.get_logger("gateway.watch")
Publish = Callable[[Message], Awaitable[None]]


class Watch:
    """One gateway's eye on the services behind it."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        counts: Mapping[str, tuple[list[RouteCount], list[RouteCount]]],
        publish: Publish,
        admin_email: str | None,
    ) -> None:
        """`counts` are those of each service's routes, and of those among them that are meant to be quick."""
        self._upstreams = upstreams
        self._counts = counts
        self._publish = publish
        self._admin_email = admin_email
        self._stalls = Stalls()
        self._told: set[str] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Looks every EVERY_S until `stopping`; a mail that the broker does not take is tried again the next time."""
        looking = asyncio.create_task(self._look())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({looking, stop}, return_when=asyncio.FIRST_COMPLETED)
        for task in (looking, stop):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            are_there = await asyncio.gather(*map(_is_ready, self._upstreams.values()))
            for service, is_there in zip(self._upstreams, are_there, strict=True):
                for stall in self._stalls.note(service, self._figures(service), time.monotonic(), is_there=is_there):
                    await self._tell(stall, datetime.now(UTC))

    def _figures(self, service: str) -> Figures:
        every, quick = self._counts[service]
        return Figures(
            answers=sum(sum(count.answers[1:]) for count in every),
            errors=sum(count.answers[5] for count in every),
            slow=sum(map(slow_answers, quick)),
        )

    async def _tell(self, stall: Stall, now: datetime) -> None:
        # The same key from every gateway: the mailer sends one mail.
        key = f"edge-stall:{stall.kind}:{stall.service}:{now:%Y%m%d%H}"
        if key in self._told:
            return
        _log.warning("journey.stalled", service=stall.service, kind=stall.kind)
        if self._admin_email is not None:
            message = f"{stall.service}: {stall.message}."
            job = MailJob(
                to=self._admin_email,
                template="admin_alert",
                variables={
                    "title": _TITLES[stall.kind],
                    "message": message,
                    "at": now.isoformat(timespec="seconds"),
                    **_BRAND,
                },
                idempotency_key=key,
            )
            try:
                await self._publish(
                    Message(
                        exchange="",
                        routing_key=MAIL_QUEUE,
                        body=msgspec.json.encode(job),
                        message_id=key,
                        content_type="application/json",
                    )
                )
            except Unavailable as error:
                _log.warning("journey.not_told", error=error.detail)
                return
        self._told = {one for one in self._told if one.endswith(key[-10:])} | {key}


async def _is_ready(upstream: Upstream) -> bool:
    """Whether the service says that it can work. It is asked past nobody's limit, but through the breaker."""

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError  # nobody disconnects

    head = b"GET /health/ready" + upstream.request_line_end
    request = Outgoing("GET", head, has_body=False, content_length=None, body_limit_bytes=0, timeout_s=_PROBE_S)
    try:
        async with asyncio.timeout(_PROBE_S * 2):
            connection = await fetch(upstream, request, receive)
            try:
                while await connection.read():
                    pass
            finally:
                upstream.release(connection)
    except (ServiceError, ConnectionFailed, ClientGone, TimeoutError):
        return False
    return connection.status == 200
