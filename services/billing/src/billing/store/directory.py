"""SQL over the directories: a provider's object, a webhook token or an address -> whose it is."""

from datetime import datetime
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


class EmailOwner(msgspec.Struct, frozen=True):
    """The tenant that purchases by an address belong to; `user_id` None while no user of it is known."""

    tenant_id: UUID
    user_id: UUID | None


async def claim_email(conn: Connection, email: str, tenant_id: UUID, now: datetime) -> EmailOwner:
    """Whose the address is: `tenant_id`'s, if it was nobody's. For a platform transaction.

    Two at once get the same answer. A disabled person's address is nobody's.
    """
    row = await conn.fetchrow(
        """
        INSERT INTO email_owners AS o (email, tenant_id, is_active, updated_at) VALUES ($1, $2, true, $3)
        ON CONFLICT (email) DO UPDATE SET
            tenant_id = CASE WHEN o.is_active THEN o.tenant_id ELSE excluded.tenant_id END,
            user_id = CASE WHEN o.is_active THEN o.user_id END,
            updated_at = CASE WHEN o.is_active THEN o.updated_at ELSE excluded.updated_at END,
            is_active = true
        RETURNING tenant_id, user_id
        """,
        email,
        tenant_id,
        now,
    )
    assert row is not None
    return EmailOwner(row["tenant_id"], row["user_id"])


async def set_email_owner(
    conn: Connection, email: str, tenant_id: UUID, user_id: UUID, *, is_active: bool, at: datetime
) -> None:
    """The tenants service says whose the address is, as of `at`. For a platform transaction.

    A first membership stays, and older news changes nothing: a disabled person's address is kept to tell that by.
    """
    await conn.execute(
        """
        INSERT INTO email_owners AS o (email, tenant_id, user_id, is_active, updated_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (email) DO UPDATE SET
            tenant_id = excluded.tenant_id, user_id = excluded.user_id, is_active = excluded.is_active,
            updated_at = excluded.updated_at
        WHERE CASE WHEN o.tenant_id = excluded.tenant_id THEN o.user_id IS NULL OR o.updated_at <= excluded.updated_at
                   ELSE excluded.is_active AND (o.user_id IS NULL OR NOT o.is_active) END
        """,
        email,
        tenant_id,
        user_id,
        is_active,
        at,
    )


async def delete_former_emails(conn: Connection, tenant_id: UUID, user_id: UUID, email: str, at: datetime) -> None:
    """The user has another address now: those they had before `at` are nobody's. For a platform transaction."""
    await conn.execute(
        "DELETE FROM email_owners WHERE tenant_id = $1 AND user_id = $2 AND email <> $3 AND updated_at <= $4",
        tenant_id,
        user_id,
        email,
        at,
    )


async def delete_email_owner(conn: Connection, tenant_id: UUID, email: str) -> bool:
    """Whether the address was the tenant's; it is nobody's any more. For a platform transaction."""
    deleted = await conn.fetchval(
        "DELETE FROM email_owners WHERE tenant_id = $1 AND email = $2 RETURNING true", tenant_id, email
    )
    return deleted is True


async def find_email_of_user(conn: Connection, tenant_id: UUID, user_id: UUID) -> str | None:
    """The address of one of the tenant's users."""
    email: str | None = await conn.fetchval(
        "SELECT email FROM email_owners WHERE tenant_id = $1 AND user_id = $2 ORDER BY updated_at DESC LIMIT 1",
        tenant_id,
        user_id,
    )
    return email
