"""The service over HTTP: who may do what, what is stored, and what comes back."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.db import platform_transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from testkit.service import until
from testkit.smtp_script import Phase, at, refuses
from testkit.smtp_server import scripted_smtp

Start = Callable[..., Awaitable[Any]]
SETTINGS = {
    "smtp_host": "smtp.example.com",
    "sender_email": "shop@example.com",
    "smtp_user": "u",
    "smtp_pass": "s3cret",
}
TEMPLATE = {"slug": "hello", "subject": "Hello {{ name }}", "body_html": "<p>{{ name }}</p>", "variables": ["name"]}
ADDRESS = {"email": "Ana@Example.com"}

#: method, path (`{id}` is a row of the tenant), body, permission
OPERATIONS = [
    ("GET", "/email-templates", None, "email_templates:read"),
    ("POST", "/email-templates", {**TEMPLATE, "slug": "other"}, "email_templates:write"),
    ("GET", "/email-templates/{template}", None, "email_templates:read"),
    ("PATCH", "/email-templates/{template}", {"subject": "x"}, "email_templates:write"),
    ("POST", "/email-templates/{template}/preview", {"variables": {"name": "Ana"}}, "email_templates:read"),
    ("POST", "/email-templates/preview", {"subject": "x", "body_html": "x"}, "email_templates:read"),
    ("DELETE", "/email-templates/{template}", None, "email_templates:write"),
    ("GET", "/email-settings", None, "email_settings:read"),
    ("POST", "/email-settings", SETTINGS, "email_settings:write"),
    ("GET", "/email-settings/{settings}", None, "email_settings:read"),
    ("PATCH", "/email-settings/{settings}", {"provider": "ses"}, "email_settings:write"),
    ("POST", "/email-settings/{settings}/test-send", {"to": "ana@example.com"}, "email_settings:write"),
    ("DELETE", "/email-settings/{settings}", None, "email_settings:write"),
    ("GET", "/emails", None, "emails:read"),
    ("GET", "/emails/{email}", None, "emails:read"),
    ("GET", "/suppressions", None, "suppressions:read"),
    ("POST", "/suppressions", {"email": "eve@example.com"}, "suppressions:write"),
    ("DELETE", "/suppressions/{suppression}", None, "suppressions:write"),
]


async def rows_of(mailer: Any, tenant: UUID) -> dict[str, str]:
    """One row of each kind, by the name that OPERATIONS calls it."""
    ids = {}
    for name, path, body in (
        ("template", "/email-templates", TEMPLATE),
        ("settings", "/email-settings", SETTINGS | {"is_active": False}),
        ("suppression", "/suppressions", ADDRESS),
    ):
        answer = await mailer.call("POST", path, tenant, json=body)
        assert answer.status_code == 201, answer.text
        ids[name] = answer.json()["id"]
    await mailer.publish({"to": "ana@example.com", "template": "hello", "tenant_id": str(tenant)})

    async def logged() -> bool:
        return bool((await mailer.call("GET", "/emails", tenant)).json()["data"])

    await until(logged)
    ids["email"] = (await mailer.call("GET", "/emails", tenant)).json()["data"][0]["id"]
    return ids


async def test_nobody_passes_without_identity_permission_and_tenant(start: Start, tenant: UUID) -> None:
    """401 without a token, 403 without the permission, 400 without a tenant; a stranger finds and harms nothing."""
    mailer = await start()
    ids = await rows_of(mailer, tenant)
    for method, template, body, permission in OPERATIONS:
        path = template.format(**ids)
        options = {} if body is None else {"json": body}
        assert (await mailer.http.request(method, path, **options)).status_code == 401, (method, path)
        refused = await mailer.call(method, path, tenant, "some:other", **options)
        assert refused.status_code == 403, (method, path)
        assert refused.json()["code"] == "missing_permission"
        if template != "/email-templates/preview":
            assert (await mailer.call(method, path, None, permission, **options)).status_code == 400, (method, path)
        if "{" in template:
            stranger = await mailer.call(method, path, uuid4(), permission, **options)
            assert stranger.status_code == 404, (method, path)
            unknown = template.format(**dict.fromkeys(ids, str(uuid4())))
            assert (await mailer.call(method, unknown, tenant, permission, **options)).status_code == 404
    for method, template, _, permission in OPERATIONS:
        if method == "GET":
            answer = await mailer.call(method, template.format(**ids), tenant, permission)
            assert answer.status_code == 200, (method, template, answer.text)
            if "{" not in template:
                foreign = (await mailer.call(method, template, uuid4(), permission)).json()["data"]
                assert all(row["tenant_id"] == str(PLATFORM_TENANT_ID) for row in foreign)


async def test_a_password_goes_in_and_never_comes_out(start: Start, tenant: UUID) -> None:
    mailer = await start()
    created = await mailer.call("POST", "/email-settings", tenant, json=SETTINGS)
    assert created.json()["smtp_pass"] == "********"
    path = f"/email-settings/{created.json()['id']}"

    async def sealed() -> bytes | None:
        async with platform_transaction(mailer.db) as conn:
            found: bytes | None = await conn.fetchval("SELECT smtp_pass FROM email_settings")
            return found

    before = await sealed()
    assert before is not None
    assert b"s3cret" not in before
    kept = await mailer.call("PATCH", path, tenant, json={"smtp_pass": "********", "sender_name": "Loja"})
    assert (kept.json()["smtp_pass"], kept.json()["sender_name"]) == ("********", "Loja")
    assert await sealed() == before
    await mailer.call("PATCH", path, tenant, json={"smtp_pass": "other"})
    assert await sealed() not in (None, before)
    cleared = await mailer.call("PATCH", path, tenant, json={"smtp_pass": None, "sender_name": None})
    assert (cleared.json()["smtp_pass"], cleared.json()["sender_name"]) == (None, None)
    assert await sealed() is None
    answers = [created.text, kept.text, (await mailer.call("GET", path, tenant)).text]
    assert not any("s3cret" in answer for answer in answers)


async def test_at_most_one_row_is_active(start: Start, tenant: UUID) -> None:
    mailer = await start()
    first = (await mailer.call("POST", "/email-settings", tenant, json=SETTINGS)).json()
    second = (await mailer.call("POST", "/email-settings", tenant, json=SETTINGS)).json()
    await mailer.call("PATCH", f"/email-settings/{first['id']}", tenant, json={"is_active": True})
    listed = (await mailer.call("GET", "/email-settings", tenant)).json()["data"]
    assert {row["id"]: row["is_active"] for row in listed} == {first["id"]: True, second["id"]: False}


async def test_an_internal_server_is_refused_outside_local_mode(start: Start, tenant: UUID) -> None:
    mailer = await start(ALLOW_PRIVATE_SMTP="false")
    for host in ("127.0.0.1", "169.254.169.254", "localhost", "[::1]", "2130706433"):
        answer = await mailer.call("POST", "/email-settings", tenant, json=SETTINGS | {"smtp_host": host})
        assert answer.status_code == 422, host
        assert answer.json()["errors"][0]["field"] == "$.smtp_host"


async def test_a_tenant_overrides_and_cannot_touch_the_platforms_templates(start: Start, tenant: UUID) -> None:
    mailer = await start()
    [shared] = [
        row
        for row in (await mailer.call("GET", "/email-templates?slug=welcome", tenant)).json()["data"]
        if row["locale"] == "pt-BR"
    ]
    path = f"/email-templates/{shared['id']}"
    assert (await mailer.call("PATCH", path, tenant, json={"subject": "x"})).status_code == 404
    assert (await mailer.call("DELETE", path, tenant)).status_code == 404
    own = await mailer.call("POST", "/email-templates", tenant, json={**TEMPLATE, "slug": "welcome"})
    assert (own.status_code, own.json()["locale"]) == (201, "pt-BR")
    assert (
        await mailer.call("POST", "/email-templates", tenant, json={**TEMPLATE, "slug": "welcome"})
    ).status_code == 409
    admin = await mailer.call("PATCH", path, None, kind="platform_admin", json={"subject": "Oi"})
    assert (admin.status_code, admin.json()["subject"]) == (200, "Oi")


async def test_a_template_is_linted_when_it_is_saved(start: Start, tenant: UUID) -> None:
    mailer = await start()
    undeclared = await mailer.call("POST", "/email-templates", tenant, json=TEMPLATE | {"variables": []})
    assert undeclared.status_code == 422
    assert undeclared.json()["errors"][0]["message"] == "name is used and not declared in variables"
    partial = await mailer.call("POST", "/email-templates", tenant, json=TEMPLATE | {"body_html": "\n {{> footer}}"})
    assert partial.status_code == 422
    assert "line 2, column" in partial.json()["errors"][0]["message"]
    unused = await mailer.call("POST", "/email-templates", tenant, json=TEMPLATE | {"variables": ["name", "plan"]})
    assert unused.json()["warnings"] == ["plan is declared and not used"]
    changed = await mailer.call(
        "PATCH", f"/email-templates/{unused.json()['id']}", tenant, json={"subject": "Oi", "variables": ["name"]}
    )
    assert (changed.json()["subject"], changed.json()["warnings"]) == ("Oi", [])


async def test_a_preview_renders_and_names_what_is_missing(start: Start, tenant: UUID) -> None:
    mailer = await start()
    template = (await mailer.call("POST", "/email-templates", tenant, json=TEMPLATE)).json()
    path = f"/email-templates/{template['id']}/preview"
    shown = await mailer.call("POST", path, tenant, json={"variables": {"name": "<Ana>"}})
    assert shown.json() == {"subject": "Hello <Ana>", "html": "<p>&lt;Ana&gt;</p>", "text": "<Ana>\n"}
    missing = await mailer.call("POST", path, tenant, json={})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "variables.name")
    draft = {"subject": "{{#if a}}x{{/if}}", "body_html": "{{{a}}}", "variables": {"a": "<b>"}}
    answer = await mailer.call("POST", "/email-templates/preview", tenant, json=draft)
    assert (answer.json()["subject"], answer.json()["html"]) == ("x", "<b>")


async def test_a_test_send_says_what_the_server_said(start: Start, tenant: UUID) -> None:
    mailer = await start()
    async with scripted_smtp() as server:
        body = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "sender_email": "shop@example.com"}
        settings = (await mailer.call("POST", "/email-settings", tenant, json=body)).json()
        path = f"/email-settings/{settings['id']}/test-send"

        async def outcome() -> tuple[str, int | None]:
            answer = (await mailer.call("POST", path, tenant, json={"to": "ana@example.com"})).json()
            return answer["outcome"], answer["smtp_code"]

        assert await outcome() == ("sent", 250)
        assert server.accepted[0].recipients == ("ana@example.com",)
        server.script = refuses(Phase.RCPT, 550)
        assert await outcome() == ("bounced", 550)
        server.script = refuses(Phase.RCPT, 451)
        assert await outcome() == ("deferred", 451)
        server.script = at({})
        assert (await mailer.call("POST", path, tenant, json={"to": "a@b, c@d"})).status_code == 422
    assert (await outcome())[0] == "unreachable"


async def test_an_idempotency_key_creates_once(start: Start, tenant: UUID) -> None:
    mailer = await start()
    for path, body in (("/email-templates", TEMPLATE), ("/email-settings", SETTINGS), ("/suppressions", ADDRESS)):
        options = {"json": body, "headers": {"Idempotency-Key": "k-1"}}
        first, second = [await mailer.call("POST", path, tenant, **options) for _ in range(2)]
        assert (first.status_code, second.status_code) == (201, 201), second.text
        assert first.json() == second.json()
        assert second.headers["idempotency-replayed"] == "true"


async def test_suppressions_are_kept_in_lower_case(start: Start, tenant: UUID) -> None:
    mailer = await start()
    assert (await mailer.call("POST", "/suppressions", tenant, json=ADDRESS)).json()["email"] == "ana@example.com"
    assert (await mailer.call("POST", "/suppressions", tenant, json=ADDRESS)).status_code == 409
    assert (await mailer.call("POST", "/suppressions", tenant, json={"email": "nobody"})).status_code == 422
    found = await mailer.call("GET", "/suppressions", tenant, params={"email": "ANA@example.com"})
    assert len(found.json()["data"]) == 1


async def test_lists_are_read_page_by_page(start: Start, tenant: UUID) -> None:
    mailer = await start()
    for n in range(5):
        await mailer.call("POST", "/suppressions", tenant, json={"email": f"u{n}@example.com"})
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await mailer.call("GET", "/suppressions", tenant, params=params)).json()
        seen += [row["email"] for row in page["data"]]
        cursor = page["next_cursor"]
    assert seen == [f"u{n}@example.com" for n in range(5)]
    assert cursor is None


async def test_a_time_without_a_zone_is_in_utc_wherever_the_service_runs(
    start: Start, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailer = await start()
    await rows_of(mailer, tenant)
    now = datetime.now(UTC).replace(tzinfo=None)
    before, after = now - timedelta(minutes=10), now + timedelta(minutes=10)

    async def count(**params: datetime) -> int:
        named = {name: at.isoformat() for name, at in params.items()}
        return len((await mailer.call("GET", "/emails", tenant, params=named)).json()["data"])

    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    try:
        assert await count(since=before, until=after) == 1
        assert await count(since=after) == 0
        assert await count(until=before) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "status=nonsense", "since=yesterday", "unknown=1", "to="],
)
async def test_a_bad_query_is_refused(start: Start, tenant: UUID, query: str) -> None:
    mailer = await start()
    answer = await mailer.call("GET", f"/emails?{query}", tenant)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_forged_cursor_is_refused(start: Start, tenant: UUID) -> None:
    answer = await (await start()).call("GET", "/emails?cursor=forged", tenant)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_cursor")


async def test_a_public_name_that_leads_inside_is_not_connected_to(start: Start, tenant: UUID) -> None:
    """The check at save can be outlived: a name may mean another address by the time it is used."""
    mailer = await start(ALLOW_PRIVATE_SMTP="false")
    async with scripted_smtp() as inside:
        body = {"smtp_host": "smtp.example.com", "smtp_port": inside.port, "sender_email": "shop@example.com"}
        settings = (await mailer.call("POST", "/email-settings", tenant, json=body)).json()
        async with platform_transaction(mailer.db) as conn:
            await conn.execute("UPDATE email_settings SET smtp_host = 'localhost'")
        path = f"/email-settings/{settings['id']}/test-send"
        trial = (await mailer.call("POST", path, tenant, json={"to": "ana@example.com"})).json()
        assert (trial["outcome"], trial["detail"]) == ("deferred", "the server's name leads to an internal address")
        assert inside.sessions == 0
        admin = await mailer.call(
            "POST", "/email-settings", None, kind="platform_admin", json={**body, "smtp_host": "127.0.0.1"}
        )
        assert admin.status_code == 201
