"""SQL that reads what the edge needs to know: for platform transactions only."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Connection
from contracts.tenants import SubjectFact


async def list_live_keys(conn: Connection, now: datetime) -> list[dict[str, Any]]:
    """Every API key that opens something: id, tenant, hash, scopes, networks, limit, end."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, encode(key_sha256, 'hex') AS key_sha256, scopes, allowed_ips, rate_limit, expires_at
        FROM api_keys WHERE status = 'active' AND (expires_at IS NULL OR expires_at > $1)
        ORDER BY tenant_id, id
        """,
        now,
    )
    return [dict(row) for row in rows]


async def list_subjects(conn: Connection, since: datetime) -> list[SubjectFact]:
    """Whose tokens are not all good: the disabled, and those whose tokens were called back since then."""
    rows = await conn.fetch(
        """
        SELECT id AS user_id, NULL::uuid AS tenant_id, tokens_valid_from AS valid_from,
               status IN ('inactive', 'suspended', 'erased') AS is_disabled
        FROM users WHERE tokens_valid_from > $1 OR status IN ('inactive', 'suspended', 'erased')
        UNION ALL
        SELECT user_id, tenant_id, updated_at, true FROM memberships WHERE status IN ('inactive', 'suspended')
        """,
        since,
    )
    return [
        SubjectFact(
            user_id=row["user_id"],
            tenant_id=row["tenant_id"],
            valid_from=row["valid_from"],
            is_disabled=row["is_disabled"],
        )
        for row in rows
    ]


async def list_closed_tenants(conn: Connection) -> list[UUID]:
    """The tenants in which nobody acts."""
    rows = await conn.fetch("SELECT tenant_id FROM tenants WHERE status IN ('suspended', 'closed')")
    return [row["tenant_id"] for row in rows]


async def add_key_uses(conn: Connection, uses: Mapping[UUID, int], now: datetime) -> int:
    """Adds to the counts of these keys and notes that they were used; returns how many of them there are."""
    rows = await conn.fetch(
        """
        UPDATE api_keys k SET usage_count = k.usage_count + u.count, last_used_at = $3
        FROM unnest($1::uuid[], $2::bigint[]) AS u(id, count) WHERE k.id = u.id RETURNING k.id
        """,
        list(uses.keys()),
        list(uses.values()),
        now,
    )
    return len(rows)
