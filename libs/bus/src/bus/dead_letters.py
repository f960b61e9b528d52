"""Messages that will not be tried again: collected from the dead queues into Postgres, listed, replayed, discarded."""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from bus import deliveries
from bus.connection import Broker
from bus.envelope import decode_envelope
from bus.messages import (
    DEATH_HEADER,
    OWN_HEADERS,
    REASON_HEADER,
    STACK_HEADER,
    Incoming,
    Outgoing,
    message_key,
)
from bus.outbox import Connection
from bus.settlement import Consumer, Transaction
from bus.topology import dead_queue
from contracts.errors import Malformed, NotFound

_NAMESPACE: Final = UUID("5f1d6a0e-3c56-4a58-9f0f-6a1c2d9b7e44")
_SENT_AT_ONCE: Final = 100


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead message as it is listed; `times` counts how often it died, replays included."""

    id: UUID
    queue: str
    message_id: str | None
    type: str | None
    tenant_id: UUID | None
    reason: str
    stack_hash: str | None
    attempts: int
    producer: str | None
    times: int
    size_bytes: int
    died_at: datetime
    resolution: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    erased_at: datetime | None


class DeadLetterContent(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter with what it carried; an erased body is a tombstone."""

    letter: DeadLetter
    content_type: str | None
    headers: dict[str, Any]
    body: bytes


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; what is None does not narrow it. `reason` is a part of the reason's text."""

    ids: tuple[UUID, ...] | None = None
    queue: str | None = None
    type: str | None = None
    tenant_id: UUID | None = None
    reason: str | None = None
    since: datetime | None = None
    resolved: bool = False
    limit: int = 1000


class Replayed(msgspec.Struct, frozen=True):
    """What a replay did: letters sent, and letters that the broker did not take, with its words."""

    sent: tuple[UUID, ...]
    failed: dict[UUID, str]


def collector(queue: str, transaction: Transaction) -> Consumer:
    """The consumer that moves the dead queue of `queue` into the table."""

    async def handle(messages: Sequence[Incoming]) -> None:
        async with transaction(None) as conn:
            await insert(conn, queue, messages)

    return Consumer(queue=dead_queue(queue), handle=handle, terminal=True)


async def insert(conn: Connection, queue: str, messages: Sequence[Incoming]) -> None:
    """Notes dead messages of `queue`. One that died before, told by its id and body, is open again.

    Takes whatever a message may hold: this is the last stop. A message seen twice is noted once.
    """
    rows = {row[0]: row for row in (_row(queue, message) for message in messages)}
    if not rows:
        return
    await conn.execute(
        """
        INSERT INTO dead_letters AS d (id, death_id, queue, message_id, type, tenant_id, reason, stack_hash, attempts,
                                       producer, content_type, headers, body)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[],
                             $8::text[], $9::integer[], $10::text[], $11::text[], $12::jsonb[], $13::bytea[])
        ON CONFLICT (id) DO UPDATE SET
            death_id = excluded.death_id, reason = excluded.reason, stack_hash = excluded.stack_hash,
            attempts = excluded.attempts, headers = excluded.headers, times = d.times + 1, died_at = excluded.died_at,
            resolution = NULL, resolved_at = NULL, resolved_by = NULL
        WHERE d.death_id <> excluded.death_id
        """,
        *(list(column) for column in zip(*(rows[key] for key in sorted(rows)), strict=True)),
    )


async def list_letters(conn: Connection, selection: Selection) -> list[DeadLetter]:
    """The selected letters, oldest first; the resolved ones only with `resolved`."""
    rows = await conn.fetch(
        """
        SELECT id, queue, message_id, type, tenant_id, reason, stack_hash, attempts, producer, times,
               octet_length(body) AS size_bytes, died_at, resolution, resolved_at, resolved_by, erased_at
        FROM dead_letters
        WHERE ($1::uuid[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR queue = $2)
          AND ($3::text IS NULL OR type = $3) AND ($4::uuid IS NULL OR tenant_id = $4)
          AND ($5::text IS NULL OR position($5 IN reason) > 0) AND ($6::timestamptz IS NULL OR died_at >= $6)
          AND ($7 OR resolution IS NULL)
        ORDER BY died_at, id LIMIT $8
        """,
        selection.ids, selection.queue, selection.type, selection.tenant_id, selection.reason, selection.since,
        selection.resolved, selection.limit,
    )  # fmt: skip
    return [DeadLetter(**dict(row)) for row in rows]


async def show(conn: Connection, letter_id: UUID) -> DeadLetterContent:
    """One letter with its headers and body.

    Raises NotFound.
    """
    letters = await list_letters(conn, Selection(ids=(letter_id,), resolved=True))
    row = await conn.fetchrow("SELECT content_type, headers, body FROM dead_letters WHERE id = $1", letter_id)
    if not letters or row is None:
        raise NotFound("There is no such dead letter.")
    headers = msgspec.json.decode(row["headers"])
    return DeadLetterContent(
        letter=letters[0], content_type=row["content_type"], headers=headers, body=bytes(row["body"])
    )


async def replay(
    conn: Connection, broker: Broker, selection: Selection, *, actor: str, rate_per_s: float | None = None
) -> Replayed:
    """Sends the selected open letters to their queues again, under their own message ids, and notes who did it.

    Attempts and deaths count from nought again. Erased letters are left out. Dying in the middle may send up to a
    hundred twice; the inbox drops those. To see what it would do, ask `list_letters`.
    """
    wanted = [letter.id for letter in await list_letters(conn, _open(selection))]
    sent: list[UUID] = []
    failed: dict[UUID, str] = {}
    step = _SENT_AT_ONCE if rate_per_s is None else max(1, min(_SENT_AT_ONCE, int(rate_per_s)))
    for start in range(0, len(wanted), step):
        async with conn.transaction():
            rows = await conn.fetch(
                """
                SELECT id, queue, message_id, type, producer, content_type, headers, body FROM dead_letters
                WHERE id = ANY ($1::uuid[]) AND resolution IS NULL AND erased_at IS NULL FOR UPDATE SKIP LOCKED
                """,
                wanted[start : start + step],
            )
            for queue in sorted({row["queue"] for row in rows}):
                # A process that died as it buried the message left it in hand, and the count that buried it.
                keys = [message_key(row["message_id"], row["body"]) for row in rows if row["queue"] == queue]
                await deliveries.forget(conn, queue, keys)
            outcomes = await broker.publish_batch([_message(row) for row in rows])
            confirmed = [row["id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
            failed |= {row["id"]: outcome for row, outcome in zip(rows, outcomes, strict=True) if outcome is not None}
            sent += await _resolve(conn, confirmed, "replayed", actor)
        if rate_per_s is not None and start + step < len(wanted):
            await asyncio.sleep(len(rows) / rate_per_s)
    return Replayed(tuple(sent), failed)


async def discard(conn: Connection, selection: Selection, *, actor: str) -> list[UUID]:
    """Closes the selected open letters and notes who did it; they can be looked at for a month. Returns their ids."""
    wanted = [letter.id for letter in await list_letters(conn, _open(selection))]
    return await _resolve(conn, wanted, "discarded", actor)


def _open(selection: Selection) -> Selection:
    return msgspec.structs.replace(selection, resolved=False)


async def purge(conn: Connection) -> int:
    """Forgets letters that were closed over a month ago, with what they carried. Returns how many, 1,000 at most."""
    status = await conn.execute(
        """
        DELETE FROM dead_letters WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM dead_letters WHERE resolved_at < now() - interval '30 days' LIMIT 1000))
        """
    )
    return int(status.rsplit(" ", 1)[1])


async def _resolve(conn: Connection, ids: Sequence[UUID], resolution: str, actor: str) -> list[UUID]:
    rows = await conn.fetch(
        """
        UPDATE dead_letters SET resolution = $2, resolved_at = clock_timestamp(), resolved_by = $3
        WHERE id = ANY ($1::uuid[]) AND resolution IS NULL RETURNING id
        """,
        ids, resolution, actor,
    )  # fmt: skip
    return [row["id"] for row in rows]


def _row(queue: str, message: Incoming) -> tuple[Any, ...]:
    body_hash = hashlib.sha256(message.body).hexdigest()
    death_id = _uuid(message.headers.get(DEATH_HEADER)) or uuid5(_NAMESPACE, f"{queue}|{body_hash}")
    # Without a message_id equal bodies are two messages. Two bodies under one message_id are two as well.
    named = message.message_id is not None
    letter_id = uuid5(_NAMESPACE, f"{queue}|{message.message_id}|{body_hash}") if named else death_id
    event_type, tenant_id = message.message_type, None
    with suppress(Malformed):
        envelope = decode_envelope(message.body)
        event_type, tenant_id = envelope.type, envelope.tenantid
    reason = message.headers.get(REASON_HEADER)
    headers = msgspec.json.encode(message.headers, enc_hook=repr).replace(b"\\u0000", b"\\ufffd").decode()
    return (
        letter_id,
        death_id,
        queue,
        _text(message.message_id),
        _text(event_type),
        tenant_id,
        _text(reason) if isinstance(reason, str) else "the broker gave up on it",
        _text(message.headers.get(STACK_HEADER)),
        message.attempts,
        _text(message.app_id),
        _text(message.content_type),
        headers,
        message.body,
    )


def _message(row: Any) -> Outgoing:
    headers = msgspec.json.decode(row["headers"])
    return Outgoing(
        exchange="",
        routing_key=row["queue"],
        body=row["body"],
        message_id=row["message_id"],
        content_type=row["content_type"],
        message_type=row["type"],
        app_id=row["producer"],
        headers={name: value for name, value in headers.items() if name not in OWN_HEADERS},
    )


def _text(value: object) -> str | None:
    # Postgres cannot store U+0000.
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else None


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
