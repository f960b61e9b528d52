"""SQL over suppressions."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import Conflict, NotFound
from mailer.domain.suppressions import Suppression


async def list_suppressions(
    conn: Connection, tenant_id: UUID, *, email: str | None, after: UUID | None, limit: int
) -> list[Suppression]:
    """The tenant's list in the order of its ids, those after `after`."""
    rows = await conn.fetch(
        """
        SELECT * FROM suppressions
        WHERE tenant_id = $1 AND ($2::text IS NULL OR email = $2) AND ($3::uuid IS NULL OR id > $3)
        ORDER BY id LIMIT $4
        """,
        tenant_id,
        email,
        after,
        limit,
    )
    return msgspec.convert([dict(row) for row in rows], list[Suppression])


async def list_causes(
    conn: Connection, tenant_ids: Sequence[UUID], emails: Sequence[str]
) -> dict[tuple[UUID, str], str]:
    """Why an address is suppressed, for those that are, of the pairs at the same place of the two lists."""
    rows = await conn.fetch(
        """
        SELECT s.tenant_id, s.email, s.cause FROM suppressions s
        JOIN unnest($1::uuid[], $2::text[]) AS asked(tenant_id, email) USING (tenant_id, email)
        """,
        tenant_ids,
        emails,
    )
    return {(row["tenant_id"], row["email"]): row["cause"] for row in rows}


async def insert_suppression(conn: Connection, tenant_id: UUID, suppression: Suppression) -> None:
    """Adds an address. Raises Conflict when it is listed already."""
    row = await conn.fetchrow(
        """
        INSERT INTO suppressions (tenant_id, id, email, cause, detail, email_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        tenant_id,
        suppression.id,
        suppression.email,
        suppression.cause,
        suppression.detail,
        suppression.email_id,
        suppression.created_at,
    )
    if row is None:
        raise Conflict("the address is on the list already", code="already_suppressed")


async def insert_bounced(
    conn: Connection,
    tenant_ids: Sequence[UUID],
    ids: Sequence[UUID],
    emails: Sequence[str],
    details: Sequence[str],
    email_ids: Sequence[UUID],
    now: datetime,
) -> None:
    """Adds the addresses that servers have refused for good; those listed already stay as they are."""
    await conn.execute(
        """
        INSERT INTO suppressions (tenant_id, id, email, cause, detail, email_id, created_at)
        SELECT bounce.*, $6 FROM (
            SELECT tenant_id, id, email, 'bounced', detail, email_id
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[])
                AS given(tenant_id, id, email, detail, email_id)
        ) AS bounce
        ON CONFLICT (tenant_id, email) DO NOTHING
        """,
        tenant_ids,
        ids,
        emails,
        details,
        email_ids,
        now,
    )


async def delete_suppression(conn: Connection, tenant_id: UUID, suppression_id: UUID) -> Suppression:
    """Takes an address off the tenant's list, and returns its entry. Raises NotFound."""
    row = await conn.fetchrow(
        "DELETE FROM suppressions WHERE tenant_id = $1 AND id = $2 RETURNING *", tenant_id, suppression_id
    )
    if row is None:
        raise NotFound("no such suppression")
    return msgspec.convert(dict(row), Suppression)
