"""Writes SMTP settings with their password sealed, and keeps at most one row of a tenant active."""

from datetime import datetime

import msgspec

from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer import store
from mailer.domain.email_settings import MASK, EmailSettings, SettingsChange, apply


async def save_settings(
    conn: Connection,
    old: EmailSettings,
    change: SettingsChange,
    *,
    box: SecretBox,
    allow_private_smtp: bool,
    now: datetime,
) -> EmailSettings:
    """The row as it is written. Raises Invalid naming the field that is wrong."""
    allow_private = allow_private_smtp or old.tenant_id == PLATFORM_TENANT_ID
    settings = apply(change, old, allow_private_smtp=allow_private, now=now)
    if isinstance(change.smtp_pass, str) and change.smtp_pass != MASK:
        sealed = box.seal(change.smtp_pass, old.tenant_id, "email_settings", old.id) if change.smtp_pass else None
        settings = msgspec.structs.replace(settings, smtp_pass=sealed)
    if change.smtp_pass is None or settings.smtp_user is None:
        settings = msgspec.structs.replace(settings, smtp_pass=None)
    if settings.is_active:
        await store.email_settings.deactivate_settings(conn, old.tenant_id, but=old.id)
    await store.email_settings.upsert_settings(conn, old.tenant_id, settings)
    return settings
