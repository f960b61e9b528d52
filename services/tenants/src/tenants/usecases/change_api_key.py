"""Changes what an API key opens, from where, and for how long; the key itself stays."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from chassis.db import Connection
from contracts.errors import Conflict, FieldError, Invalid
from tenants import store
from tenants.domain.api_keys import ApiKey, KeyStatus, normal_networks, permissions_of_scopes
from tenants.domain.doers import Doer
from tenants.domain.roles import Powers
from tenants.usecases.check_scopes import check_scopes
from tenants.usecases.save_api_key import save_api_key
from tenants.usecases.tell_deed import tell_deed


class ApiKeyChange(msgspec.Struct, frozen=True, kw_only=True):
    """What of a key is to change; UNSET stays."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    scopes: list[str] | UnsetType = UNSET
    allowed_ips: list[str] | UnsetType = UNSET
    rate_limit: int | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET


async def change_api_key(
    conn: Connection, tenant_id: UUID, key_id: UUID, change: ApiKeyChange, *, powers: Powers, by: Doer, now: datetime
) -> ApiKey:
    """The key as stored. In a platform transaction. Raises NotFound, Conflict for a revoked key, Forbidden for one that
    opens more than the caller may, before or after; Invalid as making one does.
    """
    before = await store.api_keys.lock_key(conn, tenant_id, key_id)
    if before.status is KeyStatus.REVOKED:
        raise Conflict("This key is revoked, and stays so.", code="key_revoked")
    catalogue = [one.key for one in await store.roles.list_permissions(conn)]
    powers.refuse_beyond(permissions_of_scopes(before.scopes, catalogue))
    wanted: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET
    }
    if change.scopes is not UNSET:
        await check_scopes(conn, change.scopes, powers=powers)
        wanted["scopes"] = list(dict.fromkeys(change.scopes))
    if change.allowed_ips is not UNSET:
        wanted["allowed_ips"] = normal_networks(change.allowed_ips)
    if isinstance(change.expires_at, datetime) and change.expires_at <= now:
        raise Invalid("The end is past.", code="bad_expiry", errors=[FieldError("$.expiresAt", "is past")])
    stored = await save_api_key(conn, before, msgspec.structs.replace(before, **wanted), now=now)
    if stored != before:
        await tell_deed(
            conn,
            tenant_id,
            "api_key.updated",
            by=by,
            kind="api_key",
            target_id=key_id,
            now=now,
            fields=",".join(sorted(wanted)),
            scopes=",".join(stored.scopes)[:500],
        )
    return stored
