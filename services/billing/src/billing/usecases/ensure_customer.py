"""Finds or makes the customer row of a buyer of the platform's, and keeps strangers from changing somebody's."""

from datetime import datetime
from typing import Any

import msgspec

from billing import store
from billing.domain.buyers import Buyer
from billing.domain.customers import Customer, SoldBy
from billing.domain.identifiers import new_id
from chassis.db import Connection
from chassis.secrets import SecretBox


async def ensure_customer(conn: Connection, buyer: Buyer, *, box: SecretBox, now: datetime) -> Customer:
    """The one customer row of the buyer's tenant and address, locked.

    What the buyer says of themselves is taken over where it is theirs to say: signed in, or of a tenant that nobody
    owns yet. Whoever only knows somebody's address changes nothing of theirs.
    """
    customer = await _find(conn, buyer)
    if customer is None:
        fresh = Customer(
            id=new_id(now),
            tenant_id=buyer.tenant_id,
            sold_by=SoldBy.PLATFORM,
            email=buyer.email,
            name=buyer.name,
            tax_id=None,
            phone=None,
            lead_id=None,
            is_provisional=buyer.is_new_tenant,
            created_at=now,
            updated_at=now,
            erased_at=None,
        )
        if buyer.tax_id is not None:
            fresh = msgspec.structs.replace(
                fresh, tax_id=box.seal(buyer.tax_id, buyer.tenant_id, "customers", fresh.id)
            )
        if await store.customers.insert_platform_customer(conn, buyer.tenant_id, fresh):
            return fresh
        customer = await _find(conn, buyer)
        assert customer is not None  # who was faster has committed
    if not (buyer.is_signed_in or (buyer.is_new_tenant and customer.is_provisional)):
        return customer
    said: dict[str, Any] = {}
    if buyer.name is not None and buyer.name != customer.name:
        said["name"] = buyer.name
    if buyer.tax_id is not None:
        said["tax_id"] = box.seal(buyer.tax_id, buyer.tenant_id, "customers", customer.id)
    if not said:
        return customer
    changed = msgspec.structs.replace(customer, **said, updated_at=now)
    await store.customers.upsert_customer(conn, buyer.tenant_id, changed)
    return changed


async def _find(conn: Connection, buyer: Buyer) -> Customer | None:
    if buyer.email is None:
        return await store.customers.find_latest_platform_customer(conn, buyer.tenant_id)
    return await store.customers.find_platform_customer(conn, buyer.tenant_id, buyer.email)
