"""Withdraws a charge that nobody has paid, at its provider and here."""

from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.asaas_api import AsaasApi
from billing.domain.charging import CANCEL
from billing.domain.payments import Payment
from billing.domain.providers import PaymentStatus
from billing.usecases.call_provider import call_provider
from billing.usecases.refresh_charge import refresh_charge
from billing.usecases.withdraw_charge import withdraw_charge
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.errors import Conflict


class _Request(msgspec.Struct, frozen=True):
    external_id: str


class _Done(msgspec.Struct, frozen=True):
    pass


async def cancel_charge(
    db: Database, accounts: Accounts, tenant_id: UUID, payment_id: UUID, *, reason: str, clock: Clock
) -> Payment:
    """The payment, cancelled; its own invoice is void with it. One that was cancelled before stays so.

    Raises Conflict for one that is paid, that its provider has not confirmed yet, or that cannot be withdrawn there (a
    PIX code of PagBank's ends at its own time), and what `call_provider` does.
    """
    async with transaction(db, tenant_id) as conn:
        payment = await store.payments.get_payment(conn, tenant_id, payment_id)
        if payment.status is PaymentStatus.CANCELLED:
            return payment
        if payment.external_id is None:
            raise Conflict("The provider has not confirmed this charge yet.", code="charge_not_confirmed")
        api = await accounts.open(conn, tenant_id, payment.account_id, payment.provider)
    if not payment.is_settled:
        await call_provider(
            db,
            tenant_id,
            provider=payment.provider,
            account_id=payment.account_id,
            operation=CANCEL,
            key=f"cancel-{payment.id}",
            params=_Request(payment.external_id),
            ask=lambda request, key: _cancel(api, request, key),
            answer=_Done,
            clock=clock,
        )
        payment = await refresh_charge(db, accounts, tenant_id, payment_id, clock=clock)
    if payment.is_settled:
        raise Conflict("The charge is paid: it can only be refunded.", code="charge_paid")
    if payment.status is not PaymentStatus.CANCELLED:
        raise Conflict("The provider keeps this charge open until its own time.", code="charge_not_withdrawn")
    async with transaction(db, tenant_id) as conn:
        return await withdraw_charge(conn, tenant_id, payment_id, reason=reason, now=clock())


async def _cancel(api: Api, request: _Request, key: str) -> _Done:
    if isinstance(api, AsaasApi):
        await api.cancel_payment(request.external_id)
    else:
        await api.cancel_payment(request.external_id, key=key)
    return _Done()
