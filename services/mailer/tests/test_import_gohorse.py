"""GoHorse's two tables in a database of their own, copied by the command that the Makefile calls."""

import json
import os
import subprocess
import sys
from uuid import UUID

import asyncpg
import pytest

from chassis.db import Database, transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer import store
from mailer.usecases.open_origin import open_origin
from testkit.plugin import ServiceEnv

TABLES = """
CREATE TABLE email_settings (
    id uuid PRIMARY KEY, provider varchar, smtp_host varchar, smtp_port int, smtp_user varchar, smtp_pass varchar,
    smtp_secure boolean, sender_name varchar, sender_email varchar, amqp_url varchar, is_active boolean);
CREATE TABLE email_templates (
    id uuid PRIMARY KEY, slug varchar, subject varchar, body_html text, variables text[],
    "createdAt" timestamp DEFAULT now());
"""
ACTIVE, SECOND, PORTLESS = (UUID(int=n + 1) for n in range(3))
WELCOME, RECEIPT, PARTIAL, TORN = (UUID(int=n + 11) for n in range(4))


async def fill(url: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(TABLES)
        await conn.executemany(
            "INSERT INTO email_settings VALUES ($1, 'ses', 'smtp.example.com', $2, 'user', 's3cret', true, 'GoHorse',"
            " 'jobs@gohorse.example.com', 'amqp://u:p@mq.example.com', true)",
            [(ACTIVE, 465), (SECOND, 587), (PORTLESS, None)],
        )
        await conn.executemany(
            "INSERT INTO email_templates (id, slug, subject, body_html, variables) VALUES ($1, $2, $3, $4, $5)",
            [
                (WELCOME, "welcome", "Olá {{name}}", "<p>{{#if plan}}{{plan.name}}{{/if}}</p>", ["name"]),
                (RECEIPT, "receipt", "Recibo", "{{#each items}}<li>{{this}}</li>{{/each}}", ["items"]),
                (TORN, "wel\ncome", "x", "y", []),
                (PARTIAL, "partial", "x", "<p>\n  {{> footer}}</p>", None),
            ],
        )
    finally:
        await conn.close()


async def test_rows_are_copied_once_and_every_refusal_is_told(
    database_url: str, service_env: ServiceEnv, db_role_secret: str
) -> None:
    await fill(database_url)
    env = await service_env("mailer")

    def command() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mailer.app", "import-gohorse", database_url],
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    first = command()
    assert first.returncode == 1, first.stderr
    lines = first.stdout.splitlines()
    assert lines[-1] == "7 rows, 3 refused"
    assert f"taken    email_settings {ACTIVE}" in lines
    assert f"taken    email_settings {SECOND} not active here: another row is" in lines
    [portless] = [line for line in lines if str(PORTLESS) in line]
    assert portless.startswith("refused")
    assert "smtp_port" in portless
    assert f"taken    email_templates {WELCOME} in place of the default" in lines
    [partial] = [line for line in lines if str(PARTIAL) in line]
    assert "line 2, column" in partial
    [torn] = [line for line in lines if str(TORN) in line]
    assert "slug" in torn
    assert "s3cret" not in first.stdout + first.stderr

    second = command()
    assert second.returncode == 1
    assert [line.split()[0] for line in second.stdout.splitlines()[:-1]].count("present") == 4

    db = Database(env["DATABASE_URL"], "mailer", Secret(db_role_secret))
    await db.open()
    try:
        async with transaction(db, PLATFORM_TENANT_ID) as conn:
            settings = await store.email_settings.get_settings(conn, PLATFORM_TENANT_ID, ACTIVE)
            template = await store.email_templates.get_template(conn, PLATFORM_TENANT_ID, WELCOME)
        bodies = await db.relay.fetch("SELECT convert_from(body, 'UTF8') AS body FROM outbox ORDER BY created_at, id")
    finally:
        await db.close()
    assert b"s3cret" not in (settings.smtp_pass or b"")
    assert (
        open_origin(settings, SecretBox(Secret(env["SECRETS_KEY"])), allow_private_smtp=False).server.password
        == "s3cret"
    )
    assert b"mq.example.com" not in (settings.amqp_url or b"")
    assert (template.syntax, template.variables) == ("handlebars", ["name", "plan"])

    records = [json.loads(row["body"])["data"] for row in bodies]
    taken = {(one["action"], one["targets"][0]["id"]): one["metadata"] for one in records}
    host = {"smtp_host": "smtp.example.com"}
    assert taken == {
        ("email_settings.imported", str(ACTIVE)): host | {"is_active": True},
        ("email_settings.imported", str(SECOND)): host | {"is_active": False},
        ("email_template.imported", str(WELCOME)): {"slug": "welcome", "locale": "pt-BR", "replaced_default": True},
        ("email_template.imported", str(RECEIPT)): {"slug": "receipt", "locale": "pt-BR", "replaced_default": False},
    }
    assert len(records) == 4, "the second run took nothing"
    assert {(one["actor"]["type"], one["actor"]["id"]) for one in records} == {("service", "operator")}
    assert not [word for word in ("s3cret", "mq.example.com", "jobs@") if word in str(records)]


@pytest.mark.parametrize(
    ("tables", "code", "said"),
    [
        ("CREATE TABLE users (id int)", 2, "neither email_settings nor email_templates"),
        ("CREATE TABLE email_settings (x int); INSERT INTO email_settings VALUES (1)", 1, "1 rows, 1 refused"),
        ("CREATE VIEW email_templates AS SELECT 1 / 0 AS id", 2, "division by zero"),
    ],
    ids=["another-database", "without-an-id", "not-readable"],
)
async def test_a_database_of_another_shape_is_told_in_a_line(
    database_url: str, service_env: ServiceEnv, tables: str, code: int, said: str
) -> None:
    conn = await asyncpg.connect(database_url)
    await conn.execute(tables)
    await conn.close()
    done = ran("import-gohorse", database_url, env=await service_env("mailer"))
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def ran(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mailer.app", *arguments]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=60)


async def test_bad_usage_and_a_silent_database_exit_with_2(service_env: ServiceEnv) -> None:
    env = await service_env("mailer")
    assert ran(env=env).returncode == 2
    assert ran("import-gohorse", "postgres://127.0.0.1:1/none", env=env).returncode == 2
    assert ran("import-gohorse", "postgres://127.0.0.1:1/none", "not-a-uuid", env=env).returncode == 2
