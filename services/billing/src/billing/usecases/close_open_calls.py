"""Brings calls to an end that nobody came back for: asked again under the same key, and in the end given up."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from billing import store
from billing.accounts import Accounts
from billing.domain.charging import CANCEL, CHARGE, CUSTOMER
from billing.domain.providers import Provider
from billing.store.charges import OpenRefund
from billing.store.provider_calls import ProviderCall
from billing.usecases.cancel_charge import cancel_charge
from billing.usecases.create_pix import create_pix
from billing.usecases.refund_payment import refund_payment
from billing.usecases.register_customer import register_customer
from billing.usecases.request_charge import request_charge
from billing.usecases.run_each import run_each
from billing.usecases.withdraw_charge import withdraw_charge
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from contracts.errors import Conflict

_BATCH: Final = 50
#: Whoever planned a call is making it now; what crashed before it could is found after this time.
_FIRST_AFTER_S: Final = 300.0
_GIVE_UP_AFTER: Final = timedelta(days=3)
#: Stripe forgets keys after a day: the same call would be another one then.
_STRIPE_GIVES_UP_AFTER: Final = timedelta(hours=23)


async def close_open_calls(
    db: Database, accounts: Accounts, *, box: SecretBox, nexus_events: bool, clock: Clock
) -> dict[str, int]:
    """Counts of open calls that were due for another try: charges, their withdrawal, customers, and refunds.

    An answer that was lost is asked for a minute later, then ever more rarely. After three days (23 hours at Stripe)
    the call is given up, and a charge with it, which says so; a refund is not, since its money is owed.
    """

    async def act(call: ProviderCall) -> bool:
        if await _is_over(db, call, clock()):
            return True
        provider, subject = Provider(call.provider), _subject(call)
        if call.operation == CHARGE:
            async with transaction(db, call.tenant_id) as conn:
                payment = await store.payments.get_payment(conn, call.tenant_id, subject)
            # Whoever ordered is written to, and loses the order to a refusal, as if the first try had come through.
            ask = request_charge if payment.order_id is None else create_pix
            await ask(db, accounts, call.tenant_id, subject, box=box, nexus_events=nexus_events, clock=clock)
        elif call.operation == CANCEL:
            try:
                await cancel_charge(db, accounts, call.tenant_id, subject, reason="withdrawn", clock=clock)
            except Conflict:
                return False  # it is paid, or stays open: that is an answer
        else:
            await register_customer(
                db,
                accounts,
                call.tenant_id,
                provider=provider,
                account_id=call.account_id,
                key=call.key,
                box=box,
                clock=clock,
            )
        return True

    counts = {"seen": 0, "done": 0, "failed": 0}
    for operation in (CHARGE, CANCEL, CUSTOMER):
        async with platform_transaction(db) as conn:
            calls = await store.provider_calls.list_open(
                conn, operation, clock(), first_after_s=_FIRST_AFTER_S, limit=_BATCH
            )
        _add(counts, await run_each("open_calls", calls, act))
    async with platform_transaction(db) as conn:
        refunds = await store.charges.list_open_refunds(conn, clock(), first_after_s=_FIRST_AFTER_S, limit=_BATCH)

    async def refund(one: OpenRefund) -> bool:
        await refund_payment(db, one.tenant_id, one.id, accounts=accounts, clock=clock)
        return True

    _add(counts, await run_each("open_refunds", refunds, refund))
    return counts


def _add(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        counts[name] += count


def _subject(call: ProviderCall) -> UUID:
    """The id of ours that the call's key is made of."""
    return UUID(call.key.partition("-")[2][:36])


async def _is_over(db: Database, call: ProviderCall, now: datetime) -> bool:
    patience = _STRIPE_GIVES_UP_AFTER if call.provider == Provider.STRIPE.value else _GIVE_UP_AFTER
    if now < call.created_at + patience:
        return False
    async with transaction(db, call.tenant_id) as conn:
        await store.provider_calls.mark_ended(
            conn, call.tenant_id, call.id, status="refused", result=None, error="given up", now=now
        )
        if call.operation == CHARGE:
            await _give_up(conn, call, now)
    return True


async def _give_up(conn: Connection, call: ProviderCall, now: datetime) -> None:
    reason = f"{call.provider} has not said whether it made this charge: {call.error or 'no answer'}"
    await withdraw_charge(conn, call.tenant_id, _subject(call), reason=reason, now=now)
