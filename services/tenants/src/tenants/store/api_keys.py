"""SQL over api_keys and their hashes."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import NotFound
from tenants.domain.api_keys import ApiKey


class KeyCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many keys a tenant has, by what they are good for, and how often they were used."""

    total: int
    active: int
    revoked: int
    expired: int
    usage_count: int


async def claim_hash(conn: Connection, tenant_id: UUID, key_sha256: bytes, key_id: UUID) -> bool:
    """Makes the hash this key's; False where it is a key's already."""
    return (
        await conn.fetchval(
            """
            INSERT INTO api_key_hashes (tenant_id, key_sha256, key_id) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING RETURNING true
            """,
            tenant_id,
            key_sha256,
            key_id,
        )
        is True
    )


async def find_by_hash(conn: Connection, key_sha256: bytes) -> tuple[UUID, UUID] | None:
    """Tenant and id of the key with that hash. For a platform transaction."""
    row = await conn.fetchrow("SELECT tenant_id, key_id FROM api_key_hashes WHERE key_sha256 = $1", key_sha256)
    return None if row is None else (row["tenant_id"], row["key_id"])


async def release_hash(conn: Connection, tenant_id: UUID, key_id: UUID) -> None:
    """Nobody finds the key by its hash any more."""
    await conn.execute("DELETE FROM api_key_hashes WHERE tenant_id = $1 AND key_id = $2", tenant_id, key_id)


async def insert_key(conn: Connection, tenant_id: UUID, key: ApiKey) -> None:
    """Adds the key."""
    await conn.execute(
        """
        INSERT INTO api_keys (tenant_id, id, name, description, prefix, key_sha256, scopes, allowed_ips, rate_limit,
                              status, expires_at, replaces_id, created_by, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """,
        tenant_id,
        key.id,
        key.name,
        key.description,
        key.prefix,
        key.key_sha256,
        key.scopes,
        key.allowed_ips,
        key.rate_limit,
        key.status.value,
        key.expires_at,
        key.replaces_id,
        key.created_by,
        key.version,
        key.created_at,
        key.updated_at,
    )


async def find_key(conn: Connection, tenant_id: UUID, key_id: UUID) -> ApiKey | None:
    """The key, or None."""
    return _read(await conn.fetchrow("SELECT * FROM api_keys WHERE tenant_id = $1 AND id = $2", tenant_id, key_id))


async def lock_key(conn: Connection, tenant_id: UUID, key_id: UUID) -> ApiKey:
    """The key, kept from others until the transaction ends. Raises NotFound."""
    key = _read(
        await conn.fetchrow("SELECT * FROM api_keys WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, key_id)
    )
    if key is None:
        raise NotFound("no such API key")
    return key


async def list_keys(conn: Connection, tenant_id: UUID, *, offset: int, limit: int) -> list[ApiKey]:
    """The tenant's keys, newest first."""
    rows = await conn.fetch(
        "SELECT * FROM api_keys WHERE tenant_id = $1 ORDER BY id DESC OFFSET $2 LIMIT $3", tenant_id, offset, limit
    )
    return [key for row in rows if (key := _read(row)) is not None]


async def lock_made_by(conn: Connection, tenant_id: UUID, created_by: str) -> list[ApiKey]:
    """The active keys that `created_by` made, kept from others until the transaction ends."""
    rows = await conn.fetch(
        """
        SELECT * FROM api_keys WHERE tenant_id = $1 AND created_by = $2 AND status = 'active' ORDER BY id FOR UPDATE
        """,
        tenant_id,
        created_by,
    )
    return [key for row in rows if (key := _read(row)) is not None]


async def count_keys(conn: Connection, tenant_id: UUID, now: datetime) -> KeyCounts:
    """How many keys the tenant has."""
    row = await conn.fetchrow(
        """
        SELECT count(*) AS total,
               count(*) FILTER (WHERE status = 'active' AND (expires_at IS NULL OR expires_at > $2)) AS active,
               count(*) FILTER (WHERE status = 'revoked') AS revoked,
               count(*) FILTER (WHERE status = 'active' AND expires_at <= $2) AS expired,
               COALESCE(sum(usage_count), 0)::bigint AS usage_count
        FROM api_keys WHERE tenant_id = $1
        """,
        tenant_id,
        now,
    )
    return msgspec.convert(dict(row or {}), KeyCounts)


async def update_key(conn: Connection, tenant_id: UUID, key: ApiKey) -> None:
    """Writes what of the key may change; its use is counted by `mark_used`."""
    await conn.execute(
        """
        UPDATE api_keys SET name = $3, description = $4, scopes = $5, allowed_ips = $6, rate_limit = $7, status = $8,
               expires_at = $9, version = $10, updated_at = $11, revoked_at = $12
        WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        key.id,
        key.name,
        key.description,
        key.scopes,
        key.allowed_ips,
        key.rate_limit,
        key.status.value,
        key.expires_at,
        key.version,
        key.updated_at,
        key.revoked_at,
    )


async def mark_used(conn: Connection, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
    """Counts one use of the key."""
    await conn.execute(
        """
        UPDATE api_keys SET last_used_at = greatest(last_used_at, $3), usage_count = usage_count + 1
        WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        key_id,
        now,
    )


async def delete_key(conn: Connection, tenant_id: UUID, key_id: UUID) -> None:
    """Removes the key."""
    await conn.execute("DELETE FROM api_keys WHERE tenant_id = $1 AND id = $2", tenant_id, key_id)


def _read(row: Any) -> ApiKey | None:
    # Column by column, not as JSON: a bytea would come out as text.
    return None if row is None else msgspec.convert(dict(row), ApiKey)
