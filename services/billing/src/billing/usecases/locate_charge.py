"""Finds the charge that somebody names: ours, or one that the tenant's account has from elsewhere."""

from uuid import UUID

from billing import store
from billing.accounts import Accounts
from billing.domain.customers import SoldBy
from billing.domain.payments import Payment
from billing.domain.providers import NotAtProvider, PaymentState, Provider
from billing.usecases.choose_account import choose_account
from chassis.db import Connection, Database, transaction
from contracts.errors import NotFound


async def locate_charge(
    db: Database, accounts: Accounts, tenant_id: UUID, provider: Provider, name: str
) -> Payment | PaymentState:
    """The payment called `name`, by the provider's id or by ours; else what the active account says of it.

    Raises NotFound where neither knows it, ProviderMisconfigured, ProviderUnavailable.
    """
    async with transaction(db, tenant_id) as conn:
        payment = await _find(conn, tenant_id, provider, name)
        if payment is not None:
            return payment
        account = await choose_account(conn, tenant_id, provider)
    api = await accounts.of_account(account)
    try:
        seen = await api.get_payment(name)
    except NotAtProvider:
        raise NotFound("no such charge") from None
    if seen.external_id == name:
        return seen
    # A charge of PagBank's belongs to an order, which is what ours are known by.
    async with transaction(db, tenant_id) as conn:
        return await _find(conn, tenant_id, provider, seen.external_id) or seen


async def _find(conn: Connection, tenant_id: UUID, provider: Provider, name: str) -> Payment | None:
    found = await store.directory.find_object(
        conn, provider=provider.value, account_id=None, kind="payment", external_id=name
    )
    try:
        payment_id = found.object_id if found else UUID(name)
    except ValueError:
        return None
    payment = await store.payments.find_payment(conn, tenant_id, payment_id)
    is_a_charge = payment is not None and payment.sold_by is SoldBy.TENANT and payment.provider is provider
    return payment if is_a_charge else None
