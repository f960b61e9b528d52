"""SQL over invitations."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.errors import NotFound
from tenants.domain.invitations import Invitation
from tenants.store.rows import read, read_all, write


async def insert_invitation(conn: Connection, tenant_id: UUID, invitation: Invitation) -> bool:
    """Adds the invitation; False where an open one waits for the same address."""
    return (
        await conn.fetchval(
            """
            INSERT INTO invitations
            SELECT r.* FROM jsonb_populate_record(NULL::invitations, $2::jsonb) r WHERE r.tenant_id = $1
            ON CONFLICT DO NOTHING RETURNING true
            """,
            tenant_id,
            write(invitation),
        )
        is True
    )


async def find_invitation(conn: Connection, tenant_id: UUID, invitation_id: UUID) -> Invitation | None:
    """The invitation, or None."""
    return read(
        Invitation,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM invitations t WHERE tenant_id = $1 AND id = $2", tenant_id, invitation_id
        ),
    )


async def lock_invitation(conn: Connection, tenant_id: UUID, invitation_id: UUID) -> Invitation:
    """The invitation, kept from others until the transaction ends. Raises NotFound."""
    found = read(
        Invitation,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM invitations t WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
            tenant_id,
            invitation_id,
        ),
    )
    if found is None:
        raise NotFound("no such invitation")
    return found


async def list_invitations(conn: Connection, tenant_id: UUID, *, after: UUID | None, limit: int) -> list[Invitation]:
    """The tenant's invitations, newest first, those older than `after`."""
    return read_all(
        Invitation,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM invitations t WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
            ORDER BY id DESC LIMIT $3
            """,
            tenant_id,
            after,
            limit,
        ),
    )


async def mark_ended(conn: Connection, tenant_id: UUID, invitation_id: UUID, status: str, now: datetime) -> None:
    """The invitation was accepted or withdrawn."""
    await conn.execute(
        "UPDATE invitations SET status = $3, ended_at = $4 WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        invitation_id,
        status,
        now,
    )


async def withdraw_late(conn: Connection, tenant_id: UUID, email: str, now: datetime) -> None:
    """Makes room for a new invitation where the old one has run out."""
    await conn.execute(
        """
        UPDATE invitations SET status = 'withdrawn', ended_at = $3
        WHERE tenant_id = $1 AND email = $2 AND status = 'open' AND expires_at <= $3
        """,
        tenant_id,
        email,
        now,
    )


async def list_to(conn: Connection, tenant_id: UUID, email: str) -> list[Invitation]:
    """The invitations to the address, oldest first."""
    rows = await conn.fetch(
        "SELECT to_jsonb(t) FROM invitations t WHERE tenant_id = $1 AND email = $2 ORDER BY id", tenant_id, email
    )
    return read_all(Invitation, rows)


async def erase_invited(conn: Connection, tenant_id: UUID, email: str, now: datetime) -> None:
    """The invitations to the address do not name it any more, and lead nowhere."""
    await conn.execute(
        """
        UPDATE invitations SET email = 'erased', name = NULL, ended_at = COALESCE(ended_at, $3),
               status = CASE status WHEN 'open' THEN 'withdrawn' ELSE status END
        WHERE tenant_id = $1 AND email = $2
        """,
        tenant_id,
        email,
        now,
    )


async def count_open_of_role(conn: Connection, tenant_id: UUID, role: str, now: datetime) -> int:
    """How many open invitations are to that role."""
    count: int = await conn.fetchval(
        """
        SELECT count(*) FROM invitations
        WHERE tenant_id = $1 AND role = $2 AND status = 'open' AND expires_at > $3
        """,
        tenant_id,
        role,
        now,
    )
    return count
