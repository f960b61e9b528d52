"""Runs what is due by the clock: each job in one of all processes at a time, and again when its time has come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import structlog

from billing import store
from billing.accounts import Accounts
from billing.domain.charging import ChargeOptions
from billing.domain.dunning import DunningPolicy
from billing.n8n_api import N8nApi
from billing.usecases.announce_overdue_refunds import announce_overdue_refunds
from billing.usecases.announce_reviews import announce_reviews
from billing.usecases.announce_trial_ends import announce_trial_ends
from billing.usecases.close_open_calls import close_open_calls
from billing.usecases.expire_orders import expire_orders
from billing.usecases.poll_pending_payments import poll_pending_payments
from billing.usecases.reconcile_providers import reconcile_providers
from billing.usecases.renew_subscriptions import renew_subscriptions
from billing.usecases.run_dunning import run_dunning
from billing.usecases.send_purchase_notices import send_purchase_notices
from billing.usecases.watch_stalls import watch_stalls
from bus.failures import reason_of
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.secrets import SecretBox

_log = structlog.get_logger("billing.schedules")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator has set for the scheduler."""

    every_s: float
    reconcile_every_s: float
    trial_notice_days: int
    refund_alert_days: int
    dunning: DunningPolicy
    charges: ChargeOptions
    admin_email: str | None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be done every `every_s` seconds; `run` answers what it counted.

    Who runs it is taken for dead `lease_s` after the last sign of life. One that was only slow harms nothing: every job
    bears to be run twice at once.
    """

    name: str
    every_s: float
    run: Callable[[], Awaitable[dict[str, int]]]
    lease_s: float = 20.0


async def run_schedules(
    db: Database,
    accounts: Accounts,
    schedule: Schedule,
    *,
    box: SecretBox,
    n8n: N8nApi | None,
    clock: Clock,
    stopping: asyncio.Event,
) -> None:
    """Runs until `stopping`. A job that fails is logged and has its next turn; a database that is away is awaited."""
    jobs = _jobs(db, accounts, schedule, box, n8n, clock)
    stop = asyncio.create_task(stopping.wait())
    try:
        while not stopping.is_set():
            # First of all, too: whoever just started leaves the first moments to those who wait for an answer.
            await asyncio.wait({stop}, timeout=schedule.every_s)
            await _run_due(db, jobs, stopping)
    finally:
        stop.cancel()


async def _run_due(db: Database, jobs: Sequence[Job], stopping: asyncio.Event) -> None:
    for job in jobs:
        if stopping.is_set():
            return
        try:
            async with platform_transaction(db) as conn:
                fence = await store.schedules.claim_run(conn, job.name, lease_s=job.lease_s)
            if fence is None:
                continue
            try:
                async with _kept(db, job, fence):
                    result = await job.run()
            except Exception as error:
                _log.warning("a job failed", job=job.name, reason=reason_of(error))
                result = {"failed": 1}
            async with platform_transaction(db) as conn:
                await store.schedules.mark_run(conn, job.name, fence, next_in_s=job.every_s, result=result)
        except Exception as error:
            # The database is away, or busy: its leases run out by themselves.
            _log.warning("a job could not be claimed", job=job.name, reason=reason_of(error))


@asynccontextmanager
async def _kept(db: Database, job: Job, fence: int) -> AsyncIterator[None]:
    """Gives a sign of life now and then while the block runs."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(job.lease_s / 4)
            try:
                async with platform_transaction(db) as conn:
                    await store.schedules.renew_run(conn, job.name, fence, lease_s=job.lease_s)
            except Exception as error:
                _log.warning("a job could not be renewed", job=job.name, reason=reason_of(error))

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()


def _jobs(
    db: Database,
    accounts: Accounts,
    schedule: Schedule,
    box: SecretBox,
    n8n: N8nApi | None,
    clock: Clock,
) -> list[Job]:
    options, policy = schedule.charges, schedule.dunning

    async def reconcile() -> dict[str, int]:
        return msgspec.structs.asdict(await reconcile_providers(db, accounts, clock=clock))

    regular: dict[str, Callable[[], Awaitable[dict[str, int]]]] = {
        "pending_payments": lambda: poll_pending_payments(db, accounts, clock=clock),
        "order_expiry": lambda: expire_orders(db, accounts, clock=clock),
        "renewals": lambda: renew_subscriptions(db, accounts, box=box, options=options, policy=policy, clock=clock),
        "dunning": lambda: run_dunning(db, policy, clock=clock),
        "trial_ends": lambda: announce_trial_ends(db, notice_days=schedule.trial_notice_days, clock=clock),
        "open_calls": lambda: close_open_calls(db, accounts, box=box, nexus_events=options.nexus_events, clock=clock),
        "stalls": lambda: watch_stalls(db, admin_email=schedule.admin_email, clock=clock),
        "overdue_refunds": lambda: announce_overdue_refunds(
            db, alert_days=schedule.refund_alert_days, admin_email=schedule.admin_email, clock=clock
        ),
        "reviews": lambda: announce_reviews(db, admin_email=schedule.admin_email, clock=clock),
    }
    if n8n is not None:
        regular["purchase_notices"] = lambda: send_purchase_notices(db, n8n, clock=clock)
    jobs = [Job(name=name, every_s=schedule.every_s, run=run) for name, run in regular.items()]
    return [*jobs, Job(name="reconcile", every_s=schedule.reconcile_every_s, run=reconcile)]
