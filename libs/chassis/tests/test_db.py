"""A tenant sees its own rows, whatever a pooled connection was used for before."""

import asyncio
import random
from uuid import UUID, uuid4

import asyncpg
import pytest

from chassis.db import Database, RoleRefused, platform_transaction, role_password, transaction
from chassis.settings import Secret
from contracts.errors import Unavailable
from testkit.databases import Databases

from .client import Client

A, B = uuid4(), uuid4()


async def write(db: Database, tenant_id: UUID, title: str) -> None:
    async with transaction(db, tenant_id) as connection:
        await connection.execute(
            "INSERT INTO notes (tenant_id, id, title) VALUES ($1, $2, $3)", tenant_id, uuid4(), title
        )


async def test_another_tenants_rows_are_not_there(client: Client) -> None:
    db: Database = client.app.state.runtime.db
    await write(db, A, "a")
    await write(db, B, "b")
    async with transaction(db, A) as connection:
        assert [row["title"] for row in await connection.fetch("SELECT title FROM notes")] == ["a"]
        assert await connection.execute("DELETE FROM notes WHERE title = 'b'") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute("INSERT INTO notes (tenant_id, id, title) VALUES ($1, $2, 'x')", B, uuid4())


async def test_a_tenant_left_on_a_connection_cannot_leak(client: Client) -> None:
    db: Database = client.app.state.runtime.db
    await write(db, A, "a")
    async with db.app.acquire() as one:
        pid = await one.fetchval("SELECT pg_backend_pid()")
    async with transaction(db, A) as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") == pid
        assert await connection.fetchval("SELECT count(*) FROM notes") == 1
    async with db.app.acquire() as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") == pid
        # The setting is now '' and no longer NULL: the second query without a tenant must be no error either.
        for _ in range(2):
            assert await connection.fetchval("SELECT count(*) FROM notes") == 0
        # Even a careless session-wide setting is gone when the connection comes back.
        await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(A))
        assert await connection.fetchval("SELECT count(*) FROM notes") == 1
    async with db.app.acquire() as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") == pid
        assert await connection.fetchval("SELECT count(*) FROM notes") == 0


async def test_cancelled_work_leaves_nothing_behind(client: Client) -> None:
    db: Database = client.app.state.runtime.db
    tenants = [uuid4() for _ in range(20)]
    for tenant in tenants:
        await write(db, tenant, str(tenant))

    async def read(tenant: UUID) -> None:
        async with transaction(db, tenant) as connection:
            await asyncio.sleep(random.random() / 50)
            rows = await connection.fetch("SELECT title, pg_sleep(random() / 50) FROM notes")
            assert [row["title"] for row in rows] == [str(tenant)]

    for _ in range(15):
        tasks = [asyncio.create_task(read(random.choice(tenants))) for _ in range(20)]
        await asyncio.sleep(random.random() / 20)
        for task in tasks[::2]:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
    assert db.app.get_idle_size() == db.app.get_size()
    async with platform_transaction(db) as connection:
        idle = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
        )
    assert idle == 0


async def test_a_busy_pool_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.db.ACQUIRE_TIMEOUT_S", 0.2)
    db: Database = client.app.state.runtime.db
    held = [await db.app.acquire() for _ in range(10)]
    try:
        with pytest.raises(Unavailable, match="busy"):
            await write(db, A, "x")
        response = await client.get("/notes")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    finally:
        for connection in held:
            await db.app.release(connection)


async def test_the_database_ends_our_sessions_and_the_pool_heals(client: Client, databases: Databases) -> None:
    db: Database = client.app.state.runtime.db
    admin = await asyncpg.connect(databases.server_url)
    try:
        for _ in range(5):
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'sample%' AND datname = $1",
                db._url.rsplit("/", 1)[-1].split("?")[0],
            )
            answers = await asyncio.gather(*(client.get("/notes") for _ in range(10)))
            assert {answer.status_code for answer in answers} <= {200, 503}
        assert (await client.get("/notes")).status_code == 200
    finally:
        await admin.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER ROLE %s_app SUPERUSER", "is a superuser"),
        ("ALTER ROLE %s_app BYPASSRLS", "bypasses row-level security"),
        ("ALTER ROLE %s_app CREATEROLE", "may create roles"),
        ("ALTER SCHEMA %s OWNER TO %s_app", "owns schema"),
        ("GRANT %s_owner TO %s_app", "owns schema"),
        ("ALTER ROLE %s_platform BYPASSRLS", "bypasses row-level security"),
    ],
)
async def test_a_mighty_role_is_refused(
    database_url: str, db_role_secret: str, unique_name: str, change: str, says: str
) -> None:
    secret = Secret(db_role_secret)
    await migrate_empty(database_url, unique_name, secret)
    db = Database(database_url, unique_name, secret)
    await db.open()
    await db.close()
    admin = await asyncpg.connect(database_url)
    try:
        await admin.execute(change.replace("%s", unique_name))
    finally:
        await admin.close()
    with pytest.raises(RoleRefused, match=says):
        await db.open()


async def migrate_empty(url: str, name: str, secret: Secret) -> None:
    """Roles and an empty schema, for tests that change the roles themselves."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE ROLE {name}_owner NOLOGIN; CREATE SCHEMA {name} AUTHORIZATION {name}_owner")
        for role in ("app", "platform", "relay"):
            password = role_password(secret, f"{name}_{role}")
            await connection.execute(f"CREATE ROLE {name}_{role} LOGIN NOINHERIT PASSWORD '{password}'")
    finally:
        await connection.close()
