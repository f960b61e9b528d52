"""SQL over payment_claims and the sessions that they used up: for platform transactions only."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from tenants.domain.claims import PaymentClaim
from tenants.store.rows import read, read_all, write


async def claim_session(conn: Connection, tenant_id: UUID, session_id: str, claim_id: UUID) -> bool:
    """Uses the session up for this claim; False where it was used before. Waits for who is just using it."""
    return (
        await conn.fetchval(
            """
            INSERT INTO payment_sessions (tenant_id, session_id, claim_id) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING RETURNING true
            """,
            tenant_id,
            session_id,
            claim_id,
        )
        is True
    )


async def lock_session(conn: Connection, session_id: str) -> tuple[UUID, UUID] | None:
    """Tenant and claim that the session was used up for, kept from others until the transaction ends."""
    row = await conn.fetchrow(
        "SELECT tenant_id, claim_id FROM payment_sessions WHERE session_id = $1 FOR UPDATE", session_id
    )
    return None if row is None else (row["tenant_id"], row["claim_id"])


async def move_session(conn: Connection, tenant_id: UUID, session_id: str, claim_id: UUID) -> None:
    """The session is used up for this tenant's claim."""
    await conn.execute(
        "UPDATE payment_sessions SET tenant_id = $1, claim_id = $3 WHERE session_id = $2",
        tenant_id,
        session_id,
        claim_id,
    )


async def insert_claim(conn: Connection, tenant_id: UUID, claim: PaymentClaim) -> None:
    """Adds the claim."""
    await conn.execute(
        """
        INSERT INTO payment_claims
        SELECT r.* FROM jsonb_populate_record(NULL::payment_claims, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(claim),
    )


async def list_of_user(conn: Connection, tenant_id: UUID, user_id: UUID) -> list[PaymentClaim]:
    """The claims that were made of the person, oldest first."""
    rows = await conn.fetch(
        "SELECT to_jsonb(t) FROM payment_claims t WHERE tenant_id = $1 AND user_id = $2 ORDER BY id", tenant_id, user_id
    )
    return read_all(PaymentClaim, rows)


async def erase_claimant(conn: Connection, tenant_id: UUID, user_id: UUID) -> None:
    """The claims that were made of the person do not name them any more."""
    await conn.execute(
        "UPDATE payment_claims SET email = NULL, name = NULL WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id
    )


async def find_claim(conn: Connection, tenant_id: UUID, claim_id: UUID) -> PaymentClaim | None:
    """The claim, or None."""
    return read(
        PaymentClaim,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM payment_claims t WHERE tenant_id = $1 AND id = $2", tenant_id, claim_id
        ),
    )


async def lock_claim(conn: Connection, tenant_id: UUID, claim_id: UUID) -> PaymentClaim | None:
    """The claim, kept from others until the transaction ends."""
    return read(
        PaymentClaim,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM payment_claims t WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, claim_id
        ),
    )


async def update_claim(conn: Connection, tenant_id: UUID, claim: PaymentClaim) -> None:
    """Writes how the claim ended."""
    await conn.execute(
        "UPDATE payment_claims SET status = $3, reason = $4, ended_at = $5 WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        claim.id,
        claim.status.value,
        claim.reason,
        claim.ended_at,
    )


async def is_held(conn: Connection, tenant_id: UUID) -> bool:
    """Whether a claim of the tenant waits or was confirmed."""
    return bool(
        await conn.fetchval(
            """
            SELECT EXISTS (SELECT FROM payment_claims WHERE tenant_id = $1 AND status IN ('pending', 'confirmed'))
            """,
            tenant_id,
        )
    )


async def lock_overdue(conn: Connection, now: datetime, limit: int) -> list[PaymentClaim]:
    """Claims that nobody confirmed in time, kept from others; those that somebody holds come the next time."""
    return read_all(
        PaymentClaim,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM payment_claims t WHERE status = 'pending' AND expires_at <= $1
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
            """,
            now,
            limit,
        ),
    )
