"""Asks a payment's provider how it stands now, and takes that in."""

from uuid import UUID

from billing import store
from billing.accounts import Accounts
from billing.domain.payments import Payment
from billing.domain.providers import NotAtProvider
from billing.pagbank_api import PagBankApi
from billing.usecases.receive_payment import receive_payment
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.errors import NotFound


async def refresh_charge(
    db: Database, accounts: Accounts, tenant_id: UUID, payment_id: UUID, *, clock: Clock
) -> Payment:
    """The payment brought up to date; one whose provider has not named it yet stays as it is.

    Raises NotFound for a payment that is not the tenant's or that its provider does not know, ProviderMisconfigured,
    ProviderUnavailable.
    """
    async with transaction(db, tenant_id) as conn:
        payment = await store.payments.get_payment(conn, tenant_id, payment_id)
        if payment.external_id is None:
            return payment
        api = await accounts.open(conn, tenant_id, payment.account_id, payment.provider)
    asked_at = clock()
    try:
        seen = await api.get_payment(payment.external_id)
        running = None
        if seen.subscription_external_id is not None and not isinstance(api, PagBankApi):
            running = await api.get_subscription(seen.subscription_external_id)
    except NotAtProvider:
        raise NotFound("The provider does not know this payment (any more).") from None
    async with transaction(db, tenant_id) as conn:
        return await receive_payment(
            conn, tenant_id, payment_id, seen, subscription_seen=running, asked_at=asked_at, now=clock()
        )
