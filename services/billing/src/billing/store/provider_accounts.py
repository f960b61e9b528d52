"""SQL over provider_accounts and the hashes that find them."""

from uuid import UUID

import msgspec

from billing.domain.provider_accounts import ProviderAccount
from chassis.db import Connection
from contracts.errors import NotFound


async def list_accounts(conn: Connection, tenant_id: UUID) -> list[ProviderAccount]:
    """The tenant's accounts, production before sandbox."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, provider, environment, api_key, api_key_hint, api_secret, webhook_secret,
               config::text AS config, is_active, created_by, updated_by, created_at, updated_at
        FROM provider_accounts WHERE tenant_id = $1 ORDER BY provider, environment
        """,
        tenant_id,
    )
    return [_read(row) for row in rows]


async def find_account(conn: Connection, tenant_id: UUID, account_id: UUID) -> ProviderAccount | None:
    """One account by its id."""
    row = await conn.fetchrow(
        """
        SELECT id, tenant_id, provider, environment, api_key, api_key_hint, api_secret, webhook_secret,
               config::text AS config, is_active, created_by, updated_by, created_at, updated_at
        FROM provider_accounts WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        account_id,
    )
    return None if row is None else _read(row)


async def lock_account_of(conn: Connection, tenant_id: UUID, provider: str, environment: str) -> ProviderAccount | None:
    """The tenant's account there, kept from others until the transaction ends."""
    row = await conn.fetchrow(
        """
        SELECT id, tenant_id, provider, environment, api_key, api_key_hint, api_secret, webhook_secret,
               config::text AS config, is_active, created_by, updated_by, created_at, updated_at
        FROM provider_accounts WHERE tenant_id = $1 AND provider = $2 AND environment = $3 FOR UPDATE
        """,
        tenant_id,
        provider,
        environment,
    )
    return None if row is None else _read(row)


async def upsert_account(conn: Connection, tenant_id: UUID, account: ProviderAccount) -> None:
    """Writes the account."""
    await conn.execute(
        """
        INSERT INTO provider_accounts (tenant_id, id, provider, environment, api_key, api_key_hint, api_secret,
                                       webhook_secret, config, is_active, created_by, updated_by, created_at,
                                       updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10, $11, $12, $13, $14)
        ON CONFLICT (tenant_id, id) DO UPDATE SET
            api_key = excluded.api_key, api_key_hint = excluded.api_key_hint, api_secret = excluded.api_secret,
            webhook_secret = excluded.webhook_secret, config = excluded.config, is_active = excluded.is_active,
            updated_by = excluded.updated_by, updated_at = excluded.updated_at
        """,
        tenant_id,
        account.id,
        account.provider,
        account.environment,
        account.api_key,
        account.api_key_hint,
        account.api_secret,
        account.webhook_secret,
        msgspec.json.encode(account.config).decode(),
        account.is_active,
        account.created_by,
        account.updated_by,
        account.created_at,
        account.updated_at,
    )


async def delete_account(conn: Connection, tenant_id: UUID, provider: str, environment: str) -> None:
    """Removes the tenant's account there. Raises NotFound."""
    row = await conn.fetchrow(
        """
        DELETE FROM provider_accounts WHERE tenant_id = $1 AND provider = $2 AND environment = $3 RETURNING id
        """,
        tenant_id,
        provider,
        environment,
    )
    if row is None:
        raise NotFound("no such provider account")


async def replace_webhook_token(
    conn: Connection, tenant_id: UUID, account_id: UUID, provider: str, token_sha256: bytes
) -> bool:
    """Makes the account be found by that token alone; False where the token is another account's."""
    await conn.execute(
        "DELETE FROM webhook_tokens WHERE tenant_id = $1 AND account_id = $2 AND token_sha256 <> $3",
        tenant_id,
        account_id,
        token_sha256,
    )
    # Another tenant's row is not shown to this one: what was not added, and is not the account's own, is somebody's.
    await conn.execute(
        """
        INSERT INTO webhook_tokens (tenant_id, account_id, provider, token_sha256) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        tenant_id,
        account_id,
        provider,
        token_sha256,
    )
    found = await conn.fetchval(
        """
        SELECT true FROM webhook_tokens
        WHERE tenant_id = $1 AND account_id = $2 AND provider = $3 AND token_sha256 = $4
        """,
        tenant_id,
        account_id,
        provider,
        token_sha256,
    )
    return found is True


async def delete_webhook_tokens(conn: Connection, tenant_id: UUID, account_id: UUID) -> None:
    """No token finds the account any more."""
    await conn.execute("DELETE FROM webhook_tokens WHERE tenant_id = $1 AND account_id = $2", tenant_id, account_id)


def _read(row: object) -> ProviderAccount:
    fields = dict(row)  # type: ignore[call-overload]  # asyncpg's Record is a mapping that its stubs call an object
    fields["config"] = msgspec.json.decode(fields["config"])
    return msgspec.convert(fields, ProviderAccount)
