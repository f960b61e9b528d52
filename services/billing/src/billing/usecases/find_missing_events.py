"""Compares what a provider's account has with what is stored: what nobody told us of becomes events of our own."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Api
from billing.asaas_api import AsaasApi
from billing.domain.identifiers import new_id
from billing.domain.payments import NEXT, Payment, returns
from billing.domain.provider_events import STRIPE_TYPES, EventSource, NewProviderEvent
from billing.domain.providers import NotAtProvider, Notice, PaymentState, Provider
from billing.pagbank_api import PagBankApi
from billing.stripe_api import StripeApi
from chassis.db import Database, platform_transaction

_CHUNK: Final = 100
_MAX_ASKED: Final = 200
#: Longer than a bank takes to decide a dispute, or Asaas to give money back.
_RETURNS_WITHIN: Final = timedelta(days=180)


class Place(msgspec.Struct, frozen=True):
    """An account at a provider; `tenant_id` None for the platform's own."""

    provider: Provider
    account_id: UUID
    tenant_id: UUID | None


class Comparison(msgspec.Struct, frozen=True):
    """Part of what an account has: how much was looked at, and the events that were missing of it."""

    listed: int
    missing: list[NewProviderEvent]


async def find_missing_events(
    db: Database, api: Api, place: Place, since: datetime, *, now: datetime
) -> AsyncIterator[Comparison]:
    """Stripe's own events since then; payments that Asaas has further than we have; the same of our pending ones and of
    our unpaid pages at PagBank, which lists nothing: each is asked for. So are at both, however old, those whose money
    went back, goes back or is disputed: no list tells of their end.

    An event that is made here is named by what it found, so that a second run does not store it again. Raises what the
    provider's adapter does.
    """
    if isinstance(api, StripeApi):
        async for comparison in _events(db, api, place, since, now):
            yield comparison
    elif isinstance(api, AsaasApi):
        states = await api.list_payments_since(since)
        for start in range(0, len(states), _CHUNK):
            yield await _payments(db, place, states[start : start + _CHUNK], now)
        yield await _returning(db, api, place, now)
    else:
        yield await _pending(db, api, place, since, now)
        yield await _pages(db, api, place, since, now)
        yield await _returning(db, api, place, now)


async def _events(
    db: Database, api: StripeApi, place: Place, since: datetime, now: datetime
) -> AsyncIterator[Comparison]:
    chunk: list[Notice] = []
    async for notice in api.list_events(since):
        if notice.type in STRIPE_TYPES and notice.kind != "other":
            chunk.append(notice)
        if len(chunk) == _CHUNK:
            yield await _unstored(db, place, chunk, now)
            chunk = []
    yield await _unstored(db, place, chunk, now)


async def _unstored(db: Database, place: Place, notices: list[Notice], now: datetime) -> Comparison:
    async with platform_transaction(db) as conn:
        known = await store.provider_events.list_known(
            conn, place.provider.value, place.account_id, [notice.event_id for notice in notices]
        )
    return Comparison(len(notices), [_event(place, notice, now) for notice in notices if notice.event_id not in known])


async def _payments(db: Database, place: Place, states: list[PaymentState], now: datetime) -> Comparison:
    provider, account_id = place.provider.value, place.account_id
    async with platform_transaction(db) as conn:
        ours = await store.reconciliation.list_payments_known(
            conn, provider, account_id, [state.external_id for state in states]
        )
        references = await store.reconciliation.list_names_known(
            conn, provider, account_id, "reference", _named(state.reference for state in states)
        )
        subscriptions = await store.reconciliation.list_names_known(
            conn, provider, account_id, "subscription", _named(state.subscription_external_id for state in states)
        )
    known = {payment.external_id: payment for payment in ours}
    ahead = [
        state
        for state in states
        if (
            _is_ahead(state, known[state.external_id])
            if state.external_id in known
            else state.reference in references or state.subscription_external_id in subscriptions
        )
    ]
    notices = [_notice(state, known.get(state.external_id)) for state in ahead]
    return Comparison(len(states), [_event(place, notice, now) for notice in notices])


async def _pending(db: Database, api: PagBankApi, place: Place, since: datetime, now: datetime) -> Comparison:
    async with platform_transaction(db) as conn:
        waiting = await store.reconciliation.list_payments_pending(
            conn, place.provider.value, place.account_id, since, _MAX_ASKED
        )
    return await _asked(api, place, waiting, now)


async def _returning(db: Database, api: AsaasApi | PagBankApi, place: Place, now: datetime) -> Comparison:
    async with platform_transaction(db) as conn:
        waiting = await store.reconciliation.list_payments_returning(
            conn, place.provider.value, place.account_id, now - _RETURNS_WITHIN, _MAX_ASKED
        )
    found = await _asked(api, place, waiting, now)
    async with platform_transaction(db) as conn:
        await store.reconciliation.mark_asked(conn, waiting, now)
    return found


async def _asked(api: AsaasApi | PagBankApi, place: Place, waiting: list[Payment], now: datetime) -> Comparison:
    ahead = []
    for payment in waiting:
        try:
            state = await api.get_payment(payment.external_id or "")
        except NotAtProvider:
            continue
        if _is_ahead(state, payment):
            ahead.append(_notice(state, payment))
    return Comparison(len(waiting), [_event(place, notice, now) for notice in ahead])


async def _pages(db: Database, api: PagBankApi, place: Place, since: datetime, now: datetime) -> Comparison:
    """The payments of pages that were paid, as far as we do not have them: the page alone tells what it became."""
    async with platform_transaction(db) as conn:
        waiting = await store.reconciliation.list_orders_unpaid(
            conn, place.provider.value, place.account_id, since, _MAX_ASKED
        )
    paid: list[PaymentState] = []
    for order in waiting:
        try:
            page = await api.get_checkout(order.external_id or "")
            if page.payment_external_id is not None:
                paid.append(await api.get_payment(page.payment_external_id))
        except NotAtProvider:
            continue
    found = await _payments(db, place, paid, now)
    return Comparison(len(waiting), found.missing)


def _named(names: Iterable[str | None]) -> list[str]:
    return [name for name in names if name is not None]


def _is_ahead(state: PaymentState, ours: Payment) -> bool:
    """Whether the provider knows more of the payment than we do; one that is under review was seen."""
    if ours.review_reason is not None:
        return False
    is_further = state.status in NEXT[ours.status] or state.refunded_cents > ours.refunded_cents
    # A refund that failed leaves no other trace where it had not been done.
    return is_further or returns(ours, state) or any(refund.status == "failed" for refund in state.refunds)


def _notice(state: PaymentState, ours: Payment | None) -> Notice:
    named = [state.external_id, state.status.value, state.refunded_cents]
    if failures := sum(refund.status == "failed" for refund in state.refunds):
        named.append(failures)
    if ours is not None and returns(ours, state):  # it was so before: what it is now is another event
        named.append(f"v{ours.version}")
    return Notice(
        event_id=":".join(["reconciled", *map(str, named)]),
        type="payment.reconciled",
        kind="payment",
        object_external_id=state.external_id,
        reference=state.reference,
        occurred_at=state.paid_at,
    )


def _event(place: Place, notice: Notice, now: datetime) -> NewProviderEvent:
    return NewProviderEvent(
        id=new_id(now),
        provider=EventSource(place.provider.value),
        account_id=place.account_id,
        notice=notice,
        payload=msgspec.json.encode({"reconciled_at": now, "notice": notice}),
        tenant_id=place.tenant_id,
    )
