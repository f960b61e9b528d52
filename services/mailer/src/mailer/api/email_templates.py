"""Mail templates over HTTP: the tenant's own, and the platform's to read."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.doers import doer_of
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from mailer import store
from mailer.api.pages import Cursor, Limit, Page, page_of, start_of
from mailer.domain.email_templates import LOCALE, EmailTemplate
from mailer.domain.templates import MAX_BODY_CHARS, MAX_SUBJECT_CHARS, Syntax, prepare
from mailer.renderer import Rendered, Renderer, RenderRequest, request_for
from mailer.usecases.create_template import create_template
from mailer.usecases.delete_template import delete_template
from mailer.usecases.update_template import update_template

Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SUBJECT_CHARS)]
Body = Annotated[str, msgspec.Meta(max_length=MAX_BODY_CHARS)]
Variables = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=110)]],
    msgspec.Meta(max_length=100, description="What a job has to bring: `name`, or `reset_link:secret`."),
]
Slug = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Locale = Annotated[str, msgspec.Meta(pattern=LOCALE)]


class TemplateView(msgspec.Struct, frozen=True, kw_only=True):
    """A template. One whose `tenant_id` is the nil UUID is the platform's default."""

    id: UUID
    tenant_id: UUID
    slug: str
    locale: str
    syntax: Syntax
    subject: str
    body_html: str
    variables: list[str]
    created_at: datetime
    updated_at: datetime


class SavedTemplate(TemplateView, frozen=True, kw_only=True):
    """A template as it was saved; `warnings` is what its author may want to mend."""

    warnings: list[str]


class NewTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template to create. Without `syntax` it is told from the text; without `locale` it is the default one's."""

    slug: Slug
    subject: Subject
    body_html: Body
    variables: Variables = []
    locale: Locale | None = None
    syntax: Syntax | None = None


class TemplateChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a template is to change; what is absent stays. Slug and locale are what it is found by: they stay."""

    subject: Subject | None = None
    body_html: Body | None = None
    variables: Variables | None = None
    syntax: Syntax | None = None


class PreviewData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values for a template's variables."""

    variables: dict[str, Any] = {}


class Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template that is not saved, with values for its variables."""

    subject: Subject
    body_html: Body
    variables: dict[str, Any] = {}
    syntax: Syntax | None = None


@get("/email-templates", guards=[requires("email_templates:read")])
async def list_templates(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    slug: Annotated[str | None, QueryParameter(min_length=1, max_length=200)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TemplateView]:
    """The tenant's templates and the platform's defaults."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        rows = await store.email_templates.list_templates(
            conn, tenant_id, slug=slug, after=start_of(cursor), limit=limit + 1
        )
    return page_of(rows, [_view(row) for row in rows], limit)


@get("/email-templates/{template_id:uuid}", guards=[requires("email_templates:read")])
async def get_template(
    db: NamedDependency[Database], identity: NamedDependency[Identity], template_id: FromPath[UUID]
) -> TemplateView:
    """One template, the tenant's or the platform's."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        return _view(await store.email_templates.get_template(conn, tenant_id, template_id))


@post("/email-templates", guards=[requires("email_templates:write")])
async def post_template(
    data: JSONBody[NewTemplate],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    default_locale: NamedDependency[str],
) -> Response[SavedTemplate]:
    """Creates a template; under a platform template's slug it overrides that. An Idempotency-Key creates it once."""
    tenant_id = tenant_of(identity)

    async def create(conn: Connection) -> SavedTemplate:
        saved, warnings = await create_template(
            conn,
            tenant_id,
            slug=data.slug,
            locale=data.locale or default_locale,
            subject=data.subject,
            body_html=data.body_html,
            variables=data.variables,
            syntax=data.syntax,
            by=doer_of(request),
            now=clock(),
        )
        return SavedTemplate(**_shown(saved), warnings=list(warnings))

    return await once(request, db, data, create)


@patch("/email-templates/{template_id:uuid}", guards=[requires("email_templates:write")])
async def patch_template(
    data: JSONBody[TemplateChange],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    template_id: FromPath[UUID],
) -> SavedTemplate:
    """Changes one of the tenant's own templates."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        saved, warnings = await update_template(
            conn,
            tenant_id,
            template_id,
            subject=data.subject,
            body_html=data.body_html,
            variables=data.variables,
            syntax=data.syntax,
            by=doer_of(request),
            now=clock(),
        )
    return SavedTemplate(**_shown(saved), warnings=list(warnings))


@delete("/email-templates/{template_id:uuid}", guards=[requires("email_templates:write")])
async def remove_template(
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    template_id: FromPath[UUID],
) -> None:
    """Removes one of the tenant's own templates; a platform default of its slug shows again."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        await delete_template(conn, tenant_id, template_id, by=doer_of(request), now=clock())


@post("/email-templates/{template_id:uuid}/preview", guards=[requires("email_templates:read")], status_code=200)
async def preview_template(
    data: JSONBody[PreviewData],
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    renderer: NamedDependency[Renderer],
    template_id: FromPath[UUID],
) -> Rendered:
    """What a mail of this template says with these values; it changes nothing."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        template = await store.email_templates.get_template(conn, tenant_id, template_id)
    return await renderer.render(
        RenderRequest(template.version, template.syntax, template.subject_jinja, template.body_jinja, data.variables)
    )


@post("/email-templates/preview", guards=[requires("email_templates:read")], status_code=200)
async def preview_draft(data: JSONBody[Draft], renderer: NamedDependency[Renderer]) -> Rendered:
    """What a mail of a template that is not saved would say with these values; it changes nothing."""
    prepared = prepare(data.subject, data.body_html, list(data.variables), data.syntax)
    return await renderer.render(request_for(prepared, data.variables))


def _view(template: EmailTemplate) -> TemplateView:
    return TemplateView(**_shown(template))


def _shown(template: EmailTemplate) -> dict[str, Any]:
    return {name: getattr(template, name) for name in TemplateView.__struct_fields__}


ROUTES = [
    list_templates,
    get_template,
    post_template,
    patch_template,
    remove_template,
    preview_template,
    preview_draft,
]
