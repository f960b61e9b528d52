"""What GoHorse's rows mean here: the same columns, with passwords in clear and templates in Handlebars."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from contracts.errors import FieldError, Invalid
from mailer.domain.addresses import has_controls, parse_recipient
from mailer.domain.email_settings import EmailSettings, check_smtp_host
from mailer.domain.email_templates import EmailTemplate
from mailer.domain.handlebars import translate
from mailer.domain.templates import parse_declared, prepare

T = TypeVar("T")


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    provider: str | None = None
    smtp_host: str
    smtp_port: int
    smtp_user: str | None = None
    smtp_pass: str | None = None
    smtp_secure: bool | None = None
    sender_name: str | None = None
    sender_email: str
    amqp_url: str | None = None
    is_active: bool | None = None


class _Template(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    slug: str
    subject: str
    body_html: str
    variables: list[str] | str | None = None


class GohorseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A row ready to be written, and the two columns that have to be sealed first."""

    settings: EmailSettings
    smtp_pass: str | None
    amqp_url: str | None


def read_settings(row: Mapping[str, Any], tenant_id: UUID, now: datetime) -> GohorseSettings:
    """The row as ours. Raises Invalid with the reason why it cannot be taken, naming no value."""
    found = _converted(row, _Settings)
    check_smtp_host(found.smtp_host, allow_private=True)  # an operator's own choice, not a tenant's
    if not 1 <= found.smtp_port <= 65535:
        raise _refused("smtp_port", "is no port")
    if found.smtp_pass and not found.smtp_user:
        raise _refused("smtp_user", "is missing beside a password")
    sender = parse_recipient(found.sender_email, found.sender_name, field="sender_email")
    settings = EmailSettings(
        id=found.id,
        tenant_id=tenant_id,
        provider=found.provider or "smtp",
        smtp_host=found.smtp_host,
        smtp_port=found.smtp_port,
        smtp_user=found.smtp_user or None,
        smtp_pass=None,
        smtp_secure=bool(found.smtp_secure),
        sender_name=sender.name,
        sender_email=sender.email,
        amqp_url=None,
        is_active=bool(found.is_active),
        created_at=now,
        updated_at=now,
    )
    return GohorseSettings(settings=settings, smtp_pass=found.smtp_pass or None, amqp_url=found.amqp_url or None)


def read_template(row: Mapping[str, Any], tenant_id: UUID, locale: str, now: datetime) -> EmailTemplate:
    """The row as ours, translated; variables that it uses without declaring them are declared.

    Raises Invalid with the reason why it cannot be taken: for Handlebars that has no translation, its line and column.
    """
    found = _converted(row, _Template)
    if not found.slug.strip() or len(found.slug) > 200 or has_controls(found.slug):
        raise _refused("slug", "is empty, too long or has a control character: no job could name it")
    variables = _declared(found)
    prepared = prepare(found.subject, found.body_html, variables, "handlebars")
    return EmailTemplate(
        id=found.id,
        tenant_id=tenant_id,
        slug=found.slug,
        locale=locale,
        syntax=prepared.syntax,
        subject=found.subject,
        body_html=found.body_html,
        variables=variables,
        subject_jinja=prepared.subject,
        body_jinja=prepared.body,
        version=prepared.version,
        created_at=now,
        updated_at=now,
    )


def _declared(found: _Template) -> list[str]:
    # TypeORM writes `simple-array` as one text with commas, and `array` as text[].
    listed = found.variables.split(",") if isinstance(found.variables, str) else found.variables or []
    variables = list(dict.fromkeys(name.strip() for name in listed if name.strip()))
    known = {declared.name for declared in parse_declared(variables)}
    used: set[str] = set()
    for field, source in (("subject", found.subject), ("body_html", found.body_html)):
        used.update(translate(source, escape_html=field == "body_html", field=field).names)
    return [*variables, *sorted(used - known)]


def _converted(row: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(dict(row), kind)
    except msgspec.ValidationError as error:
        raise _refused("row", str(error)) from error


def _refused(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", code="not_importable", errors=[FieldError(field, message)])
