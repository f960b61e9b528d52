"""Finds the customer that a charge names: ours, or one that the tenant's account had before it came here."""

from uuid import UUID

from billing import store
from billing.accounts import Accounts
from billing.asaas_api import AsaasApi
from billing.domain.customers import Customer, SoldBy
from billing.domain.identifiers import new_id
from billing.domain.provider_accounts import ProviderAccount
from billing.domain.providers import NotAtProvider
from billing.domain.tax_ids import read_tax_id
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid


async def adopt_customer(
    db: Database,
    accounts: Accounts,
    tenant_id: UUID,
    account: ProviderAccount,
    name: str,
    *,
    box: SecretBox,
    clock: Clock,
) -> Customer:
    """The customer called `name`: by our id, or by the account's own.

    One that only the account knows is written down here. Raises Invalid for one that neither knows.
    """
    async with transaction(db, tenant_id) as conn:
        customer = await _find(conn, tenant_id, account, name)
    if customer is not None:
        return customer
    api = await accounts.of_account(account)
    if not isinstance(api, AsaasApi):
        raise _unknown()
    try:
        raw = await api.get_customer(name)
    except NotAtProvider:
        raise _unknown() from None
    async with transaction(db, tenant_id) as conn:
        now = clock()
        adopted = _read(tenant_id, raw, customer_id=new_id(now), box=box, clock=clock)
        await store.customers.upsert_customer(conn, tenant_id, adopted)
        mine = await store.directory.insert_object(
            conn,
            tenant_id,
            provider=account.provider.value,
            account_id=account.id,
            kind="customer",
            external_id=name,
            object_id=adopted.id,
        )
        if not mine:  # somebody else was quicker
            return await _find(conn, tenant_id, account, name) or adopted
        await store.customers.upsert_external_id(
            conn, tenant_id, adopted.id, account.provider.value, account.id, name, now
        )
    return adopted


async def _find(conn: Connection, tenant_id: UUID, account: ProviderAccount, name: str) -> Customer | None:
    found = await store.directory.find_object(
        conn, provider=account.provider.value, account_id=account.id, kind="customer", external_id=name
    )
    try:
        customer_id = found.object_id if found else UUID(name)
    except ValueError:
        return None
    customer = await store.customers.find_customer(conn, tenant_id, customer_id)
    return customer if customer is not None and customer.sold_by is SoldBy.TENANT else None


def _read(tenant_id: UUID, raw: dict[str, object], *, customer_id: UUID, box: SecretBox, clock: Clock) -> Customer:
    tax_id = read_tax_id(_text(raw, "cpfCnpj") or "")
    email = _text(raw, "email")
    return Customer(
        id=customer_id,
        tenant_id=tenant_id,
        sold_by=SoldBy.TENANT,
        email=email.lower() if email else None,
        name=_text(raw, "name"),
        tax_id=box.seal(tax_id, tenant_id, "customers", customer_id) if tax_id else None,
        phone=_text(raw, "mobilePhone") or _text(raw, "phone"),
        lead_id=None,
        is_provisional=False,
        created_at=clock(),
        updated_at=clock(),
        erased_at=None,
    )


def _text(raw: dict[str, object], name: str) -> str | None:
    found = raw.get(name)
    return found if isinstance(found, str) and found and found.isprintable() else None


def _unknown() -> Invalid:
    return Invalid("The charge is refused.", errors=(FieldError("$.customer", "is no customer of this account"),))
