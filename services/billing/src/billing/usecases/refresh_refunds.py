"""Asks Stripe what became of refunds that it had only taken on; the money of one that failed may go back again."""

from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts
from billing.domain.refunds import RefundStatus
from billing.stripe_api import StripeApi
from chassis.clock import Clock
from chassis.db import Database, transaction


async def refresh_refunds(db: Database, tenant_id: UUID, payment_id: UUID, *, accounts: Accounts, clock: Clock) -> None:
    """The payment's pending refunds are as Stripe has them now; other providers' end with what is told of the payment.

    Raises ProviderUnavailable, ProviderMisconfigured.
    """
    async with transaction(db, tenant_id) as conn:
        refunds = await store.refunds.list_refunds(conn, tenant_id, payment_id)
        waiting = [refund for refund in refunds if refund.status is RefundStatus.PENDING]
        if not waiting:
            return
        payment = await store.payments.get_payment(conn, tenant_id, payment_id)
        api = await accounts.open(conn, tenant_id, payment.account_id, payment.provider)
    if not isinstance(api, StripeApi):
        return
    for refund in waiting:
        found = await api.find_refund(payment.external_id or "", key=refund.key)
        if found is not None and found.status != refund.status:
            ended = msgspec.structs.replace(refund, status=RefundStatus(found.status), updated_at=clock())
            async with transaction(db, tenant_id) as conn:
                await store.refunds.update_refund(conn, tenant_id, ended)
