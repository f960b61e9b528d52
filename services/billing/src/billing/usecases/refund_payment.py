"""Gives money back: asks the provider for a refund that was written down, once, and takes in what came of it."""

import contextlib
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.domain.payments import Payment
from billing.domain.providers import (
    NotAtProvider,
    ProviderRefused,
    ProviderUnavailable,
    RefundState,
)
from billing.domain.refunds import Refund, RefundStatus
from billing.stripe_api import StripeApi
from billing.usecases.call_provider import call_provider
from billing.usecases.receive_payment import receive_payment
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.errors import NotFound

_NOT_DONE: Final = "The provider took the refund on, and it failed."


class Refunded(msgspec.Struct, frozen=True):
    """A refund and its payment, as they stand."""

    refund: Refund
    payment: Payment


class _Request(msgspec.Struct, frozen=True):
    external_id: str
    amount_cents: int
    description: str


async def refund_payment(
    db: Database, tenant_id: UUID, refund_id: UUID, *, accounts: Accounts, clock: Clock
) -> Refunded:
    """The refund with its provider's word for it; one that has its answer is not asked for again.

    Its key is its id: a lost answer is asked for again under it, and looked up first where the provider can. Until
    there is one the refund stays `requested`, and whoever asks next goes on from there. The payment is brought up to
    date as by a webhook, which may have come first, or comes yet.

    Raises NotFound, ProviderRefused (the refund has failed; another may be asked for), ProviderUnavailable,
    ProviderUnknown, ProviderMisconfigured.
    """
    async with transaction(db, tenant_id) as conn:
        refund = await store.refunds.find_refund(conn, tenant_id, refund_id)
        if refund is None:
            raise NotFound("no such refund")
        payment = await store.payments.get_payment(conn, tenant_id, refund.payment_id)
        before = await store.provider_calls.find_call(conn, tenant_id, payment.provider, refund.key)
        if refund.status is RefundStatus.FAILED:
            raise ProviderRefused(_NOT_DONE if before is None else before.error or _NOT_DONE)
        if refund.status is not RefundStatus.REQUESTED:
            return Refunded(refund, payment)
        api = await accounts.open(conn, tenant_id, payment.account_id, payment.provider)
    try:
        state = await _ask(db, api, payment, refund, is_repeat=before is not None, clock=clock)
    except ProviderRefused:
        await _note(db, refund, RefundStatus.FAILED, None, clock)
        raise
    await _note(db, refund, RefundStatus(state.status), state.external_id, clock)
    if state.status == "failed":
        raise ProviderRefused(_NOT_DONE)
    # The money is on its way; a webhook tells of it, too, where this look fails.
    with contextlib.suppress(ProviderUnavailable, NotAtProvider):
        asked_at = clock()
        seen = await api.get_payment(payment.external_id or "")
        async with transaction(db, tenant_id) as conn:
            await receive_payment(conn, tenant_id, payment.id, seen, asked_at=asked_at, now=clock())
    async with transaction(db, tenant_id) as conn:
        return Refunded(
            await store.refunds.find_refund(conn, tenant_id, refund_id) or refund,
            await store.payments.get_payment(conn, tenant_id, payment.id),
        )


async def _ask(
    db: Database, api: Api, payment: Payment, refund: Refund, *, is_repeat: bool, clock: Clock
) -> RefundState:
    tries = 1 if is_repeat else 0

    async def ask(request: _Request, key: str) -> RefundState:
        nonlocal tries
        tries += 1
        if not isinstance(api, StripeApi):  # Asaas looks for the key itself, PagBank keeps it
            return await api.refund(request.external_id, request.amount_cents, request.description, key=key)
        # Stripe forgets a key after a day, and answers a failure of its own again and again before that.
        found = await api.find_refund(request.external_id, key=key) if tries > 1 else None
        return found or await api.refund(request.external_id, request.amount_cents, key=key)

    return await call_provider(
        db,
        payment.tenant_id,
        provider=payment.provider,
        account_id=payment.account_id,
        operation="refund",
        key=refund.key,
        params=_Request(payment.external_id or "", refund.amount_cents, refund.reason or payment.description),
        ask=ask,
        answer=RefundState,
        clock=clock,
    )


async def _note(db: Database, refund: Refund, status: RefundStatus, external_id: str | None, clock: Clock) -> None:
    async with transaction(db, refund.tenant_id) as conn:
        noted = msgspec.structs.replace(refund, status=status, external_id=external_id, updated_at=clock())
        await store.refunds.update_refund(conn, refund.tenant_id, noted)
