"""The audit log over HTTP: read, exported and verified by who may; there is no way to change it."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from chassis.db import Database, transaction
from chassis.identity import Identity, requires, tenant_of
from chassis.moments import in_utc
from chassis.secrets import SecretBox
from tenants import store
from tenants.domain.audit import AuditEntry
from tenants.usecases.open_entries import open_entries
from tenants.usecases.verify_audit import Verification, verify_audit

Action = Annotated[str | None, QueryParameter(min_length=1, max_length=100)]
Name = Annotated[str | None, QueryParameter(min_length=1, max_length=128)]
BeforeSeq = Annotated[int | None, QueryParameter(ge=1, le=2**62)]
Limit = Annotated[int, QueryParameter(ge=1, le=200)]

_COLUMNS = ("seq", "at", "action", "actor_type", "actor_id", "targets", "service", "metadata", "personal", "hash")
#: A spreadsheet takes a cell that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `personal` is what was sealed: names, address, agent; {"erased": true} for a subject forgotten."""

    seq: int
    id: UUID
    tenant_id: UUID
    at: datetime
    action: str
    actor: dict[str, Any]
    targets: list[dict[str, Any]]
    context: dict[str, Any]
    metadata: dict[str, Any]
    personal: dict[str, Any]
    hash: str


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the log, newest first; `next_before` continues it, and is null at its beginning."""

    data: list[EntryView]
    next_before: int | None


@get("/audit", guards=[requires("audit:read")])
async def list_audit(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    box: NamedDependency[SecretBox],
    action: Action = None,
    actor: Name = None,
    target: Name = None,
    since: FromQuery[datetime | None] = None,
    until: FromQuery[datetime | None] = None,
    before: BeforeSeq = None,
    limit: Limit = 50,
) -> Entries:
    """The tenant's audit log, newest first, perhaps narrowed. A time without a zone is in UTC."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        entries = await store.audit.list_entries(
            conn,
            tenant_id,
            before_seq=before,
            limit=limit + 1,
            action=action,
            actor_id=actor,
            target_id=target,
            since=in_utc(since),
            until=in_utc(until),
        )
        personal = await open_entries(conn, tenant_id, entries[:limit], box=box)
    return Entries(
        data=[_view(entry, opened) for entry, opened in zip(entries[:limit], personal, strict=True)],
        next_before=entries[limit - 1].seq if len(entries) > limit else None,
    )


@get("/audit/verification", guards=[requires("audit:read")])
async def get_verification(db: NamedDependency[Database], identity: NamedDependency[Identity]) -> Verification:
    """Whether the tenant's chain is whole, entry by entry."""
    return await verify_audit(db, tenant_of(identity))


@get("/audit/export", guards=[requires("audit:read")], media_type="text/csv")
async def export_audit(
    db: NamedDependency[Database], identity: NamedDependency[Identity], box: NamedDependency[SecretBox]
) -> Stream:
    """The whole log as CSV, oldest first, in pieces: it may be longer than memory. No cell is a formula."""
    tenant_id = tenant_of(identity)

    async def pieces() -> AsyncIterator[bytes]:
        yield _csv([_COLUMNS])
        seq = 0
        while True:
            async with transaction(db, tenant_id) as conn:
                entries = await store.audit.list_in_order(conn, tenant_id, after_seq=seq, limit=500)
                personal = await open_entries(conn, tenant_id, entries, box=box)
            if not entries:
                return
            seq = entries[-1].seq
            yield _csv([_cells(entry, opened) for entry, opened in zip(entries, personal, strict=True)])

    disposition = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Stream(pieces(), media_type="text/csv; charset=utf-8", headers=disposition)


@get("/users/audit-logs", guards=[requires("audit:read")])
async def list_audit_logs(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    box: NamedDependency[SecretBox],
    page: Annotated[int, QueryParameter(ge=1, le=1_000)] = 1,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Seed 002's view of the same log: {success, data: {logs, page, limit}}."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        entries = await store.audit.list_entries(conn, tenant_id, limit=page * limit)
        shown = entries[(page - 1) * limit :]
        personal = await open_entries(conn, tenant_id, shown, box=box)
    logs = [
        {
            "id": str(entry.id),
            "userId": entry.actor.get("id"),
            "tenantId": str(entry.tenant_id),
            "action": entry.action,
            "module": entry.context.get("service"),
            "entityType": entry.targets[0]["type"] if entry.targets else None,
            "entityId": entry.targets[0]["id"] if entry.targets else None,
            "newData": entry.metadata,
            "ipAddress": opened.get("location"),
            "userAgent": opened.get("user_agent"),
            "createdAt": entry.at,
        }
        for entry, opened in zip(shown, personal, strict=True)
    ]
    return {"success": True, "data": {"logs": logs, "page": page, "limit": limit}}


def _view(entry: AuditEntry, personal: dict[str, Any]) -> EntryView:
    return EntryView(
        seq=entry.seq,
        id=entry.id,
        tenant_id=entry.tenant_id,
        at=entry.at,
        action=entry.action,
        actor=entry.actor,
        targets=entry.targets,
        context=entry.context,
        metadata=entry.metadata,
        personal=personal,
        hash=entry.hash.hex(),
    )


def _cells(entry: AuditEntry, personal: dict[str, Any]) -> tuple[str, ...]:
    def text(value: Any) -> str:
        plain = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return f"'{plain}" if plain.startswith(_FORMULA) else plain

    return tuple(
        text(value)
        for value in (
            entry.seq,
            entry.at.isoformat(),
            entry.action,
            entry.actor.get("type", ""),
            entry.actor.get("id", ""),
            entry.targets,
            entry.context.get("service", ""),
            entry.metadata,
            personal,
            entry.hash.hex(),
        )
    )


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue().encode()


ROUTES = [list_audit, get_verification, export_audit, list_audit_logs]
