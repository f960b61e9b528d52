"""The mails about money: as the mailer would save them, and sent with exactly what billing brings."""

from uuid import UUID

import pytest

from chassis.db import Database, transaction
from mailer import store
from mailer.domain.templates import prepare
from mailer.renderer import Renderer, request_for

CODE = "00020126580014br.gov.bcb.pix0136" + "a" * 36 + "5204000053039865802BR"
URL = "https://pay.example.com/i/1?a=b&c=d"
LATE: dict[str, object] = {"name": "Ana", "plan": "Essencial", "amount": "R$ 247,00", "url": URL, "copy_paste": CODE}
BROUGHT: dict[str, dict[str, object]] = {
    "payment_receipt": {
        "name": "Ana",
        "number": 7,
        "description": "Essencial",
        "amount": "R$ 247,00",
        "paid_on": "04/05/2026",
    },
    "payment_failed": LATE | {"is_suspended": False, "notices_left": 2},
    "subscription_suspended": LATE,
    "trial_ending": {"name": "Ana", "plan": "Essencial", "amount": "R$ 247,00", "ends_on": "04/05/2026"},
    "pix_code": {
        "name": "Ana",
        "description": "Essencial",
        "amount": "R$ 247,00",
        "copy_paste": CODE,
        "due_on": "04/05/2026",
    },
    "contact_message": {
        "name": "Ana",
        "email": "ana@example.com",
        "phone": "11 99999-0000",
        "message": "Oi.\n<script>alert(1)</script>",
    },
}


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
@pytest.mark.parametrize("slug", sorted(BROUGHT))
async def test_a_mail_about_money(db: Database, tenant: UUID, slug: str, locale: str) -> None:
    async with transaction(db, tenant) as conn:
        found = await store.email_templates.list_templates(conn, tenant, slug=slug, after=None, limit=9)
    [row] = [one for one in found if one.locale == locale]
    prepared = prepare(row.subject, row.body_html, row.variables, row.syntax)
    assert (prepared.version, prepared.subject, prepared.body) == (row.version, row.subject_jinja, row.body_jinja)
    assert prepared.warnings == ()
    variables = BROUGHT[slug]
    assert {one.name for one in prepared.declared} == set(variables)
    async with Renderer(workers=1) as renderer:
        mail = await renderer.render(request_for(prepared, variables))
        text = mail.subject + mail.html
        if "amount" in variables:
            assert "R$ 247,00" in text
        if "url" in variables:
            assert 'href="https://pay.example.com/i/1?a=b&amp;c=d"' in mail.html
        if "copy_paste" in variables:
            assert CODE in mail.html
        if slug == "contact_message":
            assert "<script>" not in mail.html
            assert "&lt;script&gt;" in mail.html
            silent = await renderer.render(request_for(prepared, variables | {"phone": ""}))
            assert "telefone" not in silent.html
            assert "telephone" not in silent.html
            return
        nameless = await renderer.render(request_for(prepared, variables | {"name": ""}))
        assert "Ana" not in nameless.html
        assert " ," not in nameless.html
        if "url" in variables:
            bare = await renderer.render(request_for(prepared, variables | {"url": "", "copy_paste": ""}))
            assert "href" not in bare.html
            assert "PIX" not in bare.html.upper()
        if slug == "payment_failed":
            texts = {
                (await renderer.render(request_for(prepared, variables | said))).html
                for said in (
                    {"is_suspended": False, "notices_left": 2},
                    {"is_suspended": False, "notices_left": 1},
                    {"is_suspended": True, "notices_left": 0},
                )
            }
            assert len(texts) == 3
