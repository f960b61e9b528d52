"""The mails to the operator: as the mailer would save them, and sent with exactly what billing brings."""

from uuid import UUID

import pytest

from chassis.db import Database, transaction
from mailer import store
from mailer.domain.templates import prepare
from mailer.renderer import Renderer, request_for

STALLED: dict[str, object] = {"count": 3, "oldest_minutes": 17, "provider": "asaas", "reason": "Conflict: no <key>"}


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
async def test_a_stall(db: Database, tenant: UUID, locale: str) -> None:
    async with transaction(db, tenant) as conn:
        found = await store.email_templates.list_templates(conn, tenant, slug="billing_stalled", after=None, limit=9)
    [row] = [one for one in found if one.locale == locale]
    prepared = prepare(row.subject, row.body_html, row.variables, row.syntax)
    assert (prepared.version, prepared.subject, prepared.body) == (row.version, row.subject_jinja, row.body_jinja)
    assert prepared.warnings == ()
    assert {one.name for one in prepared.declared} == set(STALLED)
    async with Renderer(workers=1) as renderer:
        mail = await renderer.render(request_for(prepared, STALLED))
        assert "3" in mail.subject
        for part in ("17", "asaas", "no &lt;key&gt;"):
            assert part in mail.html
        untried = await renderer.render(request_for(prepared, STALLED | {"reason": ""}))
        assert "key" not in untried.html
