"""SQL over the audit log: it is added to and read, nothing else."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from tenants.domain.audit import GENESIS, AuditEntry


async def lock_head(conn: Connection, tenant_id: UUID) -> tuple[int, bytes]:
    """Number and hash of the tenant's last entry, kept from others until the transaction ends."""
    row = await conn.fetchrow(
        """
        INSERT INTO audit_heads (tenant_id, seq, hash) VALUES ($1, 0, $2)
        ON CONFLICT (tenant_id) DO UPDATE SET tenant_id = excluded.tenant_id RETURNING seq, hash
        """,
        tenant_id,
        GENESIS,
    )
    assert row is not None
    return row["seq"], row["hash"]


async def find_head(conn: Connection, tenant_id: UUID) -> tuple[int, bytes] | None:
    """Number and hash of the tenant's last entry; None before the first."""
    row = await conn.fetchrow("SELECT seq, hash FROM audit_heads WHERE tenant_id = $1", tenant_id)
    return None if row is None else (row["seq"], row["hash"])


async def has_entry(conn: Connection, tenant_id: UUID, entry_id: UUID) -> bool:
    """Whether the event stands in the log."""
    return bool(
        await conn.fetchval(
            "SELECT EXISTS (SELECT FROM audit_log WHERE tenant_id = $1 AND id = $2)", tenant_id, entry_id
        )
    )


async def insert_entry(conn: Connection, tenant_id: UUID, entry: AuditEntry) -> None:
    """Adds the entry and makes it the head. The head is locked."""
    await conn.execute(
        """
        WITH head AS (UPDATE audit_heads SET seq = $2, hash = $13 WHERE tenant_id = $1)
        INSERT INTO audit_log (tenant_id, seq, id, at, action, actor, targets, context, metadata, subject_ref, sealed,
                               prev_hash, hash)
        VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb, $8::jsonb, $9::jsonb, $10, $11, $12, $13)
        """,
        tenant_id,
        entry.seq,
        entry.id,
        entry.at,
        entry.action,
        msgspec.json.encode(entry.actor).decode(),
        msgspec.json.encode(entry.targets).decode(),
        msgspec.json.encode(entry.context).decode(),
        msgspec.json.encode(entry.metadata).decode(),
        entry.subject_ref,
        entry.sealed,
        entry.prev_hash,
        entry.hash,
    )


async def list_entries(
    conn: Connection,
    tenant_id: UUID,
    *,
    before_seq: int | None = None,
    limit: int,
    action: str | None = None,
    actor_id: str | None = None,
    target_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[AuditEntry]:
    """The tenant's entries, newest first, perhaps narrowed, those before `before_seq`."""
    rows = await conn.fetch(
        """
        SELECT tenant_id, seq, id, at, action, actor::text, targets::text, context::text, metadata::text, subject_ref,
               sealed, prev_hash, hash
        FROM audit_log
        WHERE tenant_id = $1 AND ($2::bigint IS NULL OR seq < $2) AND ($4::text IS NULL OR action = $4)
          AND ($5::text IS NULL OR actor ->> 'id' = $5)
          AND ($6::text IS NULL OR targets @> jsonb_build_array(jsonb_build_object('id', $6::text)))
          AND ($7::timestamptz IS NULL OR at >= $7) AND ($8::timestamptz IS NULL OR at < $8)
        ORDER BY seq DESC LIMIT $3
        """,
        tenant_id,
        before_seq,
        limit,
        action,
        actor_id,
        target_id,
        since,
        until,
    )
    return [_read(dict(row)) for row in rows]


async def list_in_order(conn: Connection, tenant_id: UUID, *, after_seq: int, limit: int) -> list[AuditEntry]:
    """The tenant's entries in the order of the chain, those after `after_seq`."""
    rows = await conn.fetch(
        """
        SELECT tenant_id, seq, id, at, action, actor::text, targets::text, context::text, metadata::text, subject_ref,
               sealed, prev_hash, hash
        FROM audit_log WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
        """,
        tenant_id,
        after_seq,
        limit,
    )
    return [_read(dict(row)) for row in rows]


async def find_subject_key(conn: Connection, tenant_id: UUID, subject_ref: UUID) -> bytes | None:
    """The sealed key of a subject; None once it is forgotten."""
    key: bytes | None = await conn.fetchval(
        "SELECT key FROM subject_keys WHERE tenant_id = $1 AND subject_ref = $2", tenant_id, subject_ref
    )
    return key


async def claim_subject_key(conn: Connection, tenant_id: UUID, subject_ref: UUID, key: bytes, now: datetime) -> bytes:
    """The subject's key: this one, or the one that it had."""
    await conn.execute(
        """
        INSERT INTO subject_keys (tenant_id, subject_ref, key, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        tenant_id,
        subject_ref,
        key,
        now,
    )
    found = await find_subject_key(conn, tenant_id, subject_ref)
    assert found is not None
    return found


async def is_forgotten(conn: Connection, tenant_id: UUID, subject_ref: UUID) -> bool:
    """Whether the subject was erased, here or everywhere; until the transaction ends it stays as it is answered."""
    is_gone = await conn.fetchval(
        "SELECT status = 'erased' FROM users WHERE id = $1 FOR KEY SHARE",  # persons before their memberships
        subject_ref,
    )
    is_gone_here = await conn.fetchval(
        "SELECT email IS NULL FROM memberships WHERE tenant_id = $1 AND user_id = $2 FOR KEY SHARE",
        tenant_id,
        subject_ref,
    )
    return bool(is_gone or is_gone_here)


async def delete_subject_keys(conn: Connection, subject_ref: UUID) -> None:
    """Forgets the subject in every tenant's log, and in the platform's."""
    await conn.execute("DELETE FROM subject_keys WHERE subject_ref = $1", subject_ref)


async def delete_subject_key(conn: Connection, tenant_id: UUID, subject_ref: UUID) -> None:
    """Forgets the subject: what was sealed under the key is noise from now on."""
    await conn.execute("DELETE FROM subject_keys WHERE tenant_id = $1 AND subject_ref = $2", tenant_id, subject_ref)


def _read(row: dict[str, object]) -> AuditEntry:
    for name in ("actor", "targets", "context", "metadata"):
        row[name] = msgspec.json.decode(str(row[name]))
    return msgspec.convert(row, AuditEntry)
