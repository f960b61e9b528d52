"""Asks what became of refunds that their provider had only taken on; the money of one that failed may go back again."""

from uuid import UUID

from billing import store
from billing.accounts import Accounts
from billing.domain.refunds import RefundStatus
from billing.usecases.refresh_charge import refresh_charge
from chassis.clock import Clock
from chassis.db import Database, transaction


async def refresh_refunds(db: Database, tenant_id: UUID, payment_id: UUID, *, accounts: Accounts, clock: Clock) -> None:
    """The payment's pending refunds are as its provider has them now; none is asked about where none is pending.

    Raises NotFound where the provider does not know the payment, ProviderUnavailable, ProviderMisconfigured.
    """
    async with transaction(db, tenant_id) as conn:
        refunds = await store.refunds.list_refunds(conn, tenant_id, payment_id)
    if any(refund.status is RefundStatus.PENDING for refund in refunds):
        await refresh_charge(db, accounts, tenant_id, payment_id, clock=clock)
