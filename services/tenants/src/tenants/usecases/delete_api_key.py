"""Removes an API key: it opens nothing any more, and is not listed."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from tenants import store
from tenants.domain.doers import Doer
from tenants.usecases.revoke_api_key import revoke_api_key
from tenants.usecases.tell_deed import tell_deed


async def delete_api_key(conn: Connection, tenant_id: UUID, key_id: UUID, *, by: Doer, now: datetime) -> None:
    """In a platform transaction. Raises NotFound."""
    await revoke_api_key(conn, tenant_id, key_id, by=by, now=now)
    await store.api_keys.release_hash(conn, tenant_id, key_id)
    await store.api_keys.delete_key(conn, tenant_id, key_id)
    await tell_deed(conn, tenant_id, "api_key.deleted", by=by, kind="api_key", target_id=key_id, now=now)
