"""Makes an API key, shown once: what is kept of it is a hash."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import Conflict, FieldError, Invalid
from tenants import store
from tenants.domain.api_keys import ApiKey, KeyStatus, normal_networks
from tenants.domain.doers import Doer
from tenants.domain.identifiers import new_id
from tenants.domain.roles import Powers
from tenants.domain.tokens import new_api_key, sha256_of, shown_part
from tenants.usecases.check_scopes import check_scopes
from tenants.usecases.save_api_key import save_api_key
from tenants.usecases.tell_deed import tell_deed


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is to open. `scopes` are named ones and permissions; `replaces_id` is the key it takes over from."""

    name: str
    description: str
    scopes: list[str]
    allowed_ips: list[str]
    rate_limit: int
    expires_at: datetime | None
    replaces_id: UUID | None


async def create_api_key(
    conn: Connection, tenant_id: UUID, new: NewApiKey, *, powers: Powers, by: Doer, now: datetime
) -> tuple[ApiKey, str]:
    """The key as stored, and the key itself. The one that it replaces goes on until somebody revokes it.

    In a platform transaction. Raises Invalid for scopes that there are none of, a network that is none or an end that
    is past; Forbidden for more than the caller may; NotFound for a key to replace that the tenant does not have.
    """
    await check_scopes(conn, new.scopes, powers=powers)
    if new.expires_at is not None and new.expires_at <= now:
        raise Invalid("The end is past.", code="bad_expiry", errors=[FieldError("$.expiresAt", "is past")])
    if new.replaces_id is not None:
        await store.api_keys.lock_key(conn, tenant_id, new.replaces_id)
    secret = new_api_key()
    key = ApiKey(
        tenant_id=tenant_id,
        id=new_id(now),
        name=new.name,
        description=new.description,
        prefix=shown_part(secret),
        key_sha256=sha256_of(secret),
        scopes=list(dict.fromkeys(new.scopes)),
        allowed_ips=normal_networks(new.allowed_ips),
        rate_limit=new.rate_limit,
        status=KeyStatus.ACTIVE,
        expires_at=new.expires_at,
        last_used_at=None,
        usage_count=0,
        replaces_id=new.replaces_id,
        created_by=by.actor.id,
        version=1,
        created_at=now,
        updated_at=now,
        revoked_at=None,
    )
    if not await store.api_keys.claim_hash(conn, tenant_id, key.key_sha256, key.id):
        raise Conflict("This key is there already.", code="already_exists")
    stored = await save_api_key(conn, None, key, now=now)
    await tell_deed(
        conn,
        tenant_id,
        "api_key.created",
        by=by,
        kind="api_key",
        target_id=key.id,
        now=now,
        prefix=key.prefix,
        scopes=",".join(key.scopes)[:500],
    )
    return stored, secret
