"""The gateway as the second of seed 002's front ends speaks it: other paths, and answers in an envelope."""

from datetime import date, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing import store
from billing.accounts import Accounts
from billing.api.payment_gateway.answers import Answer, Envelope, enveloped
from billing.api.payment_gateway.charges import CustomerName
from billing.api.payment_gateway.charging import (
    Desk,
    current_charge,
    customer_of,
    make_charge,
    own_charge,
    pix_of,
    refund_charge,
)
from billing.api.payment_gateway.config import GUARDS
from billing.api.payment_gateway.customers import find_of_lead, make_customer
from billing.api.payment_gateway.shapes import (
    ChargeFields,
    ChargeView,
    CustomerFields,
    CustomerView,
    RefundFields,
    charge_view,
)
from billing.api.seed_errors import seed_errors
from billing.domain.brazil_days import start_of_day
from billing.domain.charging import ChargeOptions
from billing.domain.payments import Payment
from billing.domain.providers import Provider
from billing.usecases.cancel_charge import cancel_charge
from billing.usecases.try_webhook import try_webhook
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.identity import Identity, requires
from chassis.secrets import SecretBox
from contracts.errors import NotFound

READ: Final = [requires("billing:read")]
WRITE: Final = [requires("billing:write")]

LeadFilter = Annotated[str | None, QueryParameter(name="leadId", min_length=1, max_length=100)]
StatusFilter = Annotated[str | None, QueryParameter(min_length=1, max_length=40)]
StartDate = Annotated[date | None, QueryParameter(name="startDate")]
EndDate = Annotated[date | None, QueryParameter(name="endDate")]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Offset = Annotated[int, QueryParameter(ge=0, le=100_000)]


class CustomerChargeIn(ChargeFields, frozen=True, kw_only=True, rename="camel"):
    """A charge to make; `customerId` is the provider's id of a customer, or ours."""

    customer_id: CustomerName


class PixView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A PIX code: its image as a PNG in Base64, and the text to paste."""

    qr_code: str
    copy_paste: str


class WebhookTrialView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether webhooks will come, in words."""

    success: bool
    message: str


@post(
    "/payment-gateway/{gateway:str}/customers", guards=WRITE, status_code=200, exception_handlers=seed_errors("error")
)
async def post_gateway_customer(
    data: JSONBody[CustomerFields],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    gateway: FromPath[Provider],
) -> Answer[Envelope[CustomerView]]:
    """Makes a customer known at the provider, or finds it there."""
    view, headers = await make_customer(data, gateway, request, db, identity, clock, box, accounts)
    return enveloped(view, headers)


@get(
    "/payment-gateway/{gateway:str}/customers/lead/{lead_id:str}",
    guards=READ,
    exception_handlers=seed_errors("error"),
)
async def get_gateway_customer_of_lead(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    box: NamedDependency[SecretBox],
    gateway: FromPath[Provider],
    lead_id: FromPath[str],
) -> Answer[Envelope[CustomerView]]:
    """The customer that a lead of the CRM's is at that provider."""
    return enveloped(await find_of_lead(lead_id, gateway, db, identity, box))


@get("/payment-gateway/{gateway:str}/charges", guards=READ, exception_handlers=seed_errors("error"))
async def list_gateway_charges(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
    gateway: FromPath[Provider],
    lead_id: LeadFilter = None,
    status: StatusFilter = None,
    start_date: StartDate = None,
    end_date: EndDate = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Answer[Envelope[list[ChargeView]]]:
    """The tenant's charges, newest first, as they were last heard of; the dates are days of their making."""
    desk = Desk(db, identity, clock, box, accounts, charge_options)
    async with transaction(db, desk.tenant_id) as conn:
        rows = await store.charges.list_charges(
            conn,
            desk.tenant_id,
            provider=gateway.value,
            lead_id=lead_id,
            status=status,
            start=start_of_day(start_date) if start_date else None,
            end=start_of_day(end_date + timedelta(days=1)) if end_date and end_date < date.max else None,
            limit=limit,
            offset=offset,
        )
        ids = [row.id for row in rows]
        names = await store.charges.list_customers(conn, desk.tenant_id, gateway.value, ids)
    return enveloped([charge_view(row, names.get(row.id)) for row in rows])


@post("/payment-gateway/{gateway:str}/charges", guards=WRITE, status_code=200, exception_handlers=seed_errors("error"))
async def post_gateway_charge(
    data: JSONBody[CustomerChargeIn],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
    gateway: FromPath[Provider],
) -> Answer[Envelope[ChargeView]]:
    """Charges a customer of the tenant's. An Idempotency-Key charges once."""
    desk = Desk(db, identity, clock, box, accounts, charge_options)
    payment, headers = await make_charge(desk, data, gateway, data.customer_id, request)
    return enveloped(charge_view(payment, await customer_of(desk, payment)), headers)


@get("/payment-gateway/{gateway:str}/charges/{charge_id:str}", guards=READ, exception_handlers=seed_errors("error"))
async def get_gateway_charge(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[ChargeView]]:
    """A charge as its provider has it now."""
    desk = Desk(db, identity, clock, box, accounts, charge_options)
    found = await current_charge(desk, gateway, charge_id)
    if not isinstance(found, Payment):
        raise NotFound("no such charge")
    return enveloped(charge_view(found, await customer_of(desk, found)))


@post(
    "/payment-gateway/{gateway:str}/charges/{charge_id:str}/cancel",
    guards=WRITE,
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def cancel_gateway_charge(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[ChargeView]]:
    """Withdraws a charge that nobody has paid."""
    desk = Desk(db, identity, clock, box, accounts, charge_options)
    charge = await own_charge(desk, gateway, charge_id)
    payment = await cancel_charge(
        db, accounts, desk.tenant_id, charge.id, reason=f"withdrawn by {identity.subject}"[:200], clock=clock
    )
    return enveloped(charge_view(payment, await customer_of(desk, payment)))


@post(
    "/payment-gateway/{gateway:str}/charges/{charge_id:str}/refund",
    guards=[requires("payments:refund")],
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def refund_gateway_charge(
    data: JSONBody[RefundFields],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[ChargeView]]:
    """Gives `value` of a paid charge back, or what is left of it. An Idempotency-Key does so once."""
    desk = Desk(db, identity, clock, box, accounts, charge_options)
    payment, headers = await refund_charge(desk, data, gateway, charge_id, request)
    return enveloped(charge_view(payment, await customer_of(desk, payment)), headers)


@get(
    "/payment-gateway/{gateway:str}/charges/{charge_id:str}/pix-qrcode",
    guards=READ,
    exception_handlers=seed_errors("error"),
)
async def get_gateway_charge_pix(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Envelope[PixView]]:
    """A charge's PIX code."""
    pix = await pix_of(Desk(db, identity, clock, box, accounts, charge_options), gateway, charge_id)
    return enveloped(PixView(qr_code=pix.encoded_image, copy_paste=pix.payload))


@post(
    "/payment-gateway/{gateway:str}/webhook/test",
    guards=GUARDS,
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def try_gateway_webhook(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
    gateway: FromPath[Provider],
) -> Answer[Envelope[WebhookTrialView]]:
    """Whether the provider's webhooks will come, and be believed: asks it how they are registered."""
    desk = Desk(db, identity, clock, box, accounts, charge_options)
    works, message = await try_webhook(db, accounts, desk.tenant_id, gateway)
    return enveloped(WebhookTrialView(success=works, message=message))


ROUTES: list[Any] = [
    post_gateway_customer,
    get_gateway_customer_of_lead,
    list_gateway_charges,
    post_gateway_charge,
    get_gateway_charge,
    cancel_gateway_charge,
    refund_gateway_charge,
    get_gateway_charge_pix,
    try_gateway_webhook,
]
