"""Makes a tenant's customer known at its provider, and notes what it is called there."""

from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts
from billing.asaas_api import AsaasApi
from billing.domain.charging import CUSTOMER, CustomerMade, CustomerRequest
from billing.domain.providers import Provider, ProviderMisconfigured
from billing.usecases.call_provider import call_provider
from billing.usecases.open_payer import open_payer
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.secrets import SecretBox
from contracts.errors import BadGateway, NotFound


async def register_customer(
    db: Database,
    accounts: Accounts,
    tenant_id: UUID,
    *,
    provider: Provider,
    account_id: UUID,
    key: str,
    box: SecretBox,
    clock: Clock,
) -> tuple[UUID, str]:
    """The customer of ours, and what the provider calls it; `plan_customer` wrote the call down under `key`.

    A person whom the account knew already is one customer of ours, whichever row was written for them last. Raises
    what `call_provider` does.
    """
    async with transaction(db, tenant_id) as conn:
        call = await store.provider_calls.find_call(conn, tenant_id, provider.value, key)
        if call is None:
            raise NotFound("no such call")
        request = msgspec.convert(call.params, CustomerRequest)
        customer = await store.customers.get_customer(conn, tenant_id, request.reference)
        payer = await open_payer(conn, customer, box=box, provider=provider, account_id=account_id)
        api = await accounts.open(conn, tenant_id, account_id, provider)
    if not isinstance(api, AsaasApi):
        raise ProviderMisconfigured(f"{provider.value} keeps no customers")

    async def ask(planned: CustomerRequest, _: str) -> CustomerMade:
        fields = planned.fields | ({"cpfCnpj": payer.tax_id} if payer.tax_id else {})
        raw = await api.register_customer(fields, reference=str(planned.reference))
        if not isinstance(external_id := raw.get("id"), str):
            raise BadGateway("Asaas answered a customer without an id.")
        return CustomerMade(external_id=external_id)

    made = await call_provider(
        db,
        tenant_id,
        provider=provider,
        account_id=account_id,
        operation=CUSTOMER,
        key=key,
        params=request,
        ask=ask,
        answer=CustomerMade,
        clock=clock,
    )
    async with transaction(db, tenant_id) as conn:
        mine = await store.directory.insert_object(
            conn,
            tenant_id,
            provider=provider.value,
            account_id=account_id,
            kind="customer",
            external_id=made.external_id,
            object_id=request.reference,
        )
        found = await store.directory.find_object(
            conn, provider=provider.value, account_id=account_id, kind="customer", external_id=made.external_id
        )
        customer_id = request.reference if mine or found is None else found.object_id
        await store.customers.upsert_external_id(
            conn, tenant_id, customer_id, provider.value, account_id, made.external_id, clock()
        )
    return customer_id, made.external_id
