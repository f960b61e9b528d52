"""Takes in seed 002's one static key, so that a checkout site that knows it need not change."""

from datetime import datetime
from typing import Final

from chassis.db import Connection
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.api_keys import ApiKey, KeyStatus
from tenants.domain.doers import SCHEDULE
from tenants.domain.identifiers import new_id
from tenants.domain.tokens import sha256_of
from tenants.usecases.revoke_api_key import revoke_api_key
from tenants.usecases.save_api_key import save_api_key
from tenants.usecases.tell_deed import tell_deed

#: Who made it. Whatever else was made by it before is revoked: a key that leaked is replaced by setting another one.
MADE_BY: Final = "EXTERNAL_API_KEY"
_SHOWN: Final = 4
_AN_HOUR: Final = 1000


async def adopt_external_key(conn: Connection, secret: str, *, now: datetime) -> bool:
    """Whether it was taken in now: as a key of the platform with the scope payments:claim, and nothing else.

    One that is known stays as it is, also revoked. In a platform transaction.
    """
    key = ApiKey(
        tenant_id=PLATFORM_TENANT_ID,
        id=new_id(now),
        name=MADE_BY,
        description="The checkout site's key, from the environment",
        prefix=secret[:_SHOWN],
        key_sha256=sha256_of(secret),
        scopes=["payments:claim"],
        allowed_ips=[],
        rate_limit=_AN_HOUR,
        status=KeyStatus.ACTIVE,
        expires_at=None,
        last_used_at=None,
        usage_count=0,
        replaces_id=None,
        created_by=MADE_BY,
        version=1,
        created_at=now,
        updated_at=now,
        revoked_at=None,
    )
    if not await store.api_keys.claim_hash(conn, PLATFORM_TENANT_ID, key.key_sha256, key.id):
        return False
    for old in await store.api_keys.lock_made_by(conn, PLATFORM_TENANT_ID, MADE_BY):
        await revoke_api_key(conn, PLATFORM_TENANT_ID, old.id, by=SCHEDULE, now=now)
    await save_api_key(conn, None, key, now=now)
    await tell_deed(
        conn,
        PLATFORM_TENANT_ID,
        "api_key.created",
        by=SCHEDULE,
        kind="api_key",
        target_id=key.id,
        now=now,
        scopes="payments:claim",
    )
    return True
