"""Removes a tenant's SMTP settings."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.audit import Doer
from mailer import store
from mailer.usecases.record_audit import record_audit


async def delete_settings(conn: Connection, tenant_id: UUID, settings_id: UUID, *, by: Doer, now: datetime) -> None:
    """The row is gone, its password with it; where it was the active one, the platform's are used. Raises NotFound."""
    gone = await store.email_settings.delete_settings(conn, tenant_id, settings_id)
    await record_audit(
        conn,
        tenant_id,
        "email_settings.deleted",
        by=by,
        kind="email_settings",
        target_id=settings_id,
        now=now,
        smtp_host=gone.smtp_host,
        was_active=gone.is_active,
    )
