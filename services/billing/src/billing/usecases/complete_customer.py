"""Adds to a customer what its payer says now, and was not known."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain.customers import Customer
from billing.domain.pix_requests import PixPayer
from chassis.db import Connection
from chassis.secrets import SecretBox


async def complete_customer(
    conn: Connection, customer: Customer, payer: PixPayer, *, box: SecretBox, now: datetime
) -> Customer:
    """The customer with its missing name and address, and with the tax id that was given now, sealed.

    An address that is another customer's stays theirs; who was forgotten stays so.
    """
    if customer.erased_at is not None:
        return customer
    email = customer.email
    if email is None and await store.customers.find_platform_customer(conn, customer.tenant_id, payer.email) is None:
        email = payer.email
    tax_id = customer.tax_id
    if payer.tax_id is not None:
        tax_id = box.seal(payer.tax_id, customer.tenant_id, "customers", customer.id)
    changed = msgspec.structs.replace(customer, name=customer.name or payer.name, email=email, tax_id=tax_id)
    if changed == customer:
        return customer
    changed = msgspec.structs.replace(changed, updated_at=now)
    await store.customers.upsert_customer(conn, customer.tenant_id, changed)
    return changed
