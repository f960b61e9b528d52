"""SQL over privacy requests, reports and consents."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import NotFound


class PrivacyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request about a person's data; `result` is sealed JSON per service for an export, base64."""

    tenant_id: UUID
    id: UUID
    kind: str
    user_id: UUID
    status: str
    requested_by: str
    created_at: datetime
    ended_at: datetime | None


class PrivacyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one service did."""

    service: str
    erased: list[str]
    kept: list[str]
    at: datetime


async def insert_request(
    conn: Connection, tenant_id: UUID, request: PrivacyRequest, *, subject_email_sha256: bytes
) -> None:
    """Adds the request."""
    await conn.execute(
        """
        INSERT INTO privacy_requests (tenant_id, id, kind, user_id, subject_email_sha256, status, requested_by,
                                      result, created_at, ended_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, '{}', $8, $9)
        """,
        tenant_id,
        request.id,
        request.kind,
        request.user_id,
        subject_email_sha256,
        request.status,
        request.requested_by,
        request.created_at,
        request.ended_at,
    )


async def get_request(conn: Connection, tenant_id: UUID, request_id: UUID) -> PrivacyRequest:
    """The request. Raises NotFound."""
    row = await conn.fetchrow(
        """
        SELECT tenant_id, id, kind, user_id, status, requested_by, created_at, ended_at
        FROM privacy_requests WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        request_id,
    )
    if row is None:
        raise NotFound("no such request")
    return msgspec.convert(dict(row), PrivacyRequest)


async def lock_request(conn: Connection, tenant_id: UUID, request_id: UUID) -> PrivacyRequest | None:
    """The request, kept from others until the transaction ends."""
    row = await conn.fetchrow(
        """
        SELECT tenant_id, id, kind, user_id, status, requested_by, created_at, ended_at
        FROM privacy_requests WHERE tenant_id = $1 AND id = $2 FOR UPDATE
        """,
        tenant_id,
        request_id,
    )
    return None if row is None else msgspec.convert(dict(row), PrivacyRequest)


async def insert_report(
    conn: Connection, tenant_id: UUID, request_id: UUID, service: str, erased: list[str], kept: list[str], at: datetime
) -> None:
    """Adds what a service did; its first report counts."""
    await conn.execute(
        """
        INSERT INTO privacy_reports (tenant_id, request_id, service, erased, kept, at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING
        """,
        tenant_id,
        request_id,
        service,
        erased,
        kept,
        at,
    )


async def list_reports(conn: Connection, tenant_id: UUID, request_id: UUID) -> list[PrivacyReport]:
    """What the services did so far."""
    rows = await conn.fetch(
        """
        SELECT service, erased, kept, at FROM privacy_reports
        WHERE tenant_id = $1 AND request_id = $2 ORDER BY service
        """,
        tenant_id,
        request_id,
    )
    return msgspec.convert([dict(row) for row in rows], list[PrivacyReport])


async def add_part(conn: Connection, tenant_id: UUID, request_id: UUID, service: str, sealed: str) -> None:
    """Adds a service's part of an export, sealed, in base64."""
    await conn.execute(
        """
        UPDATE privacy_requests SET result = result || jsonb_build_object($3::text, $4::text)
        WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        request_id,
        service,
        sealed,
    )


async def find_parts(conn: Connection, tenant_id: UUID, request_id: UUID) -> dict[str, str]:
    """The parts of an export by service, sealed, in base64."""
    found: Any = await conn.fetchval(
        "SELECT result::text FROM privacy_requests WHERE tenant_id = $1 AND id = $2", tenant_id, request_id
    )
    return {} if found is None else msgspec.json.decode(found, type=dict[str, str])


async def drop_parts(conn: Connection, tenant_id: UUID, user_id: UUID) -> None:
    """Forgets what exports brought of the person, and what one that still runs will bring: nothing adds to NULL."""
    await conn.execute(
        "UPDATE privacy_requests SET result = NULL WHERE tenant_id = $1 AND user_id = $2 AND kind = 'export'",
        tenant_id,
        user_id,
    )


async def mark_done(conn: Connection, tenant_id: UUID, request_id: UUID, now: datetime) -> None:
    """Every service has done its part."""
    await conn.execute(
        "UPDATE privacy_requests SET status = 'done', ended_at = $3 WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        request_id,
        now,
    )


async def insert_consent(
    conn: Connection, tenant_id: UUID, consent_id: UUID, user_id: UUID, purpose: str, given: bool, at: datetime
) -> None:
    """Adds a consent given or withdrawn; the newest of a purpose counts."""
    await conn.execute(
        "INSERT INTO consents (tenant_id, id, user_id, purpose, given, at) VALUES ($1, $2, $3, $4, $5, $6)",
        tenant_id,
        consent_id,
        user_id,
        purpose,
        given,
        at,
    )


async def list_consents(conn: Connection, tenant_id: UUID, user_id: UUID) -> list[dict[str, Any]]:
    """The person's consents as they stand: purpose, whether given, and since when."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (purpose) purpose, given, at FROM consents
        WHERE tenant_id = $1 AND user_id = $2 ORDER BY purpose, id DESC
        """,
        tenant_id,
        user_id,
    )
    return [dict(row) for row in rows]
