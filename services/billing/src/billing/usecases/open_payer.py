"""Puts together who pays, as a provider has to be told."""

from uuid import UUID

from billing import store
from billing.domain.customers import Customer
from billing.domain.providers import Payer, Provider
from chassis.db import Connection
from chassis.secrets import SecretBox


async def open_payer(
    conn: Connection, customer: Customer, *, box: SecretBox, provider: Provider, account_id: UUID
) -> Payer:
    """The customer with its tax id opened, and under the name that it has at the provider's account."""
    external_id = await store.customers.find_external_id(
        conn, customer.tenant_id, customer.id, provider.value, account_id
    )
    tax_id = box.open(customer.tax_id, customer.tenant_id, "customers", customer.id) if customer.tax_id else None
    return Payer(
        email=customer.email or "",
        name=customer.name,
        tax_id=tax_id,
        phone=customer.phone,
        external_id=external_id,
    )
