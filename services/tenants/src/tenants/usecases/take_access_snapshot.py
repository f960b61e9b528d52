"""Gathers all that the edge decides by: roles, keys, and whose tokens are not good any more."""

from datetime import datetime, timedelta
from typing import Final

from chassis.db import Connection
from contracts.tenants import AccessSnapshot, ApiKeyFact, RoleFact
from tenants import store
from tenants.domain.api_keys import permissions_of_scopes

#: Longer than any access token lives, whoever signed it: what was called back before then has run out by itself.
_CALLED_BACK_WITHIN: Final = timedelta(days=31)


async def take_access_snapshot(conn: Connection, *, now: datetime) -> AccessSnapshot:
    """The snapshot, in the caller's platform transaction."""
    roles = await store.roles.list_all_roles(conn)
    keys = await store.snapshot.list_live_keys(conn, now)
    catalogue = [permission.key for permission in await store.roles.list_permissions(conn)]
    return AccessSnapshot(
        taken_at=now,
        roles=tuple(
            RoleFact(tenant_id=role.tenant_id, role=role.name, permissions=tuple(role.permissions)) for role in roles
        ),
        api_keys=tuple(
            ApiKeyFact(
                key_id=key["id"],
                tenant_id=key["tenant_id"],
                key_sha256=key["key_sha256"],
                scopes=tuple(key["scopes"]),
                permissions=tuple(sorted(permissions_of_scopes(key["scopes"], catalogue))),
                allowed_ips=tuple(key["allowed_ips"]),
                rate_limit=key["rate_limit"],
                expires_at=key["expires_at"],
            )
            for key in keys
        ),
        subjects=tuple(await store.snapshot.list_subjects(conn, now - _CALLED_BACK_WITHIN)),
        closed_tenants=tuple(await store.snapshot.list_closed_tenants(conn)),
    )
