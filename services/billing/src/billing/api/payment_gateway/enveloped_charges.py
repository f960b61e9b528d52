"""Charges as the second of seed 002's front ends speaks of them: other paths, and answers in an envelope."""

from datetime import date, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing.api.payment_gateway.answers import Answer, Envelope, enveloped
from billing.api.payment_gateway.charge_shapes import ChargeFields, ChargeView, RefundFields, charge_view
from billing.api.payment_gateway.charges import CustomerName
from billing.api.payment_gateway.charging import (
    DESK,
    READ,
    Desk,
    Limit,
    Offset,
    current_charge,
    customer_of,
    list_own_charges,
    make_charge,
    own_charge,
    pix_of,
    refund_charge,
)
from billing.api.seed_errors import seed_errors
from billing.domain.brazil_days import start_of_day
from billing.domain.payments import Payment
from billing.domain.providers import Provider
from billing.usecases.cancel_charge import cancel_charge
from chassis.body_guard import StrictRequest
from chassis.identity import requires
from contracts.errors import NotFound

WRITE: Final = [requires("billing:write")]

LeadFilter = Annotated[str | None, QueryParameter(name="leadId", min_length=1, max_length=100)]
StatusFilter = Annotated[str | None, QueryParameter(min_length=1, max_length=40)]
StartDate = Annotated[date | None, QueryParameter(name="startDate")]
EndDate = Annotated[date | None, QueryParameter(name="endDate")]


class CustomerChargeIn(ChargeFields, frozen=True, kw_only=True, rename="camel"):
    """A charge to make; `customerId` is the provider's id of a customer, or ours."""

    customer_id: CustomerName


class PixView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A PIX code: its image as a PNG in Base64, and the text to paste."""

    qr_code: str
    copy_paste: str


@get("/payment-gateway/{gateway:str}/charges", guards=READ, dependencies=DESK, exception_handlers=seed_errors("error"))
async def list_gateway_charges(
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    lead_id: LeadFilter = None,
    status: StatusFilter = None,
    start_date: StartDate = None,
    end_date: EndDate = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Answer[Envelope[list[ChargeView]]]:
    """The tenant's charges, newest first, as they were last heard of; the dates are days of their making."""
    rows = await list_own_charges(
        desk,
        gateway,
        lead_id=lead_id,
        status=status,
        start=start_of_day(start_date) if start_date else None,
        end=start_of_day(end_date + timedelta(days=1)) if end_date and end_date < date.max else None,
        limit=limit,
        offset=offset,
    )
    return enveloped([charge_view(row, customer) for row, customer in rows])


@post(
    "/payment-gateway/{gateway:str}/charges",
    guards=WRITE,
    status_code=200,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def post_gateway_charge(
    data: JSONBody[CustomerChargeIn],
    request: StrictRequest,
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
) -> Answer[Envelope[ChargeView]]:
    """Charges a customer of the tenant's. An Idempotency-Key charges once."""
    payment, headers = await make_charge(desk, data, gateway, data.customer_id, request)
    return enveloped(charge_view(payment, await customer_of(desk, payment)), headers)


@get(
    "/payment-gateway/{gateway:str}/charges/{charge_id:str}",
    guards=READ,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def get_gateway_charge(
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[ChargeView]]:
    """A charge as its provider has it now."""
    found = await current_charge(desk, gateway, charge_id)
    if not isinstance(found, Payment):
        raise NotFound("no such charge")
    return enveloped(charge_view(found, await customer_of(desk, found)))


@post(
    "/payment-gateway/{gateway:str}/charges/{charge_id:str}/cancel",
    guards=WRITE,
    status_code=200,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def cancel_gateway_charge(
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[ChargeView]]:
    """Withdraws a charge that nobody has paid."""
    charge = await own_charge(desk, gateway, charge_id)
    payment = await cancel_charge(
        desk.db,
        desk.accounts,
        desk.tenant_id,
        charge.id,
        reason=f"withdrawn by {desk.identity.subject}"[:200],
        clock=desk.clock,
    )
    return enveloped(charge_view(payment, await customer_of(desk, payment)))


@post(
    "/payment-gateway/{gateway:str}/charges/{charge_id:str}/refund",
    guards=[requires("payments:refund")],
    status_code=200,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def refund_gateway_charge(
    data: JSONBody[RefundFields],
    request: StrictRequest,
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[ChargeView]]:
    """Gives `value` of a paid charge back, or what is left of it. An Idempotency-Key does so once."""
    payment, headers = await refund_charge(desk, data, gateway, charge_id, request)
    return enveloped(charge_view(payment, await customer_of(desk, payment)), headers)


@get(
    "/payment-gateway/{gateway:str}/charges/{charge_id:str}/pix-qrcode",
    guards=READ,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def get_gateway_charge_pix(
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[PixView]]:
    """A charge's PIX code."""
    pix = await pix_of(desk, gateway, charge_id)
    return enveloped(PixView(qr_code=pix.encoded_image, copy_paste=pix.payload))


ROUTES: list[Any] = [
    list_gateway_charges,
    post_gateway_charge,
    get_gateway_charge,
    cancel_gateway_charge,
    refund_gateway_charge,
    get_gateway_charge_pix,
]
