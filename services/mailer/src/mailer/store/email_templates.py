"""SQL over email_templates."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import Conflict, NotFound
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.domain.email_templates import EmailTemplate, TemplateChoice


async def list_templates(
    conn: Connection, tenant_id: UUID, *, slug: str | None, after: UUID | None, limit: int
) -> list[EmailTemplate]:
    """The tenant's and the platform's templates in the order of their ids, those after `after`."""
    rows = await conn.fetch(
        """
        SELECT * FROM email_templates
        WHERE tenant_id IN ($1, $2) AND ($3::text IS NULL OR slug = $3) AND ($4::uuid IS NULL OR id > $4)
        ORDER BY id LIMIT $5
        """,
        tenant_id,
        PLATFORM_TENANT_ID,
        slug,
        after,
        limit,
    )
    return msgspec.convert([dict(row) for row in rows], list[EmailTemplate])


async def get_template(conn: Connection, tenant_id: UUID, template_id: UUID) -> EmailTemplate:
    """One template of the tenant or of the platform. Raises NotFound."""
    row = await conn.fetchrow(
        "SELECT * FROM email_templates WHERE tenant_id IN ($1, $2) AND id = $3",
        tenant_id,
        PLATFORM_TENANT_ID,
        template_id,
    )
    if row is None:
        raise NotFound("no such template")
    return msgspec.convert(dict(row), EmailTemplate)


async def lock_template(conn: Connection, tenant_id: UUID, template_id: UUID) -> EmailTemplate:
    """One of the tenant's own templates, kept from others until the transaction ends. Raises NotFound."""
    row = await conn.fetchrow(
        "SELECT * FROM email_templates WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, template_id
    )
    if row is None:
        raise NotFound("no such template of yours; to change a platform template, create your own with its slug")
    return msgspec.convert(dict(row), EmailTemplate)


async def has_template(conn: Connection, tenant_id: UUID, template_id: UUID) -> bool:
    """Whether the tenant has a template of that id."""
    return bool(
        await conn.fetchval(
            "SELECT EXISTS (SELECT FROM email_templates WHERE tenant_id = $1 AND id = $2)", tenant_id, template_id
        )
    )


async def list_choices(conn: Connection, tenant_ids: Sequence[UUID], slugs: Sequence[str]) -> list[TemplateChoice]:
    """Every template of these tenants, or of the platform, under one of these slugs, without its text."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, slug, locale, version, variables FROM email_templates
        WHERE tenant_id = ANY($1::uuid[]) AND slug = ANY($2::text[])
        """,
        [*tenant_ids, PLATFORM_TENANT_ID],
        slugs,
    )
    return msgspec.convert([dict(row) for row in rows], list[TemplateChoice])


async def list_by_id(conn: Connection, tenant_ids: Sequence[UUID], ids: Sequence[UUID]) -> list[EmailTemplate]:
    """The templates whose tenant and id stand at the same place of the two lists."""
    rows = await conn.fetch(
        """
        SELECT t.* FROM email_templates t
        JOIN unnest($1::uuid[], $2::uuid[]) AS wanted(tenant_id, id) USING (tenant_id, id)
        """,
        tenant_ids,
        ids,
    )
    return msgspec.convert([dict(row) for row in rows], list[EmailTemplate])


async def insert_template(conn: Connection, tenant_id: UUID, template: EmailTemplate) -> None:
    """Adds a template. Raises Conflict when the tenant has one of that slug and locale."""
    row = await conn.fetchrow(
        """
        INSERT INTO email_templates (tenant_id, id, slug, locale, syntax, subject, body_html, variables,
                                     subject_jinja, body_jinja, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        tenant_id,
        template.id,
        template.slug,
        template.locale,
        template.syntax,
        template.subject,
        template.body_html,
        template.variables,
        template.subject_jinja,
        template.body_jinja,
        template.version,
        template.created_at,
        template.updated_at,
    )
    if row is None:
        raise Conflict(f"there is a template {template.slug!r} in {template.locale!r} already", code="template_exists")


async def update_template(conn: Connection, tenant_id: UUID, template: EmailTemplate) -> None:
    """Writes what a template says; its id, slug and locale stay."""
    await conn.execute(
        """
        UPDATE email_templates
        SET syntax = $3, subject = $4, body_html = $5, variables = $6,
            subject_jinja = $7, body_jinja = $8, version = $9, updated_at = $10
        WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        template.id,
        template.syntax,
        template.subject,
        template.body_html,
        template.variables,
        template.subject_jinja,
        template.body_jinja,
        template.version,
        template.updated_at,
    )


async def delete_template(conn: Connection, tenant_id: UUID, template_id: UUID) -> EmailTemplate:
    """Removes one of the tenant's own templates, and returns what it was. Raises NotFound."""
    row = await conn.fetchrow(
        "DELETE FROM email_templates WHERE tenant_id = $1 AND id = $2 RETURNING *", tenant_id, template_id
    )
    if row is None:
        raise NotFound("no such template of yours")
    return msgspec.convert(dict(row), EmailTemplate)


async def delete_default(conn: Connection, tenant_id: UUID, slug: str, locale: str) -> bool:
    """Removes the template of that slug and locale if a migration wrote it and nobody has edited it; whether it did."""
    row = await conn.fetchrow(
        """
        DELETE FROM email_templates
        WHERE tenant_id = $1 AND slug = $2 AND locale = $3
          AND id::text LIKE '00000000-0000-7000-8000-%' AND updated_at = created_at
        RETURNING id
        """,
        tenant_id,
        slug,
        locale,
    )
    return row is not None
