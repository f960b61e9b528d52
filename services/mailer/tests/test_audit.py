"""What people do to settings, templates and the suppression list is told to the audit log, and no secret is."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.audit import AuditActor, Doer
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.domain.email_settings import SettingsChange
from mailer.usecases.create_settings import create_settings
from mailer.usecases.create_template import create_template
from mailer.usecases.delete_settings import delete_settings
from mailer.usecases.delete_template import delete_template
from mailer.usecases.release_address import release_address
from mailer.usecases.suppress_address import suppress_address
from mailer.usecases.update_settings import update_settings
from mailer.usecases.update_template import update_template
from testkit.service import until
from testkit.smtp_script import Phase, refuses
from testkit.smtp_server import scripted_smtp

Start = Callable[..., Awaitable[Any]]
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RECORDED = "mailer.audit.recorded.v1"
SETTINGS = {
    "smtp_host": "smtp.example.com",
    "sender_email": "sender@example.com",
    "sender_name": "Sender Lima",
    "smtp_user": "mail-login",
    "smtp_pass": "s3cret-pass",
}
TEMPLATE = {"slug": "hello", "subject": "Hello {{ name }}", "body_html": "<p>{{ name }}</p>", "variables": ["name"]}
ADDRESS = {"email": "Ana@Example.com", "detail": "asked by telephone"}
#: What of the above is secret, personal or too much; in lower case.
UNSPEAKABLE = (
    "s3cret", "0ther", "****", "@example.com", "lima", "mail-login", "telephone", "<p>", "{{",
)  # fmt: skip


async def deeds(mailer: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Action, target and metadata of every record so far. None of them says what must not be said."""
    records = await mailer.told(RECORDED)
    text = json.dumps(records).lower()
    assert not [word for word in UNSPEAKABLE if word in text]
    return [(record["action"], record["targets"][0]["id"], record["metadata"]) for record in records]


async def made(mailer: Any, path: str, tenant: UUID, body: dict[str, Any]) -> str:
    answer = await mailer.call("POST", path, tenant, json=body)
    assert answer.status_code == 201, answer.text
    row_id: str = answer.json()["id"]
    return row_id


async def test_what_is_done_to_settings_is_recorded(start: Start, tenant: UUID) -> None:
    mailer = await start()
    first = await made(mailer, "/email-settings", tenant, SETTINGS)
    host = {"smtp_host": "smtp.example.com"}
    expected: list[tuple[str, str, dict[str, Any]]] = [
        ("email_settings.created", first, host),
        ("email_settings.activated", first, host),
    ]
    assert await deeds(mailer) == expected
    spare = await made(mailer, "/email-settings", tenant, SETTINGS | {"is_active": False})
    expected += [("email_settings.created", spare, host)]
    assert await deeds(mailer) == expected

    moved = {"smtp_host": "smtp.example.net"}
    for change, records in (
        ({"is_active": True}, [("activated", host | {"in_place_of": first})]),
        ({"is_active": True}, []),
        ({"smtp_pass": "********", "smtp_port": 587, "sender_name": "Sender Lima"}, []),
        ({"smtp_pass": "0ther-pass"}, [("updated", host | {"changed": "smtp_pass"})]),
        (
            {**moved, "smtp_pass": "0ther-pass", "sender_email": "other@example.com", "is_active": False},
            [("updated", moved | {"changed": "smtp_host, smtp_pass, sender_email"}), ("deactivated", moved)],
        ),
        ({"smtp_user": None, "smtp_pass": None}, [("updated", moved | {"changed": "smtp_user, smtp_pass"})]),
    ):
        answer = await mailer.call("PATCH", f"/email-settings/{spare}", tenant, json=change)
        assert answer.status_code == 200, answer.text
        expected += [(f"email_settings.{done}", spare, metadata) for done, metadata in records]
        assert await deeds(mailer) == expected

    for settings_id in (first, spare):
        assert (await mailer.call("DELETE", f"/email-settings/{settings_id}", tenant)).status_code == 204
    expected += [
        ("email_settings.deleted", first, host | {"was_active": False}),
        ("email_settings.deleted", spare, moved | {"was_active": False}),
    ]
    assert await deeds(mailer) == expected


async def test_that_the_active_settings_went_is_recorded(start: Start, tenant: UUID) -> None:
    mailer = await start()
    active = await made(mailer, "/email-settings", tenant, SETTINGS)
    assert (await mailer.call("DELETE", f"/email-settings/{active}", tenant)).status_code == 204
    [*_, gone] = await deeds(mailer)
    assert gone == ("email_settings.deleted", active, {"smtp_host": "smtp.example.com", "was_active": True})


async def test_what_is_done_to_templates_is_recorded(start: Start, tenant: UUID) -> None:
    mailer = await start()
    template = await made(mailer, "/email-templates", tenant, TEMPLATE)
    path = f"/email-templates/{template}"
    which = {"slug": "hello", "locale": "pt-BR"}
    changed = await mailer.call("PATCH", path, tenant, json={"subject": "Oi", "variables": ["name", "plan"]})
    assert changed.status_code == 200, changed.text
    assert (await mailer.call("PATCH", path, tenant, json={"subject": "Oi"})).status_code == 200
    assert (await mailer.call("DELETE", path, tenant)).status_code == 204
    assert await deeds(mailer) == [
        ("email_template.created", template, which),
        ("email_template.updated", template, which | {"changed": "subject, variables"}),
        ("email_template.deleted", template, which),
    ]


async def test_what_people_do_to_the_suppression_list_is_recorded_and_a_bounce_is_not(
    start: Start, tenant: UUID
) -> None:
    async with scripted_smtp(refuses(Phase.RCPT, 550, "5.1.1 no such user")) as server:
        mailer = await start(SMTP_URL=server.url)
        template = {"template": "welcome", "variables": {"name": "Eva", "plan": "pro"}}
        await mailer.publish({**template, "to": "eva@example.com", "tenant_id": str(tenant)})

        async def bounced() -> bool:
            return bool((await mailer.call("GET", "/suppressions", tenant)).json()["data"])

        await until(bounced)
    assert await deeds(mailer) == []
    [by_bounce] = (await mailer.call("GET", "/suppressions", tenant)).json()["data"]
    by_hand = await made(mailer, "/suppressions", tenant, ADDRESS)
    for entry in (by_bounce["id"], by_hand):
        assert (await mailer.call("DELETE", f"/suppressions/{entry}", tenant)).status_code == 204
    assert await deeds(mailer) == [
        ("suppression.added", by_hand, {}),
        ("suppression.removed", by_bounce["id"], {"cause": "bounced"}),
        ("suppression.removed", by_hand, {"cause": "manual"}),
    ]


async def test_a_record_says_who_and_from_where(start: Start, tenant: UUID) -> None:
    """In the shape of WorkOS; address and agent belong to the person, by whose key the log seals them."""
    mailer = await start()
    person = str(uuid4())
    near = {"user-agent": "tests/1" + "x" * 400, "x-forwarded-for": "203.0.113.7"}
    two = {"user-agent": "", "x-forwarded-for": "203.0.113.7, 198.51.100.1"}
    for tenant_id, kind, subject, headers in (
        (tenant, "user", person, near),
        (tenant, "api_key", "key-1", near),
        (tenant, "webhook", "hook", two),
        (tenant, "user", "core-user-7", near),
        (None, "platform_admin", person, near),
    ):
        answer = await mailer.call(
            "POST", "/suppressions", tenant_id, kind=kind, subject=subject, headers=headers,
            json={"email": f"{kind}.{subject}@example.com"},
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
    records = await mailer.told(RECORDED)
    assert [record["actor"] for record in records] == [
        {"type": "user", "id": person, "name": None},
        {"type": "api_key", "id": "key-1", "name": None},
        {"type": "service", "id": "hook", "name": None},
        {"type": "user", "id": "core-user-7", "name": None},
        {"type": "platform_admin", "id": person, "name": None},
    ]
    assert [record["subject_ref"] for record in records] == [person, None, None, None, person]
    assert records[0]["context"] == {"location": "203.0.113.7", "user_agent": ("tests/1" + "x" * 400)[:300]}
    assert records[2]["context"] == {"location": None, "user_agent": None}
    assert [record["tenant_id"] for record in records] == [str(tenant)] * 4 + [str(PLATFORM_TENANT_ID)]
    assert records[0]["targets"][0]["type"] == "suppression"


async def test_what_is_refused_is_not_recorded(start: Start, tenant: UUID) -> None:
    mailer = await start()
    rows = {
        "/email-settings": await made(mailer, "/email-settings", tenant, SETTINGS),
        "/email-templates": await made(mailer, "/email-templates", tenant, TEMPLATE),
        "/suppressions": await made(mailer, "/suppressions", tenant, ADDRESS),
    }
    before = await deeds(mailer)
    for path, row_id in rows.items():
        stranger, one = uuid4(), f"{path}/{row_id}"
        assert (await mailer.call("DELETE", one, stranger)).status_code == 404
        assert (await mailer.call("DELETE", one, tenant, "some:other")).status_code == 403
        assert (await mailer.call("POST", path, tenant, json={"email": 1})).status_code in (400, 422)
    for method, path, body, status in (
        ("POST", "/suppressions", ADDRESS, 409),
        ("POST", "/suppressions", {"email": "nobody"}, 422),
        ("POST", "/email-templates", TEMPLATE, 409),
        ("POST", "/email-templates", TEMPLATE | {"slug": "bad", "variables": []}, 422),
        ("PATCH", f"/email-templates/{rows['/email-templates']}", {"body_html": "{{> footer}}"}, 422),
        ("POST", "/email-settings", SETTINGS | {"smtp_host": "not a host"}, 422),
        ("PATCH", f"/email-settings/{rows['/email-settings']}", {"smtp_host": "smtp.example.net"}, 422),
    ):
        answer = await mailer.call(method, path, tenant, json=body)
        assert answer.status_code == status, (method, path, answer.text)
    assert await deeds(mailer) == before


async def test_a_repeated_request_is_recorded_once(start: Start, tenant: UUID) -> None:
    mailer = await start()
    for path, body in (("/email-settings", SETTINGS), ("/email-templates", TEMPLATE), ("/suppressions", ADDRESS)):
        for _ in range(2):
            answer = await mailer.call("POST", path, tenant, json=body, headers={"Idempotency-Key": "k-1"})
            assert answer.status_code == 201, answer.text
    assert [action for action, _, _ in await deeds(mailer)] == [
        "email_settings.created", "email_settings.activated", "email_template.created", "suppression.added",
    ]  # fmt: skip


async def test_a_change_and_its_record_are_kept_or_lost_together(db: Database, tenant: UUID) -> None:
    by = Doer(actor=AuditActor(type="user", id="user-1"))
    box = SecretBox(Secret("a-key-of-the-tests-that-is-long-enough"))
    settings = SettingsChange(**{**SETTINGS, "smtp_port": 587, "is_active": True})  # type: ignore[arg-type]

    async def do_everything(conn: Connection) -> None:
        row = await create_settings(conn, tenant, settings, by=by, box=box, allow_private_smtp=False, now=NOW)
        change = SettingsChange(provider="ses")
        await update_settings(conn, tenant, row.id, change, by=by, box=box, allow_private_smtp=False, now=NOW)
        await delete_settings(conn, tenant, row.id, by=by, now=NOW)
        template, _ = await create_template(
            conn, tenant, slug="s", locale="en", subject="s", body_html="b", variables=[], syntax=None, by=by, now=NOW
        )
        await update_template(
            conn, tenant, template.id, subject="t", body_html=None, variables=None, syntax=None, by=by, now=NOW
        )
        await delete_template(conn, tenant, template.id, by=by, now=NOW)
        entry = await suppress_address(conn, tenant, email="ana@example.com", detail=None, by=by, now=NOW)
        await release_address(conn, tenant, entry.id, by=by, now=NOW)

    async def recorded() -> int:
        async with platform_transaction(db) as conn:
            count: int = await conn.fetchval("SELECT count(*) FROM outbox WHERE type = $1", RECORDED)
            return count

    async def do_everything_and_fail() -> None:
        async with transaction(db, tenant) as conn:
            await do_everything(conn)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await do_everything_and_fail()
    assert await recorded() == 0
    async with transaction(db, tenant) as conn:
        await do_everything(conn)
    assert await recorded() == 9
