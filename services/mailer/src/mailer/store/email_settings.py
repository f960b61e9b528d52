"""SQL over email_settings."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import NotFound
from mailer.domain.email_settings import EmailSettings


async def list_settings(conn: Connection, tenant_id: UUID, *, after: UUID | None, limit: int) -> list[EmailSettings]:
    """The tenant's own rows in the order of their ids, those after `after`."""
    rows = await conn.fetch(
        """
        SELECT * FROM email_settings
        WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2)
        ORDER BY id LIMIT $3
        """,
        tenant_id,
        after,
        limit,
    )
    return msgspec.convert([dict(row) for row in rows], list[EmailSettings])


async def get_settings(conn: Connection, tenant_id: UUID, settings_id: UUID) -> EmailSettings:
    """One row of the tenant. Raises NotFound."""
    row = await conn.fetchrow("SELECT * FROM email_settings WHERE tenant_id = $1 AND id = $2", tenant_id, settings_id)
    if row is None:
        raise NotFound("no such e-mail settings")
    return msgspec.convert(dict(row), EmailSettings)


async def lock_settings(conn: Connection, tenant_id: UUID, settings_id: UUID) -> EmailSettings:
    """One row of the tenant, kept from others until the transaction ends. Raises NotFound."""
    row = await conn.fetchrow(
        "SELECT * FROM email_settings WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, settings_id
    )
    if row is None:
        raise NotFound("no such e-mail settings")
    return msgspec.convert(dict(row), EmailSettings)


async def has_settings(conn: Connection, tenant_id: UUID, settings_id: UUID) -> bool:
    """Whether the tenant has a row of that id."""
    return bool(
        await conn.fetchval(
            "SELECT EXISTS (SELECT FROM email_settings WHERE tenant_id = $1 AND id = $2)", tenant_id, settings_id
        )
    )


async def has_active(conn: Connection, tenant_id: UUID) -> bool:
    """Whether the tenant has an active row of its own."""
    return bool(
        await conn.fetchval("SELECT EXISTS (SELECT FROM email_settings WHERE tenant_id = $1 AND is_active)", tenant_id)
    )


async def list_settings_of_lanes(conn: Connection, lanes: Sequence[UUID]) -> list[EmailSettings]:
    """The rows that the claimed mails go out through, whoever they belong to."""
    rows = await conn.fetch("SELECT * FROM email_settings WHERE id = ANY($1::uuid[]) AND is_active", lanes)
    return msgspec.convert([dict(row) for row in rows], list[EmailSettings])


async def deactivate_settings(conn: Connection, tenant_id: UUID, *, but: UUID) -> UUID | None:
    """Leaves at most the row `but` active; the one that was until now, if there is another."""
    replaced: UUID | None = await conn.fetchval(
        """
        UPDATE email_settings SET is_active = false, updated_at = now()
        WHERE tenant_id = $1 AND is_active AND id <> $2
        RETURNING id
        """,
        tenant_id,
        but,
    )
    return replaced


async def upsert_settings(conn: Connection, tenant_id: UUID, settings: EmailSettings) -> None:
    """Writes the whole row, new or known; created_at stays what it was."""
    await conn.execute(
        """
        INSERT INTO email_settings (tenant_id, id, provider, smtp_host, smtp_port, smtp_user, smtp_pass, smtp_secure,
                                    sender_name, sender_email, amqp_url, is_active, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT (tenant_id, id) DO UPDATE SET
            provider = excluded.provider, smtp_host = excluded.smtp_host, smtp_port = excluded.smtp_port,
            smtp_user = excluded.smtp_user, smtp_pass = excluded.smtp_pass, smtp_secure = excluded.smtp_secure,
            sender_name = excluded.sender_name, sender_email = excluded.sender_email, amqp_url = excluded.amqp_url,
            is_active = excluded.is_active, updated_at = excluded.updated_at
        """,
        tenant_id,
        settings.id,
        settings.provider,
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_user,
        settings.smtp_pass,
        settings.smtp_secure,
        settings.sender_name,
        settings.sender_email,
        settings.amqp_url,
        settings.is_active,
        settings.created_at,
        settings.updated_at,
    )


async def delete_settings(conn: Connection, tenant_id: UUID, settings_id: UUID) -> EmailSettings:
    """Removes one row of the tenant, and returns what it was. Raises NotFound."""
    row = await conn.fetchrow(
        "DELETE FROM email_settings WHERE tenant_id = $1 AND id = $2 RETURNING *", tenant_id, settings_id
    )
    if row is None:
        raise NotFound("no such e-mail settings")
    return msgspec.convert(dict(row), EmailSettings)
