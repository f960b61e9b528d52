"""Copies GoHorse's SMTP settings and templates: ids kept, passwords sealed, Handlebars translated, refusals told."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.audit import AuditActor, Doer
from contracts.errors import ServiceError
from mailer import store
from mailer.domain.gohorse import read_settings, read_template
from mailer.gohorse_db import GohorseRows
from mailer.usecases.record_audit import record_audit

#: Whoever has a shell where the service runs: no account of ours stands for them.
_OPERATOR: Final = Doer(actor=AuditActor(type="service", id="operator"))


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row; `note` says why it was refused, or what was changed in taking it."""

    table: str
    id: str
    outcome: Literal["taken", "present", "refused"]
    note: str = ""


async def import_gohorse(
    db: Database, rows: GohorseRows, *, tenant_id: UUID, locale: str, box: SecretBox, now: datetime
) -> list[Fate]:
    """Takes each row in a transaction of its own, and says what became of it.

    A row whose id is here already is left as it is: running it again changes nothing and undoes no edit. A default that
    the mailer came with gives way to a template of its slug and locale; anything else does not.
    """

    async def take_settings(conn: Connection, row: Mapping[str, Any]) -> str | None:
        found = read_settings(row, tenant_id, now)
        if await store.email_settings.has_settings(conn, tenant_id, found.settings.id):
            return None

        def sealed(clear: str | None) -> bytes | None:
            return box.seal(clear, tenant_id, "email_settings", found.settings.id) if clear else None

        is_late = found.settings.is_active and await store.email_settings.has_active(conn, tenant_id)
        settings = msgspec.structs.replace(
            found.settings,
            smtp_pass=sealed(found.smtp_pass),
            amqp_url=sealed(found.amqp_url),
            is_active=found.settings.is_active and not is_late,
        )
        await store.email_settings.upsert_settings(conn, tenant_id, settings)
        await record_audit(
            conn,
            tenant_id,
            "email_settings.imported",
            by=_OPERATOR,
            kind="email_settings",
            target_id=settings.id,
            now=now,
            smtp_host=settings.smtp_host,
            is_active=settings.is_active,
        )
        return "not active here: another row is" if is_late else ""

    async def take_template(conn: Connection, row: Mapping[str, Any]) -> str | None:
        template = read_template(row, tenant_id, locale, now)
        if await store.email_templates.has_template(conn, tenant_id, template.id):
            return None
        replaced = await store.email_templates.delete_default(conn, tenant_id, template.slug, template.locale)
        await store.email_templates.insert_template(conn, tenant_id, template)
        await record_audit(
            conn,
            tenant_id,
            "email_template.imported",
            by=_OPERATOR,
            kind="email_template",
            target_id=template.id,
            now=now,
            slug=template.slug,
            locale=template.locale,
            replaced_default=replaced,
        )
        return "in place of the default" if replaced else ""

    async def fate_of(
        table: str, row: Mapping[str, Any], take: Callable[[Connection, Mapping[str, Any]], Awaitable[str | None]]
    ) -> Fate:
        row_id = str(row.get("id"))
        try:
            async with transaction(db, tenant_id) as conn:
                note = await take(conn, row)
        except ServiceError as refusal:
            return Fate(table=table, id=row_id, outcome="refused", note=refusal.detail)
        return Fate(table=table, id=row_id, outcome="present" if note is None else "taken", note=note or "")

    return [
        *[await fate_of("email_settings", row, take_settings) for row in rows.email_settings],
        *[await fate_of("email_templates", row, take_template) for row in rows.email_templates],
    ]
