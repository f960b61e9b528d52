"""Writes SMTP settings with their password sealed, keeps at most one row of a tenant active, and records who did it."""

from datetime import datetime
from typing import Literal

import msgspec

from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.audit import Doer
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer import store
from mailer.domain.email_settings import MASK, EmailSettings, SettingsChange, apply, changed_fields
from mailer.usecases.record_audit import record_audit


async def save_settings(
    conn: Connection,
    old: EmailSettings,
    change: SettingsChange,
    deed: Literal["created", "updated"],
    *,
    by: Doer,
    box: SecretBox,
    allow_private_smtp: bool,
    now: datetime,
) -> EmailSettings:
    """The row as it is written. Raises Invalid naming the field that is wrong.

    Recorded is the deed, but for an update that changes nothing, and whether the row has begun or ceased to be active.
    """
    allow_private = allow_private_smtp or old.tenant_id == PLATFORM_TENANT_ID
    settings = apply(change, old, allow_private_smtp=allow_private, now=now)
    if isinstance(change.smtp_pass, str) and change.smtp_pass != MASK:
        sealed = box.seal(change.smtp_pass, old.tenant_id, "email_settings", old.id) if change.smtp_pass else None
        settings = msgspec.structs.replace(settings, smtp_pass=sealed)
    if change.smtp_pass is None or settings.smtp_user is None:
        settings = msgspec.structs.replace(settings, smtp_pass=None)
    replaced = None
    if settings.is_active:
        replaced = await store.email_settings.deactivate_settings(conn, old.tenant_id, but=old.id)
    await store.email_settings.upsert_settings(conn, old.tenant_id, settings)

    async def record(done: str, **metadata: str | None) -> None:
        await record_audit(
            conn,
            settings.tenant_id,
            f"email_settings.{done}",
            by=by,
            kind="email_settings",
            target_id=settings.id,
            now=now,
            smtp_host=settings.smtp_host,
            **metadata,
        )

    changed = [name for name in changed_fields(old, settings) if name != "is_active"]
    if deed == "created":
        await record("created")
    elif changed:
        await record("updated", changed=", ".join(changed))
    if settings.is_active and not old.is_active:
        await record("activated", in_place_of=str(replaced) if replaced else None)
    elif old.is_active and not settings.is_active:
        await record("deactivated")
    return settings
