"""Asaas' webhook queues: whether one is paused, and the way to let it go on."""

import msgspec

from billing.asaas_api.connection import every, path
from billing.asaas_api.states import read
from billing.provider_http import ProviderHttp


class WebhookQueue(msgspec.Struct, frozen=True, kw_only=True):
    """One registered webhook. An interrupted one holds its events back, and loses those older than 14 days."""

    external_id: str
    url: str
    enabled: bool
    interrupted: bool


class _Queue(msgspec.Struct, kw_only=True):
    id: str
    url: str = ""
    enabled: bool = True
    interrupted: bool = False


async def webhook_queue_state(http: ProviderHttp) -> tuple[WebhookQueue, ...]:
    """The account's webhooks, at most ten."""
    queues = [read(one, _Queue) async for one in every(http, "/webhooks", {})]
    return tuple(
        WebhookQueue(external_id=one.id, url=one.url, enabled=one.enabled, interrupted=one.interrupted)
        for one in queues
    )


async def resume_webhook_queue(http: ProviderHttp, external_id: str) -> None:
    """Lets a paused queue go on."""
    await http.ask("PUT", path("webhooks", external_id), json={"interrupted": False})
