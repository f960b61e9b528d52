"""SQL over provider_calls."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from billing.store.rows import read, read_all, write
from chassis.db import Connection


class ProviderCall(msgspec.Struct, frozen=True, kw_only=True):
    """One row of provider_calls; `status` is planned, unknown, done or refused."""

    id: UUID
    tenant_id: UUID
    provider: str
    account_id: UUID
    operation: str
    key: str
    params: dict[str, Any]
    status: str
    result: dict[str, Any] | None
    error: str | None
    attempts: int
    created_at: datetime
    updated_at: datetime


async def plan_call(conn: Connection, tenant_id: UUID, call: ProviderCall) -> ProviderCall:
    """The call as it stands under its key: this one, or the one that was planned before."""
    await conn.execute(
        """
        INSERT INTO provider_calls
        SELECT r.* FROM jsonb_populate_record(NULL::provider_calls, $2::jsonb) r WHERE r.tenant_id = $1
        ON CONFLICT DO NOTHING
        """,
        tenant_id,
        write(call),
    )
    found = await find_call(conn, tenant_id, call.provider, call.key)
    assert found is not None
    return found


async def find_call(conn: Connection, tenant_id: UUID, provider: str, key: str) -> ProviderCall | None:
    """The call that was planned under that key."""
    return read(
        ProviderCall,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM provider_calls t WHERE tenant_id = $1 AND provider = $2 AND key = $3",
            tenant_id,
            provider,
            key,
        ),
    )


async def count_refused(conn: Connection, tenant_id: UUID, provider: str, stem: str) -> int:
    """How many calls whose keys begin with `stem` the provider refused: what the next try's key is numbered by."""
    count: int = await conn.fetchval(
        """
        SELECT count(*) FROM provider_calls
        WHERE tenant_id = $1 AND provider = $2 AND status = 'refused' AND starts_with(key, $3)
        """,
        tenant_id,
        provider,
        stem,
    )
    return count


async def claim_call(conn: Connection, tenant_id: UUID, call_id: UUID, *, lease_s: float) -> ProviderCall | None:
    """The call, nobody else's for `lease_s` seconds; None while it is somebody's, or when it has ended.

    Time is the database's.
    """
    return read(
        ProviderCall,
        await conn.fetchval(
            """
            UPDATE provider_calls t SET lease_until = now() + make_interval(secs => $3)
            WHERE tenant_id = $1 AND id = $2 AND status IN ('planned', 'unknown')
              AND (lease_until IS NULL OR lease_until < now())
            RETURNING to_jsonb(t)
            """,
            tenant_id,
            call_id,
            lease_s,
        ),
    )


async def list_open(
    conn: Connection, operation: str, now: datetime, *, first_after_s: float, limit: int
) -> list[ProviderCall]:
    """Calls of that kind that nobody has brought to an end and that are due for another try, the longest idle first.

    The first try of one that was only planned is due after `first_after_s`, later ones after a minute, two, four, and
    so on up to an hour. For a platform transaction.
    """
    return read_all(
        ProviderCall,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM provider_calls t
            WHERE status IN ('planned', 'unknown') AND operation = $1
              AND updated_at + CASE attempts
                  WHEN 0 THEN make_interval(secs => $3)
                  ELSE LEAST(interval '1 hour', interval '1 minute' * power(2, LEAST(attempts, 10) - 1)) END <= $2
            ORDER BY updated_at LIMIT $4
            """,
            operation,
            now,
            first_after_s,
            limit,
        ),
    )


async def mark_ended(
    conn: Connection,
    tenant_id: UUID,
    call_id: UUID,
    *,
    status: str,
    result: dict[str, Any] | None,
    error: str | None,
    now: datetime,
) -> None:
    """Writes what came of a try, and lets the next one have it; a call that is done stays done."""
    await conn.execute(
        """
        UPDATE provider_calls
        SET status = $3, result = $4::jsonb, error = $5, attempts = attempts + 1, updated_at = $6, lease_until = NULL
        WHERE tenant_id = $1 AND id = $2 AND status <> 'done'
        """,
        tenant_id,
        call_id,
        status,
        None if result is None else msgspec.json.encode(result).decode(),
        error,
        now,
    )
