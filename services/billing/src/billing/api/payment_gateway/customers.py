"""A tenant's customers over HTTP, in the first dialect."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing import store
from billing.accounts import Accounts
from billing.api.payment_gateway.answers import Answer, answer
from billing.api.payment_gateway.customer_shapes import CustomerFields, CustomerView, customer_view
from billing.api.seed_errors import seed_errors
from billing.domain.customers import SoldBy
from billing.domain.providers import Provider
from billing.usecases.choose_account import choose_account
from billing.usecases.plan_customer import PlannedCustomer, plan_customer
from billing.usecases.register_customer import register_customer
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from chassis.secrets import SecretBox
from contracts.errors import NotFound


class CustomerIn(CustomerFields, frozen=True, kw_only=True, rename="camel"):
    """A customer to make known at `gateway`."""

    gateway: Provider


@post(
    "/payment-gateway/customers",
    guards=[requires("billing:write")],
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def post_customer(
    data: JSONBody[CustomerIn],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
) -> Answer[CustomerView]:
    """Makes a customer known at the provider, or finds it there. An Idempotency-Key does so once."""
    return answer(*await make_customer(data, data.gateway, request, db, identity, clock, box, accounts))


@get(
    "/payment-gateway/customers/lead/{lead_id:str}",
    guards=[requires("billing:read")],
    exception_handlers=seed_errors("error"),
)
async def get_customer_of_lead(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    box: NamedDependency[SecretBox],
    lead_id: FromPath[str],
    gateway: Annotated[Provider, QueryParameter()],
) -> Answer[CustomerView]:
    """The customer that a lead of the CRM's is at that provider."""
    return answer(await find_of_lead(lead_id, gateway, db, identity, box))


async def make_customer(
    data: CustomerFields,
    gateway: Provider,
    request: StrictRequest,
    db: Database,
    identity: Identity,
    clock: Clock,
    box: SecretBox,
    accounts: Accounts,
) -> tuple[CustomerView, dict[str, str]]:
    """The customer, for either dialect, and the headers that say whether this is a repeated answer."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        account = await choose_account(conn, tenant_id, gateway)

    async def plan(conn: Connection) -> PlannedCustomer:
        return await plan_customer(conn, tenant_id, account, data.wanted(), box=box, now=clock())

    stored = await once(request, db, data, plan, status=200)
    planned = msgspec.json.decode(stored.content, type=PlannedCustomer)
    customer_id: UUID = planned.customer_id
    external_id: str | None = None
    if planned.key is not None:
        customer_id, external_id = await register_customer(
            db, accounts, tenant_id, provider=gateway, account_id=account.id, key=planned.key, box=box, clock=clock
        )
    async with transaction(db, tenant_id) as conn:
        customer = await store.customers.get_customer(conn, tenant_id, customer_id)
    tax_id = box.open(customer.tax_id, tenant_id, "customers", customer.id) if customer.tax_id else None
    view = customer_view(customer, gateway, external_id, tax_id=tax_id, sent=data)
    return view, dict(stored.headers)


async def find_of_lead(
    lead_id: str, gateway: Provider, db: Database, identity: Identity, box: SecretBox
) -> CustomerView:
    """The lead's customer, for either dialect. Raises NotFound."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        account = await choose_account(conn, tenant_id, gateway)
        for customer in reversed(await store.customers.list_customers_of_lead(conn, tenant_id, lead_id)):
            external_id = await store.customers.find_external_id(
                conn, tenant_id, customer.id, gateway.value, account.id
            )
            if customer.sold_by is SoldBy.TENANT and (external_id is not None or gateway is not Provider.ASAAS):
                tax_id = box.open(customer.tax_id, tenant_id, "customers", customer.id) if customer.tax_id else None
                return customer_view(customer, gateway, external_id, tax_id=tax_id, sent=None)
    raise NotFound("Customer not found")


ROUTES: list[Any] = [post_customer, get_customer_of_lead]
