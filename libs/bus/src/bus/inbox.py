"""Remembers which messages have had their effect, in the transaction of the effect: each has it once."""

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from bus.outbox import Connection

RETENTION_DAYS: Final = 30
_MAX_ID_CHARS: Final = 200


async def first_time(conn: Connection, consumer: str, message_id: UUID | str) -> bool:
    """Whether `consumer` sees this message for the first time; if so, notes it in the caller's transaction.

    Waits for a concurrent transaction that has the same message in hand.
    """
    return (
        await conn.fetchval(
            "INSERT INTO inbox (consumer, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
            consumer, _stored(message_id),
        )
        is True
    )  # fmt: skip


async def first_times(conn: Connection, consumer: str, message_ids: Sequence[UUID | str]) -> set[UUID | str]:
    """Those of `message_ids` that `consumer` sees for the first time, noted in the caller's transaction."""
    stored = {_stored(message_id): message_id for message_id in message_ids}
    rows = await conn.fetch(
        """
        INSERT INTO inbox (consumer, message_id) SELECT $1, m FROM unnest($2::text[]) AS m
        ON CONFLICT DO NOTHING RETURNING message_id
        """,
        # Sorted, so that two consumers with the same messages wait for each other in one direction only.
        consumer, sorted(stored),
    )  # fmt: skip
    return {stored[row["message_id"]] for row in rows}


async def purge(conn: Connection) -> int:
    """Forgets messages received over 30 days ago, at most 10,000; returns how many."""
    status = await conn.execute(
        """
        DELETE FROM inbox WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM inbox WHERE received_at < now() - make_interval(days => $1) LIMIT 10000))
        """,
        RETENTION_DAYS,
    )
    return int(status.rsplit(" ", 1)[1])


def _stored(message_id: UUID | str) -> str:
    # A stranger's message_id may be of any length or hold what Postgres cannot store.
    text = str(message_id)
    if len(text) <= _MAX_ID_CHARS and text.isprintable():
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
