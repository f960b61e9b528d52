"""One stored mail template, and which of several a mail is written from."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.domain.templates import Syntax, parse_declared

#: A language tag as templates are filed under: `pt`, `pt-BR`.
LOCALE: Final = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"


class EmailTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """One row of email_templates."""

    id: UUID
    tenant_id: UUID
    slug: str
    locale: str
    syntax: Syntax
    subject: str
    body_html: str
    variables: list[str]
    subject_jinja: str
    body_jinja: str
    version: str
    created_at: datetime
    updated_at: datetime


def changed_fields(old: EmailTemplate, new: EmailTemplate) -> list[str]:
    """The names of what the author of `new` says otherwise than in `old`; not what is derived from it."""
    return [
        name for name in ("subject", "body_html", "variables", "syntax") if getattr(old, name) != getattr(new, name)
    ]


class TemplateChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be known of a template to choose it, and to keep a job's secrets, without reading its body."""

    id: UUID
    tenant_id: UUID
    slug: str
    locale: str
    version: str
    variables: list[str]

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The variables that are stored sealed, masked in every view, and erased once the mail is decided."""
        return tuple(declared.name for declared in parse_declared(self.variables) if declared.secret)


class TemplateIndex:
    """The templates that a batch of mails may need, by what a job calls them."""

    def __init__(self, choices: Iterable[TemplateChoice], default_locale: str) -> None:
        self._by_name = {(choice.tenant_id, choice.slug, choice.locale): choice for choice in choices}
        self._default_locale = default_locale

    def choose(self, tenant_id: UUID, slug: str, locale: str | None) -> TemplateChoice | None:
        """The tenant's in the asked locale, else the tenant's in the default one, else the platform's likewise."""
        for owner in (tenant_id, PLATFORM_TENANT_ID):
            for spoken in (locale, self._default_locale):
                if spoken and (choice := self._by_name.get((owner, slug, spoken))):
                    return choice
        return None
