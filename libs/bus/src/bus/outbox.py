"""Messages that leave exactly when the transaction that wrote them commits; the relay publishes them afterwards."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from bus.envelope import CONTENT_TYPE, VERSION_HEADER, encode_event
from bus.failpoints import failpoint
from bus.trace import current_traceparent
from contracts.errors import TooLarge
from contracts.event import Event, event_type, exchange_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
RETENTION_H: Final = 72
TOMBSTONE: Final = b'{"erased":true}'


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """One event for `tell_many`; `version` is the aggregate's, by which consumers drop what is stale.

    `traceparent` is the W3C trace that the event belongs to, for one whose cause lies back; None: the present one.
    """

    event: Event
    aggregate_id: UUID
    tenant_id: UUID | None = None
    version: int | None = None
    traceparent: str | None = None


async def tell(
    conn: Connection, event: Event, *, tenant_id: UUID | None, aggregate_id: UUID, version: int | None = None
) -> UUID:
    """Writes `event` into the outbox, in the caller's transaction; returns its id, the message_id that readers see.

    Raises TooLarge for more than 4 MiB.
    """
    (event_id,) = await tell_many(
        conn, [Telling(event=event, tenant_id=tenant_id, aggregate_id=aggregate_id, version=version)]
    )
    return event_id


async def tell_many(conn: Connection, tellings: Sequence[Telling]) -> list[UUID]:
    """Writes the events into the outbox in one statement; returns their ids in the same order.

    Raises TooLarge when one has more than 4 MiB; then none is written.
    """
    now = datetime.now(UTC)
    present = current_traceparent.get()
    rows: list[tuple[Any, ...]] = []
    for telling in tellings:
        event_id = uuid7()
        name = event_type(telling.event)
        headers = {} if telling.version is None else {VERSION_HEADER: telling.version}
        body = encode_event(
            telling.event,
            event_id=event_id,
            tenant_id=telling.tenant_id,
            subject=str(telling.aggregate_id),
            time=now,
            traceparent=telling.traceparent or present,
            source="/" + name.split(".", 1)[0],
        )
        rows.append(
            _row(
                event_id, telling.tenant_id, telling.aggregate_id, telling.version, name, exchange_of(name), name,
                CONTENT_TYPE, headers, body,
            )
        )  # fmt: skip
    await _insert(conn, rows)
    return [row[0] for row in rows]


async def enqueue(
    conn: Connection,
    *,
    queue: str | None = None,
    exchange: str | None = None,
    routing_key: str | None = None,
    body: bytes,
    tenant_id: UUID | None,
    aggregate_id: UUID,
    message_id: UUID | None = None,
    content_type: str = "application/json",
) -> UUID:
    """Writes a message that is no event of ours into the outbox, in the caller's transaction; returns its message_id.

    It goes to `queue` by the default exchange and waits until there is one, or to a topic `exchange` under
    `routing_key`, where nobody needs to listen. `body` is sent as it is.

    Raises ValueError unless it is told either way, TooLarge for more than 4 MiB, and asyncpg's UniqueViolationError for
    a `message_id` written before.
    """
    if queue is not None and exchange is None and routing_key is None:
        exchange, routing_key = "", queue
    elif queue is not None or not exchange or routing_key is None:
        raise ValueError("either a queue, or an exchange and a routing key")
    row_id = message_id or uuid7()
    await _insert(
        conn,
        [_row(row_id, tenant_id, aggregate_id, None, routing_key, exchange, routing_key, content_type, {}, body)],
    )
    return row_id


async def republish(
    conn: Connection,
    *,
    since: datetime,
    type: str | None = None,  # noqa: A002 - the operator's word
    tenant_id: UUID | None = None,
) -> int:
    """Makes the relay send again what was published at or after `since`, for when a broker has lost its data.

    Returns the number of rows. They keep their ids, so that every inbox drops what it has had. Erased rows stay home.
    """
    # What the relay publishes again meanwhile is past this mark, or the loop would never end.
    until = await conn.fetchval("SELECT clock_timestamp()")
    total = 0
    while True:
        status = await conn.execute(
            """
            UPDATE outbox SET published_at = NULL, available_at = clock_timestamp(), attempts = 0, last_error = NULL
            WHERE id IN (
                SELECT id FROM outbox
                WHERE published_at >= $1 AND published_at < $2 AND erased_at IS NULL
                  AND ($3::text IS NULL OR type = $3) AND ($4::uuid IS NULL OR tenant_id = $4)
                LIMIT 5000 FOR UPDATE SKIP LOCKED)
            """,
            since, until, type, tenant_id,
        )  # fmt: skip
        count = _count(status)
        total += count
        if count == 0:
            return total


class Backlog(msgspec.Struct, frozen=True):
    """What waits in the outbox: rows (counted up to 100,000), the age of the oldest, and failed tries so far."""

    rows: int
    oldest_s: float
    failing: int


async def pending(conn: Connection) -> Backlog:
    """What waits in the outbox now."""
    row = await conn.fetchrow(
        """
        SELECT count(*) AS rows, count(*) FILTER (WHERE attempts > 0) AS failing,
               COALESCE(EXTRACT(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_s
        FROM (SELECT created_at, attempts FROM outbox
              WHERE published_at IS NULL ORDER BY available_at LIMIT 100000) AS waiting
        """
    )
    assert row is not None
    return Backlog(row["rows"], row["oldest_s"], row["failing"])


async def purge(conn: Connection, *, older_than_h: float = RETENTION_H) -> int:
    """Deletes published rows past their retention, at most 1,000; returns how many."""
    status = await conn.execute(
        """
        DELETE FROM outbox WHERE id IN (
            SELECT id FROM outbox WHERE published_at < clock_timestamp() - make_interval(secs => $1)
            ORDER BY published_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
        """,
        older_than_h * 3600,
    )
    return _count(status)


async def erase_body(conn: Connection, message_id: UUID | str) -> int:
    """Replaces the body of a message by a tombstone in the outbox and the dead letters; returns the rows changed.

    For secrets that must not outlive their use. An erased row is never published, republished or replayed.
    """
    outbox_id = _as_uuid(message_id)
    erased = await conn.execute(
        """
        UPDATE outbox SET body = $2, erased_at = clock_timestamp(), published_at = COALESCE(published_at, now())
        WHERE id = $1 AND erased_at IS NULL
        """,
        outbox_id, TOMBSTONE,
    )  # fmt: skip
    dead = await conn.execute(
        "UPDATE dead_letters SET body = $2, erased_at = clock_timestamp() WHERE message_id = $1 AND erased_at IS NULL",
        str(message_id), TOMBSTONE,
    )  # fmt: skip
    return _count(erased) + _count(dead)


def _as_uuid(message_id: UUID | str) -> UUID | None:
    if isinstance(message_id, UUID):
        return message_id
    try:
        return UUID(message_id)
    except ValueError:
        return None


def _row(
    row_id: UUID, tenant_id: UUID | None, aggregate_id: UUID, version: int | None, name: str, exchange: str,
    routing_key: str, content_type: str, headers: Mapping[str, Any], body: bytes,
) -> tuple[Any, ...]:  # fmt: skip
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"A message of {len(body)} bytes is over the limit of {MAX_BODY_BYTES}.")
    encoded = msgspec.json.encode(headers).decode()
    return row_id, tenant_id, aggregate_id, version, name, exchange, routing_key, content_type, encoded, body


async def _insert(conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    await conn.execute(
        """
        INSERT INTO outbox (id, tenant_id, aggregate_id, version, type, exchange, routing_key, content_type, headers,
                            body)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                             $8::text[], $9::jsonb[], $10::bytea[])
        """,
        *(list(column) for column in zip(*rows, strict=True)),
    )
    failpoint("outbox.after_insert")


def _count(status: str) -> int:
    """The row count of a command tag such as `UPDATE 3`."""
    return int(status.rsplit(" ", 1)[1])
