"""Webhooks of payment providers: verified, stored once, and only then answered. The work is the consumer's.

The body is read as it came, because signatures cover bytes. No tenant is taken from a query or a header, and no header
is kept. What is not verified is refused: Stripe's with 400, the others' with 401 (Asaas' at seed 002's site with 400).
Everything that is verified is answered with 200, whatever it is about: an event that is refused would stop Asaas' whole
queue.
"""

import hmac
from typing import Any, Final

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.openapi import ResponseSpec
from litestar.params import FromPath

from billing.api.intake import Intake
from billing.api.seed_errors import seed_errors
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.identifiers import new_id
from billing.domain.pix_notices import read_pix_notices
from billing.domain.provider_events import EventSource, NewProviderEvent
from billing.domain.providers import Provider, SignatureRefused
from billing.usecases.recognise_webhook import Delivery
from billing.usecases.store_webhooks import store_webhooks
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database
from contracts.errors import Malformed, NotFound, Unauthenticated

_RECEIVED: Final = b'{"received":true}'
_SIGNATURE_OF: Final = {
    Provider.STRIPE: "stripe-signature",
    Provider.ASAAS: "asaas-access-token",
    Provider.PAGBANK: "x-authenticity-token",
}
_PAYLOAD_SIGNATURE: Final = "x-payload-signature"
_PIX_SECRET: Final = "x-webhook-secret"  # noqa: S105 - a header's name

#: What seed 002 registers and shows; it calls PagBank by its older name too.
_GATEWAYS: Final = {"asaas": Provider.ASAAS, "pagbank": Provider.PAGBANK, "pagseguro": Provider.PAGBANK}
_REFUSED_IN_TEXT: Final = {400: ResponseSpec(str, description="Refused", media_type=MediaType.TEXT)}


@post(["/stripe/webhook", "/billing/webhook", "/billing/webhook/stripe"], status_code=200)
async def receive_stripe(
    request: StrictRequest, db: NamedDependency[Database], intake: NamedDependency[Intake]
) -> Response[bytes]:
    """An event of Stripe's."""
    try:
        return await _receive(Provider.STRIPE, request, db, intake)
    except SignatureRefused as refusal:
        raise Malformed(f"Webhook Error: {refusal}", code="webhook_refused") from None


@post("/payments/webhook/stripe", status_code=200, responses=_REFUSED_IN_TEXT)
async def receive_stripe_of_site(
    request: StrictRequest, db: NamedDependency[Database], intake: NamedDependency[Intake]
) -> Response[bytes]:
    """The same at the address of seed 002's site, which refuses in plain text."""
    return await _receive_or_text(Provider.STRIPE, request, db, intake)


@post("/payments/webhook/asaas", status_code=200, responses=_REFUSED_IN_TEXT)
async def receive_asaas_of_site(
    request: StrictRequest, db: NamedDependency[Database], intake: NamedDependency[Intake]
) -> Response[bytes]:
    """An event of Asaas' at the address of seed 002's site, which refuses as it does Stripe's."""
    return await _receive_or_text(Provider.ASAAS, request, db, intake)


@post(["/payment-gateway/webhooks/asaas", "/webhooks/asaas"], status_code=200)
async def receive_asaas(
    request: StrictRequest, db: NamedDependency[Database], intake: NamedDependency[Intake]
) -> Response[bytes]:
    """An event of Asaas', which takes exactly 200 for an answer."""
    return await _receive_or_401(Provider.ASAAS, request, db, intake)


@post(
    ["/payments/webhook/pagseguro", "/payment-gateway/webhooks/pagbank", "/webhooks/pagbank"],
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def receive_pagbank(
    request: StrictRequest, db: NamedDependency[Database], intake: NamedDependency[Intake]
) -> Response[bytes]:
    """An order, a charge or a checkout of PagBank's."""
    return await _receive_or_401(Provider.PAGBANK, request, db, intake)


@post("/payment-gateway/webhook/{gateway:str}", status_code=200)
async def receive_of_gateway(
    request: StrictRequest,
    db: NamedDependency[Database],
    intake: NamedDependency[Intake],
    gateway: FromPath[str],
) -> Response[bytes]:
    """The address that seed 002's front end shows for either gateway."""
    provider = _GATEWAYS.get(gateway)
    if provider is None:
        raise NotFound("no such gateway")
    return await _receive_or_401(provider, request, db, intake)


def _by_whole_path(_: object, __: object, components: list[Any]) -> str:
    """Litestar's own ids leave a path's repeated part out, so that these two would be one."""
    return "".join(str(part).title() for part in components) + "ReceivePix"


@post(["/pix/webhook", "/pix/webhook/pix"], status_code=200, operation_id=_by_whole_path)
async def receive_pix(
    request: StrictRequest,
    db: NamedDependency[Database],
    intake: NamedDependency[Intake],
    clock: NamedDependency[Clock],
    pix_webhook_secrets: NamedDependency[tuple[str, ...]],
) -> Response[bytes]:
    """BACEN's notice of transfers, several in one body; or a provider's own event, told by its signature's header."""
    for provider, name in _SIGNATURE_OF.items():
        if name in request.headers or (provider is Provider.PAGBANK and _PAYLOAD_SIGNATURE in request.headers):
            return await _receive_or_401(provider, request, db, intake)
    given = (_header(request, _PIX_SECRET) or "").encode("latin-1")
    # Each is compared, so that the time does not tell which one was near.
    if True not in [hmac.compare_digest(given, secret.encode()) for secret in pix_webhook_secrets]:
        raise Unauthenticated(f"{_PIX_SECRET} is missing or wrong.", code="webhook_refused")
    now = clock()
    events = [
        NewProviderEvent(
            id=new_id(now), provider=EventSource.PIX, account_id=PLATFORM_ACCOUNT, notice=notice, payload=part
        )
        for notice, part in read_pix_notices(await request.body())
    ]
    await store_webhooks(db, events, now=now)
    return _received()


async def _receive_or_401(provider: Provider, request: StrictRequest, db: Database, intake: Intake) -> Response[bytes]:
    try:
        return await _receive(provider, request, db, intake)
    except SignatureRefused as refusal:
        raise Unauthenticated(f"The delivery is not verified: {refusal}.", code="webhook_refused") from None


async def _receive_or_text(provider: Provider, request: StrictRequest, db: Database, intake: Intake) -> Response[bytes]:
    try:
        return await _receive(provider, request, db, intake)
    except SignatureRefused as refusal:
        return Response(f"Webhook Error: {refusal}".encode(), status_code=400, media_type=MediaType.TEXT)


async def _receive(provider: Provider, request: StrictRequest, db: Database, intake: Intake) -> Response[bytes]:
    delivery = Delivery(
        provider=provider,
        raw=await request.body(),
        signature=_header(request, _SIGNATURE_OF[provider]),
        payload_signatures=request.headers.getall(_PAYLOAD_SIGNATURE, []) if provider is Provider.PAGBANK else (),
        content_type=_header(request, "content-type"),
    )
    await intake.receive(db, delivery)
    return _received()


def _header(request: StrictRequest, name: str) -> str | None:
    """The header's value; None for one that is missing, and for one that is there twice."""
    found = request.headers.getall(name, [])
    return found[0] if len(found) == 1 else None


def _received() -> Response[bytes]:
    return Response(_RECEIVED, status_code=200, media_type=MediaType.JSON)


ROUTES: Final[list[Any]] = [
    receive_stripe,
    receive_stripe_of_site,
    receive_asaas_of_site,
    receive_asaas,
    receive_pagbank,
    receive_of_gateway,
    receive_pix,
]
