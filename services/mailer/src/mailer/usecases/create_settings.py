"""Adds SMTP settings to a tenant."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.audit import Doer
from mailer.domain.email_settings import EmailSettings, SettingsChange
from mailer.domain.identifiers import new_id
from mailer.usecases.save_settings import save_settings


async def create_settings(
    conn: Connection,
    tenant_id: UUID,
    change: SettingsChange,
    *,
    by: Doer,
    box: SecretBox,
    allow_private_smtp: bool,
    now: datetime,
) -> EmailSettings:
    """The new row. Raises Invalid naming the field that is wrong."""
    blank = EmailSettings(
        id=new_id(now),
        tenant_id=tenant_id,
        provider="smtp",
        smtp_host="",
        smtp_port=0,
        smtp_user=None,
        smtp_pass=None,
        smtp_secure=False,
        sender_name=None,
        sender_email="",
        amqp_url=None,
        is_active=False,
        created_at=now,
        updated_at=now,
    )
    return await save_settings(
        conn, blank, change, "created", by=by, box=box, allow_private_smtp=allow_private_smtp, now=now
    )
