"""SQL over the directories: a provider's object, a webhook token or an address -> whose it is."""

from uuid import UUID

import msgspec

from chassis.db import Connection


class Found(msgspec.Struct, frozen=True):
    """Whose it is: the tenant, our object, and the provider account that it stands at."""

    tenant_id: UUID
    object_id: UUID
    account_id: UUID


async def insert_object(
    conn: Connection, tenant_id: UUID, *, provider: str, account_id: UUID, kind: str, external_id: str, object_id: UUID
) -> bool:
    """Notes that the provider's object is ours; False where it is somebody's, or another object of ours, already."""
    added = await conn.fetchval(
        """
        INSERT INTO provider_objects (tenant_id, provider, account_id, kind, external_id, object_id)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true
        """,
        tenant_id,
        provider,
        account_id,
        kind,
        external_id,
        object_id,
    )
    if added:
        return True
    return bool(
        await conn.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM provider_objects
                WHERE tenant_id = $1 AND provider = $2 AND account_id = $3 AND kind = $4 AND external_id = $5
                  AND object_id = $6)
            """,
            tenant_id,
            provider,
            account_id,
            kind,
            external_id,
            object_id,
        )
    )


async def find_object(
    conn: Connection, *, provider: str, account_id: UUID | None, kind: str, external_id: str
) -> Found | None:
    """Whose the provider's object is. For a platform transaction, or within its tenant.

    Without an account (a webhook that names none) an id that two accounts share finds nobody.
    """
    rows = await conn.fetch(
        """
        SELECT tenant_id, object_id, account_id FROM provider_objects
        WHERE provider = $1 AND kind = $3 AND external_id = $4 AND ($2::uuid IS NULL OR account_id = $2) LIMIT 2
        """,
        provider,
        account_id,
        kind,
        external_id,
    )
    return Found(*rows[0]) if len(rows) == 1 else None


async def find_webhook_account(conn: Connection, provider: str, token_sha256: bytes) -> tuple[UUID, UUID] | None:
    """Tenant and account that the token belongs to. For a platform transaction."""
    row = await conn.fetchrow(
        "SELECT tenant_id, account_id FROM webhook_tokens WHERE provider = $1 AND token_sha256 = $2",
        provider,
        token_sha256,
    )
    return None if row is None else (row["tenant_id"], row["account_id"])


async def find_email_owner(conn: Connection, email: str) -> UUID | None:
    """The tenant that a purchase by this address belongs to. For a platform transaction."""
    tenant_id: UUID | None = await conn.fetchval("SELECT tenant_id FROM email_owners WHERE email = $1", email)
    return tenant_id


async def claim_email(conn: Connection, email: str, tenant_id: UUID) -> UUID:
    """The tenant that the address belongs to: `tenant_id` if it had none. For a platform transaction."""
    owner: UUID = await conn.fetchval(
        """
        INSERT INTO email_owners (email, tenant_id, updated_at) VALUES ($1, $2, now())
        ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING tenant_id
        """,
        email,
        tenant_id,
    )
    return owner


async def set_email_owner(conn: Connection, email: str, tenant_id: UUID, user_id: UUID) -> None:
    """The tenants service says whose the address is; a first membership stays. For a platform transaction."""
    await conn.execute(
        """
        INSERT INTO email_owners (email, tenant_id, user_id, updated_at) VALUES ($1, $2, $3, now())
        ON CONFLICT (email) DO UPDATE SET tenant_id = excluded.tenant_id, user_id = excluded.user_id, updated_at = now()
        WHERE email_owners.user_id IS NULL OR email_owners.tenant_id = excluded.tenant_id
        """,
        email,
        tenant_id,
        user_id,
    )


async def delete_email_owner(conn: Connection, email: str, tenant_id: UUID) -> None:
    """Nobody's any more. For a platform transaction."""
    await conn.execute("DELETE FROM email_owners WHERE email = $1 AND tenant_id = $2", email, tenant_id)
