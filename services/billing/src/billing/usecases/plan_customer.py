"""Writes down a tenant's own customer, and what a provider is to be asked for it."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain.charging import CUSTOMER, CustomerRequest, NewCustomer, customer_stem
from billing.domain.customers import Customer, SoldBy
from billing.domain.identifiers import new_id
from billing.domain.provider_accounts import ProviderAccount
from billing.domain.providers import Provider
from billing.domain.tax_ids import read_tax_id
from billing.usecases.plan_call import plan_call
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid


class PlannedCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """The customer, and the key of the call that makes it known; None where the provider keeps no customers for us."""

    customer_id: UUID
    key: str | None


async def plan_customer(
    conn: Connection, tenant_id: UUID, account: ProviderAccount, wanted: NewCustomer, *, box: SecretBox, now: datetime
) -> PlannedCustomer:
    """The customer, new or that of the lead brought up to date; `register_customer` then makes it known there.

    Raises Invalid for a tax id that is none.
    """
    tax_id = read_tax_id(wanted.tax_id) if wanted.tax_id else None
    if wanted.tax_id and tax_id is None:
        raise Invalid("The customer is refused.", errors=(FieldError("$.cpfCnpj", "is neither a CPF nor a CNPJ"),))
    known = await store.customers.list_customers_of_lead(conn, tenant_id, wanted.lead_id) if wanted.lead_id else []
    current = next((one for one in reversed(known) if one.sold_by is SoldBy.TENANT and one.erased_at is None), None)
    customer_id = current.id if current else new_id(now)
    customer = Customer(
        id=customer_id,
        tenant_id=tenant_id,
        sold_by=SoldBy.TENANT,
        email=wanted.email.lower() if wanted.email else (current.email if current else None),
        name=wanted.name,
        tax_id=_sealed(box, tenant_id, customer_id, tax_id) or (current.tax_id if current else None),
        phone=wanted.phone or (current.phone if current else None),
        lead_id=wanted.lead_id,
        is_provisional=False,
        created_at=current.created_at if current else now,
        updated_at=now,
        erased_at=None,
    )
    await store.customers.upsert_customer(conn, tenant_id, customer)
    if account.provider is not Provider.ASAAS:
        return PlannedCustomer(customer_id=customer_id, key=None)
    stem = customer_stem(customer_id, account.id)
    # A refusal is kept under its key: what was mended is asked for under the next one.
    number = await store.provider_calls.count_refused(conn, tenant_id, account.provider.value, stem)
    await plan_call(
        conn,
        tenant_id,
        provider=account.provider.value,
        account_id=account.id,
        operation=CUSTOMER,
        key=f"{stem}{number}",
        params=CustomerRequest(reference=customer_id, fields=_fields(wanted)),
        now=now,
    )
    return PlannedCustomer(customer_id=customer_id, key=f"{stem}{number}")


def _fields(wanted: NewCustomer) -> dict[str, object]:
    """What the provider is told, less the tax id: a call's parameters are stored as they are."""
    known = {"name": wanted.name, "email": wanted.email, "mobilePhone": wanted.phone} | wanted.fields
    return {name: one for name, one in known.items() if one is not None and name != "cpfCnpj"}


def _sealed(box: SecretBox, tenant_id: UUID, customer_id: UUID, tax_id: str | None) -> bytes | None:
    return box.seal(tax_id, tenant_id, "customers", customer_id) if tax_id else None
