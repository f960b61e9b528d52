"""SQL over schedules: which of several processes runs a job, and when the job is next due."""

from datetime import datetime

import msgspec

from chassis.db import Connection


async def claim_run(conn: Connection, name: str, *, lease_s: float) -> int | None:
    """The fence of a run that is due and nobody else's now; None otherwise. Time is the database's."""
    fence: int | None = await conn.fetchval(
        """
        INSERT INTO schedules (name, due_at, lease_until, fence)
        VALUES ($1, now(), now() + make_interval(secs => $2), 1)
        ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until, fence = schedules.fence + 1
        WHERE schedules.due_at <= now() AND (schedules.lease_until IS NULL OR schedules.lease_until < now())
        RETURNING fence
        """,
        name,
        lease_s,
    )
    return fence


async def renew_run(conn: Connection, name: str, fence: int, *, lease_s: float) -> bool:
    """Holds the run for longer; False for one whose lease another has taken over."""
    return (
        await conn.fetchval(
            """
            UPDATE schedules SET lease_until = now() + make_interval(secs => $3)
            WHERE name = $1 AND fence = $2 AND lease_until IS NOT NULL RETURNING true
            """,
            name,
            fence,
            lease_s,
        )
        is True
    )


async def mark_run(conn: Connection, name: str, fence: int, *, next_in_s: float, result: dict[str, int]) -> bool:
    """Ends the run and sets when the next is due; False for one whose lease another has taken over."""
    return (
        await conn.fetchval(
            """
            UPDATE schedules SET due_at = now() + make_interval(secs => $3), lease_until = NULL, last_result = $4::jsonb
            WHERE name = $1 AND fence = $2 RETURNING true
            """,
            name,
            fence,
            next_in_s,
            msgspec.json.encode(result).decode(),
        )
        is True
    )


async def find_last_result(conn: Connection, name: str) -> tuple[datetime, dict[str, int]] | None:
    """When the job is next due and what its last run counted."""
    row = await conn.fetchrow("SELECT due_at, last_result::text AS last_result FROM schedules WHERE name = $1", name)
    if row is None or row["last_result"] is None:
        return None
    return row["due_at"], msgspec.json.decode(row["last_result"], type=dict[str, int])
