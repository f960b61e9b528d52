"""The mails about accounts: as the mailer would save them, and sent with exactly what the tenants service brings."""

from uuid import UUID

import pytest

from chassis.db import Database, transaction
from mailer import store
from mailer.domain.templates import prepare
from mailer.renderer import Renderer, request_for

BRAND = {"brand_name": "Acme & Filhos", "brand_color": "#112233"}
LINK = "https://app.example.com/reset-password?token=a-b_c"
BROUGHT: dict[str, dict[str, object]] = {
    "account_welcome": {"name": "Ana", "link": LINK, "valid_days": 7},
    "account_invitation": {"name": "Ana", "inviter": "Rui <b>", "link": LINK, "valid_days": 7},
    "account_reset": {"name": "Ana", "link": LINK, "valid_minutes": 30},
    "account_verify_email": {"name": "Ana", "link": LINK, "valid_days": 2},
    "account_security_notice": {"name": "Ana", "event": "password_changed", "at": "2026-05-04 12:00 UTC"},
    "admin_alert": {"title": "Away", "message": "billing is away", "at": "2026-05-04 12:00 UTC"},
}
EVENTS = (
    *("password_changed", "registration_attempted", "second_factor_enabled", "second_factor_disabled"),
    *("recovery_code_used", "email_changed", "sessions_revoked"),
)


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
@pytest.mark.parametrize("slug", sorted(BROUGHT))
async def test_a_mail_about_an_account(db: Database, tenant: UUID, slug: str, locale: str) -> None:
    async with transaction(db, tenant) as conn:
        found = await store.email_templates.list_templates(conn, tenant, slug=slug, after=None, limit=9)
    [row] = [one for one in found if one.locale == locale]
    prepared = prepare(row.subject, row.body_html, row.variables, row.syntax)
    assert (prepared.version, prepared.subject, prepared.body) == (row.version, row.subject_jinja, row.body_jinja)
    assert prepared.warnings == ()
    variables = BROUGHT[slug] | BRAND
    assert {one.name for one in prepared.declared} == set(variables)
    assert {one.name for one in prepared.declared if one.secret} == {"link"} & set(variables)
    async with Renderer(workers=1) as renderer:
        mail = await renderer.render(request_for(prepared, variables))
        assert "#112233" in mail.html
        if "link" in variables:
            assert f'href="{LINK}"' in mail.html
        if "inviter" in variables:
            assert "Rui &lt;b&gt;" in mail.html
        if slug.startswith("account_"):
            nameless = await renderer.render(request_for(prepared, variables | {"name": ""}))
            assert "Ana" not in nameless.html
            assert " ," not in nameless.html
        if slug == "account_security_notice":
            texts = [
                (await renderer.render(request_for(prepared, variables | {"event": event}))).html for event in EVENTS
            ]
            assert len(set(texts)) == len(EVENTS)
