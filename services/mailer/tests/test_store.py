"""SQL over settings, templates and suppressions on a real Postgres, seen through row-level security."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.db import Connection, Database, platform_transaction, transaction
from contracts.errors import Conflict, NotFound
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer import store
from mailer.domain.email_settings import EmailSettings
from mailer.domain.email_templates import EmailTemplate
from mailer.domain.identifiers import new_id
from mailer.domain.suppressions import Cause, Suppression
from mailer.domain.templates import prepare

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def settings_of(tenant_id: UUID, **fields: Any) -> EmailSettings:
    values: dict[str, Any] = {
        "id": new_id(NOW), "tenant_id": tenant_id, "provider": "smtp", "smtp_host": "smtp.example.com",
        "smtp_port": 587, "smtp_user": "u", "smtp_pass": b"sealed", "smtp_secure": True, "sender_name": "Loja",
        "sender_email": "a@example.com", "amqp_url": b"sealed too", "is_active": True, "created_at": NOW,
        "updated_at": NOW,
    }  # fmt: skip
    return EmailSettings(**values | fields)


def template_of(tenant_id: UUID, **fields: Any) -> EmailTemplate:
    values: dict[str, Any] = {
        "id": new_id(NOW), "tenant_id": tenant_id, "slug": "hello", "locale": "en", "syntax": "jinja",
        "subject": "Hello", "body_html": "<p>{{ name }}</p>", "variables": ["name", "link:secret"],
        "subject_jinja": "Hello",
        "body_jinja": "<p>{{ name }}</p>", "version": "v1", "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return EmailTemplate(**values | fields)


def suppression_of(tenant_id: UUID, email: str) -> Suppression:
    return Suppression(
        id=new_id(NOW), tenant_id=tenant_id, email=email, cause=Cause.MANUAL, detail=None, email_id=None, created_at=NOW
    )


@pytest_asyncio.fixture
async def conn(db: Database, tenant: UUID) -> AsyncIterator[Connection]:
    """A transaction of the tenant."""
    async with transaction(db, tenant) as connection:
        yield connection


async def test_settings_come_back_as_they_were_written(conn: Connection, tenant: UUID) -> None:
    first, second = sorted([settings_of(tenant), settings_of(tenant, is_active=False)], key=lambda row: row.id)
    for row in (first, second):
        await store.email_settings.upsert_settings(conn, tenant, row)
    assert await store.email_settings.get_settings(conn, tenant, first.id) == first
    assert await store.email_settings.lock_settings(conn, tenant, second.id) == second
    assert await store.email_settings.list_settings(conn, tenant, after=None, limit=9) == [first, second]
    assert await store.email_settings.list_settings(conn, tenant, after=first.id, limit=9) == [second]
    assert await store.email_settings.list_settings(conn, tenant, after=None, limit=1) == [first]
    assert await store.email_settings.has_settings(conn, tenant, first.id)
    assert await store.email_settings.has_active(conn, tenant)
    await store.email_settings.deactivate_settings(conn, tenant, but=uuid4())
    assert not await store.email_settings.has_active(conn, tenant)
    await store.email_settings.delete_settings(conn, tenant, first.id)
    assert not await store.email_settings.has_settings(conn, tenant, first.id)


async def test_settings_that_are_not_there_are_not_found(conn: Connection, tenant: UUID) -> None:
    for function in (
        store.email_settings.get_settings,
        store.email_settings.lock_settings,
        store.email_settings.delete_settings,
    ):
        with pytest.raises(NotFound):
            await function(conn, tenant, uuid4())


async def test_a_template_comes_back_as_it_was_written(conn: Connection, tenant: UUID) -> None:
    template = template_of(tenant)
    await store.email_templates.insert_template(conn, tenant, template)
    assert await store.email_templates.get_template(conn, tenant, template.id) == template
    assert await store.email_templates.lock_template(conn, tenant, template.id) == template
    assert await store.email_templates.has_template(conn, tenant, template.id)
    assert await store.email_templates.list_by_id(conn, [tenant], [template.id]) == [template]
    assert await store.email_templates.list_templates(conn, tenant, slug="hello", after=None, limit=9) == [template]
    with pytest.raises(Conflict):
        await store.email_templates.insert_template(conn, tenant, template_of(tenant))
    [choice] = await store.email_templates.list_choices(conn, [tenant], ["hello"])
    assert (choice.id, choice.secret_names) == (template.id, ("link",))
    changed = template_of(tenant, id=template.id, subject="Other", version="v2")
    await store.email_templates.update_template(conn, tenant, changed)
    assert await store.email_templates.get_template(conn, tenant, template.id) == changed
    assert not await store.email_templates.delete_default(conn, tenant, "hello", "en"), "only a migration's row is one"
    await store.email_templates.delete_template(conn, tenant, template.id)
    for function in (
        store.email_templates.get_template,
        store.email_templates.lock_template,
        store.email_templates.delete_template,
    ):
        with pytest.raises(NotFound):
            await function(conn, tenant, template.id)


async def test_the_defaults_are_read_by_all_and_written_by_the_platform_only(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        defaults = await store.email_templates.list_templates(conn, tenant, slug=None, after=None, limit=100)
        assert {(row.slug, row.locale) for row in defaults} >= {
            ("welcome", "pt-BR"),
            ("welcome", "en"),
            ("password_reset", "pt-BR"),
            ("password_reset", "en"),
        }
        for row in defaults:
            prepared = prepare(row.subject, row.body_html, row.variables, row.syntax)
            assert (prepared.version, prepared.subject, prepared.body) == (
                row.version,
                row.subject_jinja,
                row.body_jinja,
            )
            assert prepared.warnings == ()
            with pytest.raises(NotFound):
                await store.email_templates.delete_template(conn, PLATFORM_TENANT_ID, row.id)
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        assert await store.email_templates.delete_default(conn, PLATFORM_TENANT_ID, "welcome", "en")


async def test_the_platforms_settings_are_hidden_from_tenants(db: Database, tenant: UUID) -> None:
    shared = settings_of(PLATFORM_TENANT_ID)
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        await store.email_settings.upsert_settings(conn, PLATFORM_TENANT_ID, shared)
    async with transaction(db, tenant) as conn:
        assert await store.email_settings.list_settings(conn, PLATFORM_TENANT_ID, after=None, limit=9) == []
    async with platform_transaction(db) as conn:
        assert await store.email_settings.list_settings_of_lanes(conn, [shared.id]) == [shared]


async def test_an_address_is_listed_once(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        entry = suppression_of(tenant, "a@example.com")
        await store.suppressions.insert_suppression(conn, tenant, entry)
        with pytest.raises(Conflict):
            await store.suppressions.insert_suppression(conn, tenant, suppression_of(tenant, "a@example.com"))
        listed = await store.suppressions.list_suppressions(conn, tenant, email="a@example.com", after=None, limit=9)
        assert listed == [entry]
        assert await store.suppressions.list_suppressions(conn, tenant, email=None, after=entry.id, limit=9) == []
    async with platform_transaction(db) as conn:
        await store.suppressions.insert_bounced(
            conn,
            [tenant] * 2,
            [new_id(NOW), new_id(NOW)],
            ["a@example.com", "b@example.com"],
            ["550"] * 2,
            [uuid4()] * 2,
            NOW,
        )
        asked = ["a@example.com", "b@example.com", "c@example.com"]
        assert await store.suppressions.list_causes(conn, [tenant] * 3, asked) == {
            (tenant, "a@example.com"): "manual",
            (tenant, "b@example.com"): "bounced",
        }
        assert await store.suppressions.list_causes(conn, [uuid4()], ["a@example.com"]) == {}
    async with transaction(db, tenant) as conn:
        await store.suppressions.delete_suppression(conn, tenant, entry.id)
        with pytest.raises(NotFound):
            await store.suppressions.delete_suppression(conn, tenant, entry.id)
