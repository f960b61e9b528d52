"""Charges over HTTP, in the first dialect: the provider's own objects."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing import store
from billing.api.payment_gateway.answers import Answer, answer
from billing.api.payment_gateway.charge_shapes import ChargeFields, Reference, RefundFields, raw_charge, stranger
from billing.api.payment_gateway.charging import (
    DESK,
    READ,
    Desk,
    Limit,
    Offset,
    PixImage,
    Raw,
    current_charge,
    customer_of,
    list_own_charges,
    make_charge,
    pix_of,
    refund_charge,
)
from billing.api.seed_errors import seed_errors
from billing.asaas_api import AsaasApi
from billing.domain.payments import Payment
from billing.domain.providers import NotAtProvider, Provider
from billing.domain.raw_objects import reference_in, shown
from billing.usecases.choose_account import choose_account
from chassis.body_guard import StrictRequest
from chassis.db import transaction
from chassis.identity import requires
from contracts.errors import NotFound

CustomerName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Filter = Annotated[str | None, QueryParameter(min_length=1, max_length=100)]
CreatedFrom = Annotated[date | None, QueryParameter(name="dateCreated_ge")]
CreatedTo = Annotated[date | None, QueryParameter(name="dateCreated_le")]
PaidFrom = Annotated[date | None, QueryParameter(name="paymentDate_ge")]
PaidTo = Annotated[date | None, QueryParameter(name="paymentDate_le")]
DueFrom = Annotated[date | None, QueryParameter(name="dueDate_ge")]
DueTo = Annotated[date | None, QueryParameter(name="dueDate_le")]
BillingTypeFilter = Annotated[str | None, QueryParameter(name="billingType", max_length=20)]
ReferenceFilter = Annotated[str | None, QueryParameter(name="externalReference", min_length=1, max_length=100)]


class ChargeIn(ChargeFields, frozen=True, kw_only=True, rename="camel"):
    """A charge to make at `gateway`; `customer` is the provider's id of a customer, or ours."""

    gateway: Provider
    customer: CustomerName


@post(
    "/payment-gateway/charges",
    guards=[requires("billing:write")],
    status_code=200,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def post_charge(
    data: JSONBody[ChargeIn],
    request: StrictRequest,
    desk: NamedDependency[Desk],
) -> Answer[Raw]:
    """Charges a customer of the tenant's; answers the provider's own object. An Idempotency-Key charges once."""
    payment, headers = await make_charge(desk, data, data.gateway, data.customer, request)
    return answer(raw_charge(payment, await customer_of(desk, payment)), headers)


@get("/payment-gateway/charges/{gateway:str}", guards=READ, dependencies=DESK, exception_handlers=seed_errors("error"))
async def list_charges(
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    limit: Limit = 10,
    offset: Offset = 0,
    customer: Filter = None,
    status: Filter = None,
    billing_type: BillingTypeFilter = None,
    external_reference: ReferenceFilter = None,
    created_from: CreatedFrom = None,
    created_to: CreatedTo = None,
    paid_from: PaidFrom = None,
    paid_to: PaidTo = None,
    due_from: DueFrom = None,
    due_to: DueTo = None,
) -> Answer[Raw]:
    """Charges, as Asaas lists them. Asaas' own list is what its account has; PagBank has none: ours is answered.

    Charges of an `externalReference` are found among ours: at the provider they bear our id.
    """
    if gateway is not Provider.ASAAS or external_reference is not None:
        return answer(await _listed(desk, gateway, external_reference, status, limit, offset))
    filters = {
        "customer": customer,
        "status": status,
        "billingType": billing_type,
        "dateCreated[ge]": created_from,
        "dateCreated[le]": created_to,
        "paymentDate[ge]": paid_from,
        "paymentDate[le]": paid_to,
        "dueDate[ge]": due_from,
        "dueDate[le]": due_to,
    }
    async with transaction(desk.db, desk.tenant_id) as conn:
        account = await choose_account(conn, desk.tenant_id, gateway)
    api = await desk.accounts.of_account(account)
    assert isinstance(api, AsaasApi)
    given = {name: str(value) for name, value in filters.items() if value is not None}
    try:
        page = await api.list_payments(given, offset=offset, limit=limit)
    except NotAtProvider:
        raise NotFound("no such charges") from None
    found = [state.raw for state in page.payments]
    ids = [payment_id for raw in found if (payment_id := reference_in(raw)) is not None]
    async with transaction(desk.db, desk.tenant_id) as conn:
        words = await store.charges.list_references(conn, desk.tenant_id, ids)
    return answer(page.raw | {"data": [_in_their_words(raw, words) for raw in found]})


@get(
    "/payment-gateway/charges/{gateway:str}/{charge_id:str}",
    guards=READ,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def get_charge(
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Raw]:
    """A charge as its provider has it now."""
    found = await current_charge(desk, gateway, charge_id)
    if isinstance(found, Payment):
        return answer(raw_charge(found, await customer_of(desk, found)))
    return answer(stranger(found.raw))


@get(
    "/payment-gateway/charges/{gateway:str}/{charge_id:str}/pix",
    guards=READ,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def get_charge_pix(
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[PixImage]:
    """A charge's PIX code, with its image."""
    return answer(await pix_of(desk, gateway, charge_id))


@post(
    "/payment-gateway/charges/{gateway:str}/{charge_id:str}/refund",
    guards=[requires("payments:refund")],
    status_code=200,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def post_charge_refund(
    data: JSONBody[RefundFields],
    request: StrictRequest,
    desk: NamedDependency[Desk],
    gateway: FromPath[Provider],
    charge_id: FromPath[str],
) -> Answer[Raw]:
    """Gives `value` of a paid charge back, or what is left of it. An Idempotency-Key does so once."""
    payment, headers = await refund_charge(desk, data, gateway, charge_id, request)
    return answer(raw_charge(payment, await customer_of(desk, payment)), headers)


async def _listed(
    desk: Desk, gateway: Provider, reference: Reference | None, status: str | None, limit: int, offset: int
) -> Raw:
    rows = await list_own_charges(desk, gateway, reference=reference, status=status, limit=limit + 1, offset=offset)
    return {
        "object": "list",
        "hasMore": len(rows) > limit,
        "limit": limit,
        "offset": offset,
        "data": [raw_charge(row, customer) for row, customer in rows[:limit]],
    }


def _in_their_words(raw: dict[str, Any], words: dict[UUID, str | None]) -> Raw:
    payment_id = reference_in(raw)
    return shown(raw, words[payment_id]) if payment_id in words else stranger(raw)


ROUTES: list[Any] = [post_charge, list_charges, get_charge, get_charge_pix, post_charge_refund]
