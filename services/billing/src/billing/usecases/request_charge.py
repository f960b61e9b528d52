"""Asks a provider for a payment that was written down, and records what it answered: the charge is never without it."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.domain.charging import CHARGE, charge_key
from billing.domain.payments import Payment
from billing.domain.providers import ChargeCreated, ChargeRequest, PaymentStatus, ProviderRefused
from billing.usecases.announce_charge import announce_charge
from billing.usecases.ask_for_charge import ask_for_charge
from billing.usecases.call_provider import call_provider
from billing.usecases.open_payer import open_payer
from billing.usecases.withdraw_charge import withdraw_charge
from bus.inbox import first_time
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.errors import NotFound

#: How far a provider's clock may be behind ours.
_SKEW: Final = timedelta(minutes=10)


async def request_charge(
    db: Database,
    accounts: Accounts,
    tenant_id: UUID,
    payment_id: UUID,
    *,
    box: SecretBox,
    nexus_events: bool,
    clock: Clock,
) -> Payment:
    """The payment as its provider has taken it on, now or before; with `nexus_events` seed 002's consumers are told.

    A refusal withdraws it. Raises NotFound for a payment that was not planned, and what `call_provider` does: after
    ProviderUnavailable or ProviderUnknown whoever comes again, the scheduler in the end, goes on from there.
    """
    key = charge_key(payment_id)
    async with transaction(db, tenant_id) as conn:
        payment = await store.payments.get_payment(conn, tenant_id, payment_id)
        call = await store.provider_calls.find_call(conn, tenant_id, payment.provider.value, key)
        if call is None:
            raise NotFound("no such charge")
        customer = await store.customers.get_customer(conn, tenant_id, payment.customer_id)
        payer = await open_payer(conn, customer, box=box, provider=payment.provider, account_id=payment.account_id)
        api = await accounts.open(conn, tenant_id, payment.account_id, payment.provider)
    try:
        made = await call_provider(
            db,
            tenant_id,
            provider=payment.provider,
            account_id=payment.account_id,
            operation=CHARGE,
            key=key,
            params=msgspec.convert(call.params, ChargeRequest),
            ask=_asking(api, payer.tax_id, since=payment.created_at - _SKEW),
            answer=ChargeCreated,
            clock=clock,
        )
    except ProviderRefused as refusal:
        async with transaction(db, tenant_id) as conn:
            await withdraw_charge(conn, tenant_id, payment_id, reason=refusal.detail, now=clock())
        raise
    async with transaction(db, tenant_id) as conn:
        return await _record(conn, tenant_id, payment_id, made, nexus_events=nexus_events, now=clock())


def _asking(
    api: Api, tax_id: str | None, *, since: datetime
) -> Callable[[ChargeRequest, str], Awaitable[ChargeCreated]]:
    async def ask(planned: ChargeRequest, key: str) -> ChargeCreated:
        request = msgspec.structs.replace(planned, payer=msgspec.structs.replace(planned.payer, tax_id=tax_id))
        return await ask_for_charge(api, request, key, since=since)

    return ask


async def _record(
    conn: Connection, tenant_id: UUID, payment_id: UUID, made: ChargeCreated, *, nexus_events: bool, now: datetime
) -> Payment:
    before = await store.payments.lock_payment(conn, tenant_id, payment_id)
    if not await first_time(conn, "billing.charges", payment_id):
        return before  # recorded by whoever asked before
    pix = made.pix
    txid = pix.txid if pix is not None and pix.txid != "***" else None
    after = msgspec.structs.replace(
        before,
        external_id=before.external_id or made.external_id,
        url=before.url or made.url,
        raw=before.raw or made.raw,
        txid=before.txid or txid,
        pix_copy_paste=pix.copy_paste if pix else None,
        pix_expires_at=pix.expires_at if pix else None,
        version=before.version + 1,
        updated_at=now,
    )
    for field, kind in (("external_id", "payment"), ("txid", "txid")):
        named = getattr(after, field)
        if named is not None and not await store.directory.insert_object(
            conn,
            tenant_id,
            provider=after.provider.value,
            account_id=after.account_id,
            kind=kind,
            external_id=named,
            object_id=after.id,
        ):
            reason = f"the provider gave it the {kind} of another charge: {named}"
            after = msgspec.structs.replace(after, **{field: None}, review_reason=reason)
    await store.payments.update_payment(conn, tenant_id, after)
    if made.customer_external_id is not None:
        await _note_customer(conn, after, made.customer_external_id, now)
    if after.status is PaymentStatus.PENDING:
        await announce_charge(conn, after, nexus_events=nexus_events, now=now)
    return after


async def _note_customer(conn: Connection, payment: Payment, external_id: str, now: datetime) -> None:
    await store.directory.insert_object(
        conn,
        payment.tenant_id,
        provider=payment.provider.value,
        account_id=payment.account_id,
        kind="customer",
        external_id=external_id,
        object_id=payment.customer_id,
    )
    await store.customers.upsert_external_id(
        conn, payment.tenant_id, payment.customer_id, payment.provider.value, payment.account_id, external_id, now
    )
