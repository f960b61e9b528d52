"""Puts an address onto a tenant's suppression list by hand."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.audit import Doer
from mailer import store
from mailer.domain.addresses import parse_recipient
from mailer.domain.identifiers import new_id
from mailer.domain.suppressions import Cause, Suppression, normal_form
from mailer.usecases.record_audit import record_audit


async def suppress_address(
    conn: Connection, tenant_id: UUID, *, email: str, detail: str | None, by: Doer, now: datetime
) -> Suppression:
    """The new entry. Raises Invalid for what is not one address, Conflict when it is listed already."""
    suppression = Suppression(
        id=new_id(now),
        tenant_id=tenant_id,
        email=normal_form(parse_recipient(email, field="email").email),
        cause=Cause.MANUAL,
        detail=detail,
        email_id=None,
        created_at=now,
    )
    await store.suppressions.insert_suppression(conn, tenant_id, suppression)
    await record_audit(
        conn, tenant_id, "suppression.added", by=by, kind="suppression", target_id=suppression.id, now=now
    )
    return suppression
