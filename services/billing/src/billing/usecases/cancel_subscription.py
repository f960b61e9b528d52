"""Ends a subscription, now or with the period that is paid for, at its provider and here."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.asaas_api import AsaasApi
from billing.domain.providers import Provider, ProviderRefused, SubscriptionState
from billing.domain.subscription_endings import ended, ending, ends_so, refuse_ending
from billing.domain.subscriptions import Subscription, SubscriptionStatus, observe
from billing.stripe_api import StripeApi
from billing.usecases.ask_subscription import ask_subscription
from billing.usecases.call_provider import call_provider
from billing.usecases.hold_subscription import hold_subscription
from billing.usecases.record_audit import record_audit
from billing.usecases.save_subscription import save_subscription
from billing.usecases.withdraw_pending import withdraw_pending
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from contracts.audit import Doer
from contracts.errors import Conflict


class _Request(msgspec.Struct, frozen=True):
    external_id: str
    at_period_end: bool


class _Done(msgspec.Struct, frozen=True):
    pass


class _Wish(msgspec.Struct, frozen=True):
    at_period_end: bool
    reason: str
    by: Doer


async def cancel_subscription(
    db: Database,
    tenant_id: UUID,
    subscription_id: UUID,
    *,
    at_period_end: bool,
    reason: str,
    accounts: Accounts,
    by: Doer,
    clock: Clock,
) -> Subscription:
    """The subscription, ended or to end with its period; one that has ended, or will so, stays as it is.

    At the period's end: Stripe ends it then; Asaas, which has no such end, makes no more payments from now on, and we
    end it then; a cycle of our own makes no further invoice. What is still owed to Asaas or us is void. `reason` is one
    of billing.subscription.cancelled's.

    Raises NotFound, Conflict for one that has no period to end with, and what call_provider raises.
    """
    wish = _Wish(at_period_end, reason, by)
    async with transaction(db, tenant_id) as conn:
        row = await hold_subscription(conn, tenant_id, subscription_id)
        if ends_so(row, at_period_end=at_period_end):
            return row
        refuse_ending(row, at_period_end=at_period_end)
        if row.external_id is None:
            return await _end(conn, row, wish, clock())
        api = await accounts.open(conn, tenant_id, row.account_id, row.provider)
        key = await _key(conn, row, at_period_end)
        # The provider's own news of the end may come before our answer to it: it finds the reason here.
        intended = msgspec.structs.replace(row, cancel_reason=reason, updated_at=clock())
        await save_subscription(conn, row, intended, now=clock())
    refusal = await _ask_to_end(db, row, api, key, at_period_end, clock)
    asked_at, seen = await ask_subscription(api, row.external_id, clock=clock)
    async with transaction(db, tenant_id) as conn:
        saved = await _record(conn, tenant_id, subscription_id, wish, seen, refusal is not None, asked_at, clock())
    if ends_so(saved, at_period_end=at_period_end):
        return saved
    raise refusal or Conflict("It was changed at its provider meanwhile: try again.", code="changed_meanwhile")


async def _key(conn: Connection, row: Subscription, at_period_end: bool) -> str:
    stem = f"cancel-{row.id}-" if not at_period_end else f"cancel-at-end-{row.id}-v{row.version}-"
    return f"{stem}{await store.provider_calls.count_refused(conn, row.tenant_id, row.provider, stem)}"


async def _ask_to_end(
    db: Database, row: Subscription, api: Api, key: str, at_period_end: bool, clock: Clock
) -> ProviderRefused | None:
    """Nothing, when the provider did as it was asked; else why it would not: perhaps it had done so before."""

    async def ask(request: _Request, key: str) -> _Done:
        if isinstance(api, AsaasApi):
            await api.cancel_subscription(request.external_id)
        elif isinstance(api, StripeApi) and request.at_period_end:
            await api.set_cancel_at_period_end(request.external_id, True, key=key)
        elif isinstance(api, StripeApi):
            await api.cancel_subscription(request.external_id, key=key)
        return _Done()

    try:
        await call_provider(
            db,
            row.tenant_id,
            provider=row.provider,
            account_id=row.account_id,
            operation="cancel_subscription",
            key=key,
            params=_Request(row.external_id or "", at_period_end),
            ask=ask,
            answer=_Done,
            clock=clock,
        )
    except ProviderRefused as refusal:
        return refusal
    return None


async def _end(conn: Connection, row: Subscription, wish: _Wish, now: datetime) -> Subscription:
    after = ending(row, wish.reason, now) if wish.at_period_end else ended(row, wish.reason, now)
    saved = await save_subscription(conn, row, after, now=now)
    await withdraw_pending(conn, saved, now=now)
    await _audit(conn, saved, wish, now)
    return saved


async def _record(
    conn: Connection,
    tenant_id: UUID,
    subscription_id: UUID,
    wish: _Wish,
    seen: SubscriptionState,
    was_refused: bool,
    asked_at: datetime,
    now: datetime,
) -> Subscription:
    before = await hold_subscription(conn, tenant_id, subscription_id)
    row = before
    if row.provider is Provider.ASAAS and seen.status == "cancelled" and row.status is not SubscriptionStatus.CANCELLED:
        row = ending(row, wish.reason, now) if wish.at_period_end else ended(row, wish.reason, now)
    after = observe(row, seen, asked_at=asked_at, now=now)
    if not ends_so(after, at_period_end=wish.at_period_end):
        # Another version, and so another key: the next try is asked anew.
        reason = None if was_refused and not after.cancel_at_period_end else after.cancel_reason
        after = msgspec.structs.replace(after, cancel_reason=reason, version=before.version + 1, updated_at=now)
        return await save_subscription(conn, before, after, now=now)
    saved = await save_subscription(conn, before, after, now=now)
    if saved.provider is Provider.ASAAS:
        await withdraw_pending(conn, saved, now=now)
    await _audit(conn, saved, wish, now)
    return saved


async def _audit(conn: Connection, row: Subscription, wish: _Wish, now: datetime) -> None:
    await record_audit(
        conn,
        row.tenant_id,
        "subscription.cancelled",
        by=wish.by,
        kind="subscription",
        target_id=row.id,
        now=now,
        at_period_end=wish.at_period_end,
        reason=wish.reason,
    )
