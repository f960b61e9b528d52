"""Asks after payments that have been pending for a while: the hint that tells of their fate may have been lost."""

from typing import Final

from billing import store
from billing.accounts import Accounts
from billing.domain.payments import Payment
from billing.domain.provider_events import ProviderEventStatus
from billing.domain.providers import NotAtProvider
from billing.usecases.apply_payment import apply_payment
from billing.usecases.run_each import run_each
from chassis.clock import Clock
from chassis.db import Database, platform_transaction, transaction

_BATCH: Final = 100


async def poll_pending_payments(db: Database, accounts: Accounts, *, clock: Clock) -> dict[str, int]:
    """Counts of payments asked after, and of those that are not pending any more.

    Each is noted as asked before it is, so that one that cannot be does not keep the others waiting.
    """
    async with platform_transaction(db) as conn:
        waiting = await store.payments.list_waiting(conn, clock(), _BATCH)

    async def act(payment: Payment) -> bool:
        async with transaction(db, payment.tenant_id) as conn:
            await store.payments.touch_payment(conn, payment.tenant_id, payment.id, clock())
        async with transaction(db, payment.tenant_id) as conn:
            api = await accounts.open(conn, payment.tenant_id, payment.account_id, payment.provider)
        if payment.external_id is None:
            return False
        try:
            outcome = await apply_payment(
                db, api, payment.provider, payment.account_id, payment.external_id, clock=clock
            )
        except NotAtProvider:
            return False
        if outcome.status is ProviderEventStatus.IGNORED:
            return False
        async with transaction(db, payment.tenant_id) as conn:
            after = await store.payments.get_payment(conn, payment.tenant_id, payment.id)
        return after.status is not payment.status

    return await run_each("pending_payments", waiting, act)
