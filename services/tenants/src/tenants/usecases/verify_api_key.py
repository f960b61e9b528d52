"""Tells whether an API key that somebody shows is one, and whether it may do this."""

import math
from datetime import datetime

from chassis.db import Database, platform_transaction
from contracts.errors import Forbidden, TooManyRequests, Unauthenticated
from tenants import store
from tenants.domain.api_keys import ApiKey, is_allowed_from, is_live, permissions_of_scopes
from tenants.domain.rate import Limit
from tenants.domain.tokens import sha256_of


async def verify_api_key(
    db: Database, shown: str, *, address: str | None, permission: str, now: datetime
) -> tuple[ApiKey, frozenset[str]]:
    """The key, its use counted, and what it may.

    It is found by its hash: comparing takes the same time whatever is shown. Raises Unauthenticated for what is no live
    key, Forbidden from an address that is not allowed or for want of `permission`, TooManyRequests.
    """
    async with platform_transaction(db) as conn:
        found = await store.api_keys.find_by_hash(conn, sha256_of(shown))
        key = None if found is None else await store.api_keys.find_key(conn, *found)
        if key is None or not is_live(key, now):
            raise Unauthenticated("Invalid API key", code="invalid_api_key")  # seed 002's words
        if not is_allowed_from(key.allowed_ips, address):
            raise Forbidden("This API key may not be used from this address.", code="address_not_allowed")
        permissions = frozenset(
            permissions_of_scopes(key.scopes, [one.key for one in await store.roles.list_permissions(conn)])
        )
        if permission not in permissions:
            raise Forbidden(f"This needs the permission {permission}.", code="missing_permission")
        limit = Limit(f"api_key_{key.rate_limit}", key.rate_limit, 3600)
        wait_s = await store.tries.take_try(conn, limit.key(str(key.id)), limit.emission, limit.tolerance)
        if wait_s is not None:
            raise TooManyRequests(
                "This API key is used too often.", code="too_many_requests", retry_after_s=max(1, math.ceil(wait_s))
            )
        await store.api_keys.mark_used(conn, key.tenant_id, key.id, now)
    return key, permissions
