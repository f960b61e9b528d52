"""SQL over how often somebody tried: for platform transactions only."""

from datetime import datetime, timedelta

from chassis.db import Connection


async def take_try(conn: Connection, key: bytes, emission: timedelta, tolerance: timedelta) -> float | None:
    """None when the try is allowed and counted; else the seconds until the next one is. Time is the database's.

    GCRA in one upsert: exact however many come at once, since they wait for one row.
    """
    wait_s: float | None = await conn.fetchval(
        """
        WITH moment AS (SELECT clock_timestamp() AS at),
             taken AS (
                INSERT INTO rate_limits AS l (key, tat) SELECT $1, at + $2::interval FROM moment
                ON CONFLICT (key) DO UPDATE
                    SET tat = greatest(l.tat, (SELECT at FROM moment)) + $2::interval
                    WHERE greatest(l.tat, (SELECT at FROM moment)) + $2::interval
                          <= (SELECT at FROM moment) + $3::interval
                RETURNING true AS ok)
        SELECT CASE WHEN EXISTS (SELECT FROM taken) THEN NULL
               ELSE greatest(0.001, extract(epoch FROM
                    (SELECT tat FROM rate_limits WHERE key = $1) + $2::interval - $3::interval
                    - (SELECT at FROM moment)))::float8 END
        """,
        key,
        emission,
        tolerance,
    )
    return wait_s


async def give_back_try(conn: Connection, key: bytes, emission: timedelta) -> None:
    """Uncounts one try, and leaves the others counted."""
    await conn.execute("UPDATE rate_limits SET tat = tat - $2::interval WHERE key = $1", key, emission)


async def give_back_tries(conn: Connection, key: bytes) -> None:
    """Forgets the tries: whoever succeeded starts anew."""
    await conn.execute("DELETE FROM rate_limits WHERE key = $1", key)


async def purge(conn: Connection, now: datetime) -> int:
    """Deletes the limits that hold nobody back any more; returns how many."""
    status = await conn.execute("DELETE FROM rate_limits WHERE tat < $1", now)
    return int(status.split()[-1])
