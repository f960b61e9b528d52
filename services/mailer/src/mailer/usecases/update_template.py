"""Changes what a tenant's mail template says."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from mailer import store
from mailer.domain.email_templates import EmailTemplate
from mailer.domain.templates import Syntax, prepare


async def update_template(
    conn: Connection,
    tenant_id: UUID,
    template_id: UUID,
    *,
    subject: str | None,
    body_html: str | None,
    variables: Sequence[str] | None,
    syntax: Syntax | None,
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
    return changed, prepared.warnings
