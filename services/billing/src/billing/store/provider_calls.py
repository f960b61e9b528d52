"""SQL over provider_calls."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from billing.store.rows import read, write
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
    """Writes what came of a try; a call that is done stays done."""
    await conn.execute(
        """
        UPDATE provider_calls
        SET status = $3, result = $4::jsonb, error = $5, attempts = attempts + 1, updated_at = $6
        WHERE tenant_id = $1 AND id = $2 AND status <> 'done'
        """,
        tenant_id,
        call_id,
        status,
        None if result is None else msgspec.json.encode(result).decode(),
        error,
        now,
    )
