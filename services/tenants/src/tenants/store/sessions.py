"""SQL over sign-ins and their refresh tokens: for platform transactions only."""

from datetime import datetime
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


async def purge(conn: Connection, now: datetime) -> int:
    """Deletes the families that ran out 30 days ago; returns how many. A token's successor is forgotten in a minute."""
    count: int = await conn.fetchval(
        """
        WITH late AS (UPDATE refresh_tokens SET successor = NULL
                      WHERE successor IS NOT NULL AND used_at < $1::timestamptz - interval '1 minute'),
             gone AS (DELETE FROM refresh_families WHERE expires_at < $1::timestamptz - interval '30 days' RETURNING 1)
        SELECT count(*) FROM gone
        """,
        now,
    )
    return count
