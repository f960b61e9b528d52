"""Changes a tenant's SMTP settings."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.audit import Doer
from mailer import store
from mailer.domain.email_settings import EmailSettings, SettingsChange
from mailer.usecases.save_settings import save_settings


async def update_settings(
    conn: Connection,
    tenant_id: UUID,
    settings_id: UUID,
    change: SettingsChange,
    *,
    by: Doer,
    box: SecretBox,
    allow_private_smtp: bool,
    now: datetime,
) -> EmailSettings:
    """The row as it now is. Raises NotFound, or Invalid naming the field that is wrong."""
    old = await store.email_settings.lock_settings(conn, tenant_id, settings_id)
    return await save_settings(
        conn, old, change, "updated", by=by, box=box, allow_private_smtp=allow_private_smtp, now=now
    )
