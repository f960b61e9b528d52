"""Writes down what somebody outside is to be asked, with the transaction that it is for: no crash forgets it."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain.identifiers import new_id
from billing.store.provider_calls import ProviderCall
from chassis.db import Connection


async def plan_call(
    conn: Connection,
    tenant_id: UUID,
    *,
    provider: str,
    account_id: UUID,
    operation: str,
    key: str,
    params: msgspec.Struct,
    now: datetime,
) -> ProviderCall:
    """The call under that key, as it stands: this one, or the one that was planned before."""
    call = ProviderCall(
        id=new_id(now),
        tenant_id=tenant_id,
        provider=provider,
        account_id=account_id,
        operation=operation,
        key=key,
        params=msgspec.to_builtins(params),
        status="planned",
        result=None,
        error=None,
        attempts=0,
        created_at=now,
        updated_at=now,
    )
    return await store.provider_calls.plan_call(conn, tenant_id, call)
