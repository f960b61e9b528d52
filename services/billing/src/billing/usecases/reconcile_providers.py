"""Repairs what lost webhooks have left: what the providers have and we have not is stored, and dealt with as ever."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from billing import store
from billing.accounts import Accounts, Api
from billing.asaas_api import AsaasApi
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.provider_accounts import ProviderAccount
from billing.domain.providers import NotAtProvider
from billing.usecases.find_missing_events import Place, find_missing_events
from billing.usecases.store_webhooks import store_webhooks
from bus.outbox import Telling, tell_many
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from contracts.billing import ProviderEventReceived
from contracts.errors import ServiceError

_log = structlog.get_logger("billing.reconcile")

#: How long the consumer has for an event, its retries included, before it is told of it once more.
_PATIENCE: Final = timedelta(minutes=20)
#: Asaas and Stripe keep events no longer than that either.
_STUCK_FOR: Final = timedelta(days=30)
_MAX_ATTEMPTS: Final = 10
_MAX_RETOLD: Final = 500
#: What our addresses for Asaas end in; a queue to somewhere else is somebody else's to resume.
_OUR_PATHS: Final = ("/webhooks/asaas", "/webhook/asaas", "/pix/webhook", "/pix/webhook/pix")


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did: accounts asked and those that could not be, what they listed, what of it was missing and is
    stored now, stuck events that were told again, and paused queues at Asaas that were resumed."""

    accounts: int = 0
    failed: int = 0
    listed: int = 0
    stored: int = 0
    retold: int = 0
    resumed: int = 0


async def reconcile_providers(db: Database, accounts: Accounts, *, days: int = 3, clock: Clock) -> Reconciled:
    """The counts of one run over the platform's accounts and every active one of a tenant, `days` back.

    An account that cannot be asked is counted and logged, and does not keep the others waiting. Any number of runs may
    overlap: an event is stored once. Raises what the database does.
    """
    since = clock() - timedelta(days=days)
    counts: Counter[str] = Counter()
    for provider in accounts.platform.configured:
        place = Place(provider, PLATFORM_ACCOUNT, None)
        await _reconcile(db, accounts, place, None, since, counts, clock)
    async with platform_transaction(db) as conn:
        rows = await store.reconciliation.list_active_accounts(conn)
    for row in rows:
        place = Place(row.provider, row.id, row.tenant_id)
        await _reconcile(db, accounts, place, row, since, counts, clock)
    counts["retold"] = await _tell_stuck(db, clock())
    return Reconciled(**counts)


async def _reconcile(
    db: Database,
    accounts: Accounts,
    place: Place,
    row: ProviderAccount | None,
    since: datetime,
    counts: "Counter[str]",
    clock: Clock,
) -> None:
    counts["accounts"] += 1
    try:
        api = await (accounts.of_platform(place.provider) if row is None else accounts.of_account(row))
        async for found in find_missing_events(db, api, place, since, now=clock()):
            counts["listed"] += found.listed
            counts["stored"] += await store_webhooks(db, found.missing, now=clock())
        counts["resumed"] += await _resume_queues(api, place)
    except (ServiceError, NotAtProvider) as error:
        counts["failed"] += 1
        _log.warning(
            "account not reconciled", provider=place.provider.value, account_id=str(place.account_id), reason=str(error)
        )


async def _resume_queues(api: Api, place: Place) -> int:
    """How many paused queues go on. Asaas pauses one after 15 failures, and forgets what it holds after 14 days."""
    if not isinstance(api, AsaasApi):
        return 0
    resumed = 0
    for queue in await api.webhook_queue_state():
        if queue.enabled and queue.interrupted and urlsplit(queue.url).path.endswith(_OUR_PATHS):
            await api.resume_webhook_queue(queue.external_id)
            _log.warning(
                "a paused webhook queue was resumed", queue=queue.external_id, account_id=str(place.account_id)
            )
            resumed += 1
    return resumed


async def _tell_stuck(db: Database, now: datetime) -> int:
    async with platform_transaction(db) as conn:
        stuck = await store.provider_events.list_stuck(
            conn, since=now - _STUCK_FOR, before=now - _PATIENCE, max_attempts=_MAX_ATTEMPTS, limit=_MAX_RETOLD
        )
        await tell_many(
            conn,
            [
                Telling(
                    event=ProviderEventReceived(provider_event_id=event.id, provider=event.provider.value),
                    aggregate_id=event.id,
                )
                for event in stuck
            ],
        )
    return len(stuck)
