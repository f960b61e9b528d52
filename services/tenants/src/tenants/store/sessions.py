"""SQL over refresh tokens, one-time links and limits: for platform transactions only."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from chassis.db import Connection


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in, as its refresh tokens see it."""

    id: UUID
    user_id: UUID
    tenant_id: UUID | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def is_live(self, now: datetime) -> bool:
        """Whether its tokens are good for anything."""
        return self.revoked_at is None and self.expires_at > now


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time link or challenge that was just used up."""

    user_id: UUID
    purpose: str
    tenant_id: UUID | None
    object_id: UUID | None


async def insert_family(
    conn: Connection, family_id: UUID, user_id: UUID, tenant_id: UUID | None, created_at: datetime, expires_at: datetime
) -> None:
    """Begins a family of refresh tokens."""
    await conn.execute(
        """
        INSERT INTO refresh_families (id, user_id, tenant_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
        """,
        family_id,
        user_id,
        tenant_id,
        created_at,
        expires_at,
    )


async def insert_refresh_token(conn: Connection, token_sha256: bytes, family_id: UUID, issued_at: datetime) -> None:
    """Adds a token to its family."""
    await conn.execute(
        "INSERT INTO refresh_tokens (token_sha256, family_id, issued_at) VALUES ($1, $2, $3)",
        token_sha256,
        family_id,
        issued_at,
    )


async def lock_family_of_token(conn: Connection, token_sha256: bytes) -> tuple[Family, datetime | None] | None:
    """The family of a refresh token, kept from others, and when the token was used before, if it was."""
    return _family(
        await conn.fetchrow(
            """
            SELECT f.id, f.user_id, f.tenant_id, f.created_at, f.expires_at, f.revoked_at, t.used_at
            FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id
            WHERE t.token_sha256 = $1 FOR UPDATE OF f, t
            """,
            token_sha256,
        )
    )


async def find_family_of_token(conn: Connection, token_sha256: bytes) -> tuple[Family, datetime | None] | None:
    """The same, kept from nobody: a family is never locked before its person by who then needs both."""
    return _family(
        await conn.fetchrow(
            """
            SELECT f.id, f.user_id, f.tenant_id, f.created_at, f.expires_at, f.revoked_at, t.used_at
            FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id
            WHERE t.token_sha256 = $1
            """,
            token_sha256,
        )
    )


def _family(row: Any) -> tuple[Family, datetime | None] | None:
    if row is None:
        return None
    fields = dict(row)
    used_at = fields.pop("used_at")
    return msgspec.convert(fields, Family), used_at


async def move_family(conn: Connection, family_id: UUID, tenant_id: UUID | None) -> None:
    """The family's tokens are for that tenant from now on."""
    await conn.execute("UPDATE refresh_families SET tenant_id = $2 WHERE id = $1", family_id, tenant_id)


async def mark_token_used(conn: Connection, token_sha256: bytes, successor: bytes, now: datetime) -> None:
    """The token is spent; `successor` is the one that took its place, sealed."""
    await conn.execute(
        "UPDATE refresh_tokens SET used_at = $3, successor = $2 WHERE token_sha256 = $1", token_sha256, successor, now
    )


async def find_successor(conn: Connection, token_sha256: bytes) -> bytes | None:
    """The token that took this one's place, sealed; None once it is forgotten."""
    successor: bytes | None = await conn.fetchval(
        "SELECT successor FROM refresh_tokens WHERE token_sha256 = $1", token_sha256
    )
    return successor


async def mark_family_revoked(conn: Connection, family_id: UUID, why: str, now: datetime) -> None:
    """No token of the family is good any more."""
    await conn.execute(
        "UPDATE refresh_families SET revoked_at = $3, revoked_why = $2 WHERE id = $1 AND revoked_at IS NULL",
        family_id,
        why,
        now,
    )


async def mark_families_revoked(
    conn: Connection, user_id: UUID, why: str, now: datetime, tenant_id: UUID | None = None
) -> None:
    """None of the person's sign-ins, or of those in one tenant, is good any more."""
    await conn.execute(
        """
        UPDATE refresh_families SET revoked_at = $3, revoked_why = $2
        WHERE user_id = $1 AND revoked_at IS NULL AND ($4::uuid IS NULL OR tenant_id = $4)
        """,
        user_id,
        why,
        now,
        tenant_id,
    )


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
    """Deletes what has run out: limits, links of 7 days ago, families of 30 days ago; returns how many rows.

    A successor of a refresh token is forgotten after a minute.
    """
    count: int = await conn.fetchval(
        """
        WITH a AS (DELETE FROM rate_limits WHERE tat < $1 RETURNING 1),
             b AS (DELETE FROM one_time_links WHERE expires_at < $1 - interval '7 days' RETURNING 1),
             c AS (DELETE FROM refresh_families WHERE expires_at < $1 - interval '30 days' RETURNING 1),
             d AS (UPDATE refresh_tokens SET successor = NULL
                   WHERE successor IS NOT NULL AND used_at < $1 - interval '1 minute')
        SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c)
        """,
        now,
    )
    return count
