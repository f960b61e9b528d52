"""Counts the processes that died of a message: whoever takes one in hand says so first, and says when it is done."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bus.outbox import Connection

MAX_DEATHS: Final = 3


class Standing(msgspec.Struct, frozen=True):
    """`fresh`: nobody has had the message in hand; otherwise `deaths` is how many processes ended while they had."""

    fresh: bool
    deaths: int


async def begin(conn: Connection, queue: str, keys: Sequence[bytes]) -> dict[bytes, Standing]:
    """Takes the messages in hand, in one statement; returns how each stands.

    One that was in hand before is put down again: `hold` it when its turn comes. A death is a holder whose database
    session is gone, unless the database itself was restarted since.
    """
    rows = await conn.fetch(
        """
        WITH quick AS (SELECT set_config('synchronous_commit', 'off', true)),
             me AS (SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
        INSERT INTO deliveries AS d (queue, message_key, holder_pid, holder_since)
        SELECT $1, key, me.pid, me.backend_start FROM quick, me, unnest($2::bytea[]) AS key
        ON CONFLICT (queue, message_key) DO UPDATE SET
            deaths = d.deaths + CASE
                WHEN d.holder_pid IS NULL OR d.holder_since < pg_postmaster_start_time() THEN 0
                WHEN EXISTS (SELECT FROM pg_stat_activity AS a
                             WHERE a.pid = d.holder_pid AND a.backend_start = d.holder_since) THEN 0
                ELSE 1 END,
            holder_pid = (SELECT a.pid FROM pg_stat_activity AS a
                          WHERE a.pid = d.holder_pid AND a.backend_start = d.holder_since)
        RETURNING message_key, deaths, xmax = 0 AS fresh
        """,
        # Sorted, so that consumers with the same messages wait for each other in one direction only.
        queue, sorted(set(keys)),
    )  # fmt: skip
    return {row["message_key"]: Standing(row["fresh"], row["deaths"]) for row in rows}


async def hold(conn: Connection, queue: str, key: bytes) -> None:
    """Takes one message in hand again, alone."""
    await conn.execute(
        """
        WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))
        UPDATE deliveries SET holder_pid = a.pid, holder_since = a.backend_start
        FROM pg_stat_activity AS a, quick WHERE a.pid = pg_backend_pid() AND queue = $1 AND message_key = $2
        """,
        queue, key,
    )  # fmt: skip


async def forget(conn: Connection, queue: str, keys: Sequence[bytes]) -> None:
    """Puts the messages down for good: done, sent elsewhere, or failed with the process alive."""
    await conn.execute(
        """
        WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))
        DELETE FROM deliveries USING quick WHERE queue = $1 AND message_key = ANY (
            SELECT message_key FROM deliveries WHERE queue = $1 AND message_key = ANY ($2::bytea[])
            ORDER BY message_key FOR UPDATE)
        """,
        queue, list(keys),
    )  # fmt: skip


async def purge(conn: Connection) -> int:
    """Forgets what has been in hand for over a day: the message went elsewhere. Returns how many, 1,000 at most."""
    status = await conn.execute(
        """
        DELETE FROM deliveries WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM deliveries WHERE started_at < now() - interval '1 day' LIMIT 1000))
        """
    )
    return int(status.rsplit(" ", 1)[1])
