"""Writes an API key and tells it: the one way in which a key is ever made or changed."""

from datetime import datetime

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from contracts.tenants import ApiKeyCreated, ApiKeyRevoked
from tenants import store
from tenants.domain.api_keys import ApiKey, KeyStatus, key_fact


async def save_api_key(conn: Connection, before: ApiKey | None, after: ApiKey, *, now: datetime) -> ApiKey:
    """`after`, stored; `before` is the locked row, None for a new one, its hash claimed. In a platform transaction."""
    if before == after:
        return after
    stored = after
    if before is None:
        await store.api_keys.insert_key(conn, stored.tenant_id, stored)
    else:
        stored = msgspec.structs.replace(after, version=before.version + 1, updated_at=now)
        await store.api_keys.update_key(conn, stored.tenant_id, stored)
    event: ApiKeyCreated | ApiKeyRevoked
    if stored.status is KeyStatus.REVOKED:
        event = ApiKeyRevoked(
            key_id=stored.id, tenant_id=stored.tenant_id, key_sha256=stored.key_sha256.hex(), occurred_at=now
        )
    else:
        catalogue = [one.key for one in await store.roles.list_permissions(conn)]
        event = ApiKeyCreated(key=key_fact(stored, catalogue), occurred_at=now)
    await tell(conn, event, tenant_id=stored.tenant_id, aggregate_id=stored.id, version=stored.version)
    return stored
