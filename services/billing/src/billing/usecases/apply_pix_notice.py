"""Takes in BACEN's notice of a transfer: the payment of that txid is asked for at its own provider, and that counts."""

from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts
from billing.domain.payments import SETTLING, Payment
from billing.domain.pix_notices import PixTransfer, read_pix_transfer
from billing.domain.provider_events import Outcome, ProviderEvent, for_review, ignored, processed
from billing.domain.providers import PaymentState, Provider
from billing.usecases.receive_payment import receive_payment
from chassis.clock import Clock
from chassis.db import Database, platform_transaction, transaction


async def apply_pix_notice(db: Database, accounts: Accounts, event: ProviderEvent, *, clock: Clock) -> Outcome:
    """What came of the transfer, or of a step of its return. One transfer is credited once, whoever tells of it.

    For review: a txid that is no payment's, a transfer that was another payment's, and an amount that is not the one
    that the provider has. Raises what the provider's adapter does.
    """
    transfer = read_pix_transfer(event.payload)
    if transfer is None:
        return for_review("the notice cannot be read")
    found = await _payment_of(db, transfer.txid)
    if found is None:
        return for_review("no payment of ours has its txid")
    tenant_id, payment_id = found
    async with transaction(db, tenant_id) as conn:
        payment = await store.payments.get_payment(conn, tenant_id, payment_id)
        api = await accounts.open(conn, tenant_id, payment.account_id, payment.provider)
    if payment.external_id is None:
        return ignored("the payment is not at its provider yet", tenant_id)
    if await _is_anothers(db, payment, transfer.end_to_end_id):
        return for_review("its transfer was credited to another payment", tenant_id)
    asked_at = clock()
    seen = await api.get_payment(payment.external_id)
    if seen.end_to_end_id not in (None, transfer.end_to_end_id):
        return for_review("its provider has it paid by another transfer", tenant_id)
    seen = msgspec.structs.replace(seen, end_to_end_id=transfer.end_to_end_id)  # kept only once its money is there
    async with transaction(db, tenant_id) as conn:
        after = await receive_payment(conn, tenant_id, payment_id, seen, asked_at=asked_at, now=clock())
    return _outcome(after, seen, transfer)


async def _payment_of(db: Database, txid: str) -> tuple[UUID, UUID] | None:
    """Tenant and payment of a txid, which is the receiving bank's: at most one of ours has it."""
    async with platform_transaction(db) as conn:
        found = [
            await store.directory.find_object(
                conn, provider=provider.value, account_id=None, kind="txid", external_id=txid
            )
            for provider in Provider
        ]
    known = [one for one in found if one is not None]
    return (known[0].tenant_id, known[0].object_id) if len(known) == 1 else None


async def _is_anothers(db: Database, payment: Payment, end_to_end_id: str) -> bool:
    async with platform_transaction(db) as conn:
        found = [
            await store.directory.find_object(
                conn, provider=provider.value, account_id=None, kind="end_to_end", external_id=end_to_end_id
            )
            for provider in Provider
        ]
    return any(one is not None and one.object_id != payment.id for one in found)


def _outcome(after: Payment, seen: PaymentState, transfer: PixTransfer) -> Outcome:
    if after.review_reason is not None:
        return for_review(after.review_reason, after.tenant_id)
    if seen.status not in SETTLING:
        return ignored("its provider has no money of it", after.tenant_id)
    if transfer.amount_cents != seen.amount_cents:
        reason = f"the notice says {transfer.amount_cents} where its provider has {seen.amount_cents}"
        return for_review(reason, after.tenant_id)
    return processed(after.tenant_id)
