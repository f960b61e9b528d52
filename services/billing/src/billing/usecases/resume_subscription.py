"""Calls off a subscription's end while it still runs."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.domain.providers import ProviderMisconfigured, ProviderRefused, SubscriptionState
from billing.domain.subscription_endings import refuse_resuming, resumed
from billing.domain.subscriptions import Subscription, observe
from billing.stripe_api import StripeApi
from billing.usecases.ask_subscription import ask_subscription
from billing.usecases.call_provider import call_provider
from billing.usecases.hold_subscription import hold_subscription
from billing.usecases.record_audit import record_audit
from billing.usecases.save_subscription import save_subscription
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from contracts.audit import Doer
from contracts.errors import Conflict


class _Request(msgspec.Struct, frozen=True):
    external_id: str


class _Done(msgspec.Struct, frozen=True):
    pass


async def resume_subscription(
    db: Database, tenant_id: UUID, subscription_id: UUID, *, accounts: Accounts, by: Doer, clock: Clock
) -> Subscription:
    """The subscription, going on after its period; one that was not to end stays as it is.

    Raises NotFound, Conflict for one that has ended, is paused or waits for money, and what call_provider raises.
    """
    async with transaction(db, tenant_id) as conn:
        row = await hold_subscription(conn, tenant_id, subscription_id)
        refuse_resuming(row)
        if not row.cancel_at_period_end:
            return row
        if row.external_id is None:
            return await _save(conn, row, resumed(row, clock()), by, clock())
        api = await accounts.open(conn, tenant_id, row.account_id, row.provider)
        stem = f"resume-{row.id}-v{row.version}-"
        key = f"{stem}{await store.provider_calls.count_refused(conn, tenant_id, row.provider, stem)}"
    refusal = await _ask_to_resume(db, row, api, key, clock)
    asked_at, seen = await ask_subscription(api, row.external_id, clock=clock)
    async with transaction(db, tenant_id) as conn:
        saved = await _record(conn, tenant_id, subscription_id, seen, asked_at, by, clock())
    refuse_resuming(saved)
    if saved.cancel_at_period_end:
        raise refusal or Conflict("It was changed at its provider meanwhile: try again.", code="changed_meanwhile")
    return saved


async def _ask_to_resume(db: Database, row: Subscription, api: Api, key: str, clock: Clock) -> ProviderRefused | None:
    async def ask(request: _Request, key: str) -> _Done:
        if not isinstance(api, StripeApi):
            raise ProviderMisconfigured("This provider has no end that could be called off.")
        await api.set_cancel_at_period_end(request.external_id, False, key=key)
        return _Done()

    try:
        await call_provider(
            db,
            row.tenant_id,
            provider=row.provider,
            account_id=row.account_id,
            operation="resume_subscription",
            key=key,
            params=_Request(row.external_id or ""),
            ask=ask,
            answer=_Done,
            clock=clock,
        )
    except ProviderRefused as refusal:
        return refusal
    return None


async def _record(
    conn: Connection,
    tenant_id: UUID,
    subscription_id: UUID,
    seen: SubscriptionState,
    asked_at: datetime,
    by: Doer,
    now: datetime,
) -> Subscription:
    before = await hold_subscription(conn, tenant_id, subscription_id)
    after = observe(before, seen, asked_at=asked_at, now=now)
    if after.cancel_at_period_end or after.cancelled_at is not None:
        # Another version, and so another key: the next try is asked anew.
        return await save_subscription(
            conn, before, msgspec.structs.replace(after, version=before.version + 1), now=now
        )
    return await _save(conn, before, msgspec.structs.replace(after, cancel_reason=None), by, now)


async def _save(conn: Connection, before: Subscription, after: Subscription, by: Doer, now: datetime) -> Subscription:
    saved = await save_subscription(conn, before, after, now=now)
    await record_audit(
        conn, saved.tenant_id, "subscription.resumed", by=by, kind="subscription", target_id=saved.id, now=now
    )
    return saved
