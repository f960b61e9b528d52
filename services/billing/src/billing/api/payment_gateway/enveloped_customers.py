"""A tenant's customers over HTTP, in the second dialect."""

from typing import Any

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing.accounts import Accounts
from billing.api.payment_gateway.answers import Answer, Envelope, enveloped
from billing.api.payment_gateway.customer_shapes import CustomerFields, CustomerView
from billing.api.payment_gateway.customers import find_of_lead, make_customer
from billing.api.seed_errors import seed_errors
from billing.domain.providers import Provider
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database
from chassis.identity import Identity, requires
from chassis.secrets import SecretBox


@post(
    "/payment-gateway/{gateway:str}/customers",
    guards=[requires("billing:write")],
    status_code=200,
    exception_handlers=seed_errors("error"),
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
    guards=[requires("billing:read")],
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


ROUTES: list[Any] = [post_gateway_customer, get_gateway_customer_of_lead]
