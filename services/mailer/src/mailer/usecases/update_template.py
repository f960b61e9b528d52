"""Changes what a tenant's mail template says."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.audit import Doer
from mailer import store
from mailer.domain.email_templates import EmailTemplate, changed_fields
from mailer.domain.templates import Syntax, prepare
from mailer.usecases.record_audit import record_audit


async def update_template(
    conn: Connection,
    tenant_id: UUID,
    template_id: UUID,
    *,
    subject: str | None,
    body_html: str | None,
    variables: Sequence[str] | None,
    syntax: Syntax | None,
    by: Doer,
    now: datetime,
) -> tuple[EmailTemplate, tuple[str, ...]]:
    """The template as it now is, and what its author may want to mend; what is None stays as it was.

    Raises NotFound, also for the platform's templates; Invalid for one that cannot be rendered.
    """
    old = await store.email_templates.lock_template(conn, tenant_id, template_id)
    subject = old.subject if subject is None else subject
    body_html = old.body_html if body_html is None else body_html
    declared = old.variables if variables is None else list(variables)
    prepared = prepare(subject, body_html, declared, syntax or old.syntax)
    changed = msgspec.structs.replace(
        old,
        syntax=prepared.syntax,
        subject=subject,
        body_html=body_html,
        variables=declared,
        subject_jinja=prepared.subject,
        body_jinja=prepared.body,
        version=prepared.version,
        updated_at=now,
    )
    await store.email_templates.update_template(conn, tenant_id, changed)
    if names := changed_fields(old, changed):
        await record_audit(
            conn,
            tenant_id,
            "email_template.updated",
            by=by,
            kind="email_template",
            target_id=template_id,
            now=now,
            slug=changed.slug,
            locale=changed.locale,
            changed=", ".join(names),
        )
    return changed, prepared.warnings
