"""Removes one of a tenant's mail templates."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.audit import Doer
from mailer import store
from mailer.usecases.record_audit import record_audit


async def delete_template(conn: Connection, tenant_id: UUID, template_id: UUID, *, by: Doer, now: datetime) -> None:
    """The template is gone; the platform's of its slug shows again. Raises NotFound, also for the platform's own."""
    gone = await store.email_templates.delete_template(conn, tenant_id, template_id)
    await record_audit(
        conn,
        tenant_id,
        "email_template.deleted",
        by=by,
        kind="email_template",
        target_id=template_id,
        now=now,
        slug=gone.slug,
        locale=gone.locale,
    )
