"""SQL over one-time links and challenges: for platform transactions only."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from chassis.db import Connection


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time link or challenge that was just used up."""

    user_id: UUID
    purpose: str
    tenant_id: UUID | None
    object_id: UUID | None


async def insert_link(
    conn: Connection,
    token_sha256: bytes,
    *,
    user_id: UUID,
    purpose: str,
    tenant_id: UUID | None,
    object_id: UUID | None,
    now: datetime,
    lifetime: timedelta,
) -> None:
    """Adds a link; those of the same purpose that the person had before are good for nothing any more."""
    await conn.execute(
        """
        WITH gone AS (UPDATE one_time_links SET used_at = $6
                      WHERE user_id = $2 AND purpose = $3 AND used_at IS NULL AND purpose <> 'two_factor'
                        AND object_id IS NOT DISTINCT FROM $5::uuid)
        INSERT INTO one_time_links (token_sha256, user_id, purpose, tenant_id, object_id, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        token_sha256,
        user_id,
        purpose,
        tenant_id,
        object_id,
        now,
        now + lifetime,
    )


async def use_link(conn: Connection, token_sha256: bytes, purposes: list[str], now: datetime) -> Link | None:
    """The link, used up by this; None for one that is unknown, spent, late, or for something else."""
    row = await conn.fetchrow(
        """
        UPDATE one_time_links SET used_at = $3
        WHERE token_sha256 = $1 AND purpose = ANY($2::text[]) AND used_at IS NULL AND expires_at > $3
        RETURNING user_id, purpose, tenant_id, object_id
        """,
        token_sha256,
        purposes,
        now,
    )
    return None if row is None else msgspec.convert(dict(row), Link)


async def spend_links(conn: Connection, user_id: UUID, purposes: list[str], now: datetime) -> None:
    """None of the person's links and challenges of these purposes is good any more."""
    await conn.execute(
        """
        UPDATE one_time_links SET used_at = $3 WHERE user_id = $1 AND purpose = ANY($2::text[]) AND used_at IS NULL
        """,
        user_id,
        purposes,
        now,
    )


async def has_open_link(conn: Connection, user_id: UUID, purpose: str, now: datetime) -> bool:
    """Whether a link of that purpose that was sent to the person still works."""
    return bool(
        await conn.fetchval(
            """
            SELECT EXISTS (SELECT FROM one_time_links
                           WHERE user_id = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3)
            """,
            user_id,
            purpose,
            now,
        )
    )


async def find_link(conn: Connection, token_sha256: bytes, purposes: list[str], now: datetime) -> Link | None:
    """The link, still good after this; None as for `use_link`."""
    row = await conn.fetchrow(
        """
        SELECT user_id, purpose, tenant_id, object_id FROM one_time_links
        WHERE token_sha256 = $1 AND purpose = ANY($2::text[]) AND used_at IS NULL AND expires_at > $3
        """,
        token_sha256,
        purposes,
        now,
    )
    return None if row is None else msgspec.convert(dict(row), Link)


async def purge(conn: Connection, now: datetime) -> int:
    """Deletes the links that ran out 7 days ago; returns how many."""
    status = await conn.execute(
        "DELETE FROM one_time_links WHERE expires_at < $1::timestamptz - interval '7 days'", now
    )
    return int(status.split()[-1])
