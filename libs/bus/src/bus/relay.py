"""Publishes committed outbox rows, at least once each: a row is marked only after the broker's confirm."""

import asyncio
import logging
from contextlib import suppress
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from bus import outbox
from bus.backoff import full_jitter
from bus.connection import IN_FLIGHT, Broker
from bus.failpoints import failpoint
from bus.failures import DATABASE_FAILED
from bus.messages import Outgoing
from bus.outbox import Connection
from bus.signals import SILENT, Signals

POLL_S: Final = 1.0
FAIR_EVERY_S: Final = 0.5
FAIR_SHARE: Final = 20
RETRY_BASE_S: Final = 0.5
RETRY_CAP_S: Final = 60.0
REPORT_EVERY_S: Final = 15.0
PURGE_EVERY_S: Final = 600.0

log = logging.getLogger(__name__)


async def run_relay(
    pool: "asyncpg.Pool[asyncpg.Record]", broker: Broker, *, stopping: asyncio.Event, signals: Signals = SILENT
) -> None:
    """Relays until `stopping` is set, then finishes the batch in hand and returns; outlives database and broker.

    Any number may run at once. `pool` needs three connections: one to listen, one to relay, one to tidy.
    """
    wake = asyncio.Event()
    side = [
        asyncio.create_task(_listen(pool, wake)),
        asyncio.create_task(_tidy(pool, signals)),
        asyncio.create_task(_set_after(stopping, wake)),
    ]
    try:
        await _relay(pool, broker, wake, stopping, signals)
    finally:
        for task in side:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)


async def _relay(
    pool: "asyncpg.Pool[asyncpg.Record]", broker: Broker, wake: asyncio.Event, stopping: asyncio.Event, signals: Signals
) -> None:
    fair = Fairness()
    failures = 0
    while not stopping.is_set():
        wake.clear()
        # Without a broker the rows are left alone: an outage shall not use up anybody's patience.
        if not await broker.ready_to_publish(POLL_S):
            continue
        try:
            async with pool.acquire(timeout=10) as conn:
                await relay_batch(conn, broker, fair=fair, signals=signals)
            failures = 0
        except DATABASE_FAILED as error:
            log.warning("relay: the database failed, trying again: %r", error)
            await asyncio.sleep(full_jitter(failures, base_s=0.2, cap_s=3.0))
            failures += 1
            continue
        if not fair.backlog:
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), POLL_S)


class Fairness:
    """Under a backlog, every half second a batch takes 20 rows of each tenant in turn instead of the oldest."""

    def __init__(self) -> None:
        self.after = UUID(int=0)
        self.backlog = False
        self.due = False
        self._next_at = 0.0

    def note(self, *, full: bool) -> None:
        """Takes account of a batch by age; `full` means that more is waiting."""
        now = asyncio.get_running_loop().time()
        self.backlog = full
        self.due = full and now >= self._next_at
        if self.due:
            self._next_at = now + FAIR_EVERY_S


async def relay_batch(conn: Connection, broker: Broker, *, fair: Fairness, signals: Signals = SILENT) -> int:
    """Publishes up to 200 rows that are due and records the outcome of each; returns how many were taken.

    The rows stay locked meanwhile, 5 s at most, so that relays do not meet. A row that fails waits with jitter.
    """
    async with conn.transaction():
        # A mark that is lost with the database's last moments means one duplicate, which every inbox absorbs.
        await conn.execute("SET LOCAL synchronous_commit TO off")
        rows = await (_claim_fairly(conn, fair) if fair.due else _claim_oldest(conn, fair))
        if not rows:
            return 0
        failpoint("relay.before_publish")
        outcomes = await broker.publish_batch([_message(row) for row in rows])
        failpoint("relay.after_confirm_before_mark")
        failed = [(row, outcome) for row, outcome in zip(rows, outcomes, strict=True) if outcome is not None]
        confirmed = [row["id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        if confirmed:
            await conn.execute(
                "UPDATE outbox SET published_at = clock_timestamp(), last_error = NULL WHERE id = ANY($1::uuid[])",
                confirmed,
            )
        if failed:
            await conn.execute(
                """
                UPDATE outbox SET attempts = attempts + 1, last_error = f.error,
                       available_at = clock_timestamp() + make_interval(secs => f.wait_s)
                FROM unnest($1::uuid[], $2::text[], $3::float8[]) AS f (id, error, wait_s) WHERE outbox.id = f.id
                """,
                [row["id"] for row, _ in failed],
                [outcome for _, outcome in failed],
                [full_jitter(row["attempts"], base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S) for row, _ in failed],
            )
    failpoint("relay.after_mark")
    if confirmed:
        signals.published(len(confirmed))
    if failed:
        signals.publish_failed(len(failed))
        log.warning("relay: %d of %d messages stay in the outbox: %s", len(failed), len(rows), failed[0][1])
    return len(rows)


async def _claim_oldest(conn: Connection, fair: Fairness) -> list[asyncpg.Record]:
    rows = await conn.fetch(
        """
        SELECT id, lane, type, exchange, routing_key, content_type, headers, body, attempts FROM outbox
        WHERE published_at IS NULL AND available_at <= clock_timestamp()
        ORDER BY available_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        IN_FLIGHT,
    )
    fair.note(full=len(rows) == IN_FLIGHT)
    return rows


async def _claim_fairly(conn: Connection, fair: Fairness) -> list[asyncpg.Record]:
    fair.due = False
    rows = await conn.fetch(
        """
        WITH RECURSIVE lanes (lane) AS (
            (SELECT lane FROM outbox WHERE published_at IS NULL AND lane > $1 ORDER BY lane LIMIT 1)
            UNION ALL
            SELECT (SELECT o.lane FROM outbox AS o WHERE o.published_at IS NULL AND o.lane > lanes.lane
                    ORDER BY o.lane LIMIT 1)
            FROM lanes WHERE lanes.lane IS NOT NULL
        )
        SELECT due.* FROM (SELECT lane FROM lanes WHERE lane IS NOT NULL LIMIT $2) AS l CROSS JOIN LATERAL (
            SELECT id, lane, type, exchange, routing_key, content_type, headers, body, attempts FROM outbox
            WHERE published_at IS NULL AND lane = l.lane AND available_at <= clock_timestamp()
            ORDER BY available_at, id LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
        """,
        fair.after, IN_FLIGHT // FAIR_SHARE, FAIR_SHARE,
    )  # fmt: skip
    # Rows without a tenant come with the oldest; past the last tenant it begins anew.
    fair.after = rows[-1]["lane"] if rows else UUID(int=0)
    return rows


def _message(row: asyncpg.Record) -> Outgoing:
    return Outgoing(
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        body=row["body"],
        message_id=str(row["id"]),
        content_type=row["content_type"],
        message_type=row["type"],
        headers=msgspec.json.decode(row["headers"]),
    )


async def _listen(pool: "asyncpg.Pool[asyncpg.Record]", wake: asyncio.Event) -> None:
    """Sets `wake` at each notification; polling makes up for whatever is missed here."""

    def on_notify(*_: object) -> None:
        wake.set()

    while True:
        try:
            async with pool.acquire(timeout=10) as conn:
                channel = await conn.fetchval("SELECT current_schema() || '_outbox'")
                await conn.add_listener(channel, on_notify)
                try:
                    while not conn.is_closed():
                        await asyncio.sleep(5)
                        await conn.execute("SELECT 1", timeout=5)
                finally:
                    # An error here, of a session that is gone, would take the place of the cancellation that ends us.
                    with suppress(*DATABASE_FAILED):
                        await conn.remove_listener(channel, on_notify)
        except DATABASE_FAILED as error:
            log.debug("relay: not listening: %r", error)
        await asyncio.sleep(1)


async def _tidy(pool: "asyncpg.Pool[asyncpg.Record]", signals: Signals) -> None:
    """Reports the backlog and deletes what is past its retention."""
    loop = asyncio.get_running_loop()
    purge_at = loop.time()
    while True:
        try:
            async with pool.acquire(timeout=10) as conn:
                backlog = await outbox.pending(conn)
                signals.backlog(backlog.rows, backlog.oldest_s)
                if loop.time() >= purge_at:
                    purge_at = loop.time() + PURGE_EVERY_S
                    while await outbox.purge(conn):
                        pass
        except DATABASE_FAILED as error:
            log.debug("relay: not tidied: %r", error)
        await asyncio.sleep(REPORT_EVERY_S)


async def _set_after(first: asyncio.Event, then: asyncio.Event) -> None:
    await first.wait()
    then.set()
