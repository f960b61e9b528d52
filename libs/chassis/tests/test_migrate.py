"""Migrations are applied once and whole, by a superuser or a plain owner, by many runners at a time."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from chassis.db import Database, role_password, transaction
from chassis.migrate import MigrationError, migrate, migrations_of, pending
from chassis.settings import Secret
from testkit.databases import Databases

EXPECTED = ["bus/schema.sql", "chassis/schema.sql", "0001_notes.sql"]


@pytest.fixture
def secret(db_role_secret: str) -> Secret:
    return Secret(db_role_secret)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique_name: str) -> Iterator[Path]:
    """A package with migrations of its own, under a name of its own."""
    package = tmp_path / unique_name
    (package / "migrations").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    shutil.rmtree(package)
    sys.modules.pop(unique_name, None)


async def test_three_runners_at_once(database_url: str, secret: Secret) -> None:
    applied = await asyncio.gather(*(migrate(database_url, "sample", secret) for _ in range(3)))
    assert sorted(applied, key=len) == [[], [], EXPECTED]
    assert await migrate(database_url, "sample", secret) == []


async def test_several_databases_of_one_cluster_at_once(databases: Databases, secret: Secret, copied: Path) -> None:
    # Roles are the cluster's: here twelve runners in four databases meet at roles that nobody has made yet.
    urls = [await databases.fresh() for _ in range(4)]
    applied = await asyncio.gather(*(migrate(url, copied.name, secret) for url in urls for _ in range(3)))
    assert sum(bool(names) for names in applied) == 4
    for url in urls:
        await databases.drop(url)


async def test_an_edited_file_is_refused(database_url: str, secret: Secret, copied: Path) -> None:
    file = copied / "migrations" / "0001_a.sql"
    file.write_text("CREATE TABLE a (id int);")
    await migrate(database_url, copied.name, secret)
    file.write_text("CREATE TABLE a (id bigint);")
    with pytest.raises(MigrationError, match=r"0001_a\.sql was edited"):
        await migrate(database_url, copied.name, secret)


async def test_a_failing_file_leaves_nothing_and_can_be_mended(database_url: str, secret: Secret, copied: Path) -> None:
    (copied / "migrations" / "0001_a.sql").write_text("CREATE TABLE a (id int);")
    broken = copied / "migrations" / "0002_b.sql"
    broken.write_text("CREATE TABLE b (id int); SELECT 1/0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(database_url, copied.name, secret)
    broken.write_text("CREATE TABLE b (id int);")
    assert await migrate(database_url, copied.name, secret) == ["0002_b.sql"]


def test_one_number_twice_is_refused(copied: Path) -> None:
    for name in ("0001_a.sql", "0001_b.sql"):
        (copied / "migrations" / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="0001"):
        migrations_of(copied.name)


async def test_ddl_does_not_wait_for_a_lock_longer_than_three_seconds(
    database_url: str, secret: Secret, copied: Path
) -> None:
    (copied / "migrations" / "0001_a.sql").write_text("CREATE TABLE a (id int);")
    await migrate(database_url, copied.name, secret)
    (copied / "migrations" / "0002_b.sql").write_text("ALTER TABLE a ADD COLUMN b int;")
    holder = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(6), holder.transaction():
            await holder.execute(await holder.fetchval("SELECT format('LOCK TABLE %I.a', $1::text)", copied.name))
            with pytest.raises(asyncpg.LockNotAvailableError):
                await migrate(database_url, copied.name, secret)
    finally:
        await holder.close()
    assert await migrate(database_url, copied.name, secret) == ["0002_b.sql"]


async def test_an_owner_that_is_no_superuser(databases: Databases, secret: Secret, copied: Path) -> None:
    (copied / "migrations" / "0001_a.sql").write_text(
        "CREATE TABLE a (id int); GRANT SELECT ON a TO " + copied.name + "_app;"
    )
    url = await databases.fresh()
    owner = f"{copied.name}_dba"
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'dba'")
        await admin.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} OWNER TO {owner}")
    finally:
        await admin.close()
    parts = urlsplit(url)
    host = parts.netloc.rsplit("@", 1)[-1]
    owner_url = urlunsplit(parts._replace(netloc=f"{quote(owner)}:dba@{host}"))
    names = ["bus/schema.sql", "chassis/schema.sql", "0001_a.sql"]
    assert (
        sorted(await asyncio.gather(*(migrate(owner_url, copied.name, secret) for _ in range(3))), key=len)[2] == names
    )
    db = Database(owner_url, copied.name, secret)
    await db.open()
    assert await db.app.fetch("SELECT * FROM a") == []
    await db.close()
    await databases.drop(url)


async def test_what_a_migrated_role_gets(database_url: str, secret: Secret) -> None:
    await migrate(database_url, "sample", secret)
    parts = urlsplit(database_url)
    host = parts.netloc.rsplit("@", 1)[-1]
    for role in ("app", "platform", "relay"):
        user = f"sample_{role}"
        password = role_password(secret, user)
        # As any client would connect, without the settings that our pools ask for.
        url = urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
        connection = await asyncpg.connect(url)
        shown = {
            name: await connection.fetchval("SELECT current_setting($1)", name)
            for name in ("search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        }
        assert list(shown.values()) == ["sample", "5s", "3s", "10s"], role
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE mine (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("TRUNCATE outbox")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SET ROLE sample_owner")
        await connection.close()


async def test_pending_names_what_is_missing(database_url: str, secret: Secret, copied: Path) -> None:
    await migrate(database_url, copied.name, secret)
    db = Database(database_url, copied.name, secret)
    await db.open()
    assert await pending(db, migrations_of(copied.name)) == []
    (copied / "migrations" / "0001_a.sql").write_text("CREATE TABLE a (id int);")
    assert await pending(db, migrations_of(copied.name)) == ["0001_a.sql"]
    await db.close()


async def test_a_clone_keeps_the_rights_and_the_pools_bring_the_settings(databases: Databases, secret: Secret) -> None:
    db = Database(await databases.of_service("sample"), "sample", secret)
    await db.open()
    async with transaction(db, uuid4()) as connection:
        assert await connection.fetchval("SELECT current_setting('search_path')") == "sample"
        assert await connection.fetchval("SELECT current_setting('statement_timeout')") == "5s"
    await db.close()
