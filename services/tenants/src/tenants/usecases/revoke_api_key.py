"""Makes an API key good for nothing, for good."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from tenants import store
from tenants.domain.api_keys import ApiKey, KeyStatus
from tenants.domain.doers import Doer
from tenants.usecases.save_api_key import save_api_key
from tenants.usecases.tell_deed import tell_deed


async def revoke_api_key(conn: Connection, tenant_id: UUID, key_id: UUID, *, by: Doer, now: datetime) -> ApiKey:
    """The key as stored; itself where it is revoked already. In a platform transaction. Raises NotFound."""
    before = await store.api_keys.lock_key(conn, tenant_id, key_id)
    if before.status is KeyStatus.REVOKED:
        return before
    stored = await save_api_key(
        conn, before, msgspec.structs.replace(before, status=KeyStatus.REVOKED, revoked_at=now), now=now
    )
    await tell_deed(conn, tenant_id, "api_key.revoked", by=by, kind="api_key", target_id=key_id, now=now)
    return stored
