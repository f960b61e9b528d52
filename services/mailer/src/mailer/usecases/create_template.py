"""Saves a new mail template, translated and checked."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.audit import Doer
from mailer import store
from mailer.domain.email_templates import EmailTemplate
from mailer.domain.identifiers import new_id
from mailer.domain.templates import Syntax, prepare
from mailer.usecases.record_audit import record_audit


async def create_template(
    conn: Connection,
    tenant_id: UUID,
    *,
    slug: str,
    locale: str,
    subject: str,
    body_html: str,
    variables: Sequence[str],
    syntax: Syntax | None,
    by: Doer,
    now: datetime,
) -> tuple[EmailTemplate, tuple[str, ...]]:
    """The new template and what its author may want to mend.

    Raises Invalid for a template that cannot be rendered, Conflict when the tenant has that slug in that locale.
    """
    prepared = prepare(subject, body_html, variables, syntax)
    template = EmailTemplate(
        id=new_id(now),
        tenant_id=tenant_id,
        slug=slug,
        locale=locale,
        syntax=prepared.syntax,
        subject=subject,
        body_html=body_html,
        variables=list(variables),
        subject_jinja=prepared.subject,
        body_jinja=prepared.body,
        version=prepared.version,
        created_at=now,
        updated_at=now,
    )
    await store.email_templates.insert_template(conn, tenant_id, template)
    await record_audit(
        conn,
        tenant_id,
        "email_template.created",
        by=by,
        kind="email_template",
        target_id=template.id,
        now=now,
        slug=slug,
        locale=locale,
    )
    return template, prepared.warnings
