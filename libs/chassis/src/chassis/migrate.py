"""Brings one service's schema and roles to the present version: once, whole, from several runners at a time."""

import asyncio
import hashlib
import importlib.util
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from chassis.db import SESSION_SETTINGS, Connection, Database, role_password, schema_of
from chassis.settings import Secret
from contracts.errors import Unavailable

LOCK_KEY: Final = 4_207_849_484  # one lock for all services of a database: GRANT ON DATABASE cannot run twice at once
LOCK_WAIT_S: Final = 120.0


class MigrationError(Exception):
    """The migrations cannot be applied as they stand: an applied file was edited, or two carry one number."""


class Migration(msgspec.Struct, frozen=True):
    """One file to apply. A `repeatable` one is written so that it may run again, and does when it changed."""

    name: str
    sql: str
    repeatable: bool = False

    @property
    def sha256(self) -> str:
        """The fingerprint that tells an edited file from the applied one."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_of(package: str) -> tuple[Migration, ...]:
    """What `package` needs, in order: the tables of bus and chassis, then its own `migrations/NNNN_*.sql`.

    Raises MigrationError when two files share a number.
    """
    libs = tuple(
        Migration(f"{lib}/schema.sql", path.read_text(), repeatable=True)
        for lib in ("bus", "chassis")
        if (path := _package_dir(lib) / "schema.sql").exists()
    )
    here = _package_dir(package)
    folder = next((path for path in (here / "migrations", here.parents[1] / "migrations") if path.is_dir()), None)
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql")) if folder else []
    numbers = [file.name[:4] for file in files]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        raise MigrationError(f"{package}: two migrations are numbered {', '.join(sorted(twice))}")
    return libs + tuple(Migration(file.name, file.read_text()) for file in files)


async def migrate(owner_url: str, service_package: str, db_role_secret: Secret) -> list[str]:
    """Creates the service's roles and schema, applies what is missing, and answers the names of what it applied.

    `owner_url` is a superuser, or an owner of the database that may create roles. Raises MigrationError, or
    Unavailable when another runner holds the lock for two minutes.
    """
    schema = schema_of(service_package)
    migrations = migrations_of(schema)
    connection = await asyncpg.connect(owner_url, timeout=10, server_settings={"lock_timeout": "3000"})
    try:
        await _lock(connection)
        await _create_roles(connection, schema, db_role_secret)
        await _create_schema(connection, schema)
        return await _apply(connection, schema, migrations)
    finally:
        await connection.close()


async def pending(db: Database, migrations: tuple[Migration, ...]) -> list[str]:
    """The names of those migrations that the database lacks; a newer database lacks none."""
    try:
        applied = {row["name"] for row in await db.app.fetch("SELECT name FROM migrations")}
    except asyncpg.UndefinedTableError:
        applied = set()
    return [migration.name for migration in migrations if migration.name not in applied]


async def _lock(connection: Connection) -> None:
    # Polled, because a session that waits inside pg_advisory_lock holds a snapshot that CREATE INDEX CONCURRENTLY
    # waits for: two runners would wait for each other.
    deadline = time.monotonic() + LOCK_WAIT_S
    while time.monotonic() < deadline:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
            return
        await asyncio.sleep(0.05 + random.random() / 10)  # noqa: S311 - jitter
    raise Unavailable("Another migration has been running for two minutes.")


async def _create_roles(connection: Connection, schema: str, secret: Secret) -> None:
    """Roles belong to the cluster: another database's migration may be creating the same ones right now."""
    owner = f"{schema}_owner"
    await _retried(partial(_create_role, connection, owner, "NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB"))
    for role in (f"{schema}_app", f"{schema}_platform", f"{schema}_relay"):
        login = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOINHERIT"
        await _retried(partial(_create_role, connection, role, login))
        await _retried(partial(_configure_role, connection, role, schema, role_password(secret, role)))
    # Since Postgres 16 the creator of a role may administer it without being able to become it.
    privilege = "SET" if connection.get_server_version().major >= 16 else "MEMBER"
    if not await connection.fetchval("SELECT pg_has_role(current_user, $1, $2)", owner, privilege):
        await _retried(partial(_execute, connection, "GRANT %I TO CURRENT_USER", owner))


async def _create_role(connection: Connection, role: str, options: str) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
        try:
            await _execute(connection, f"CREATE ROLE %I {options}", role)
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            return  # the other database's runner was first


async def _configure_role(connection: Connection, role: str, schema: str, password: str) -> None:
    await _execute(connection, "ALTER ROLE %I PASSWORD %L", role, password)
    database = await connection.fetchval("SELECT current_database()")
    for setting, value in {"search_path": schema, **SESSION_SETTINGS}.items():
        await _execute(connection, "ALTER ROLE %I IN DATABASE %I SET %I = %L", role, database, setting, value)


async def _create_schema(connection: Connection, schema: str) -> None:
    database = await connection.fetchval("SELECT current_database()")
    roles = (f"{schema}_app", f"{schema}_platform", f"{schema}_relay")
    async with connection.transaction():
        await _execute(connection, "CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", schema, f"{schema}_owner")
        # PUBLIC keeps what it has on the database: a product core may live in the same one.
        await _execute(connection, "GRANT CONNECT ON DATABASE %I TO %I, %I, %I", database, *roles)
    async with connection.transaction():
        await _execute(connection, "SET LOCAL ROLE %I", f"{schema}_owner")
        await _execute(connection, "REVOKE ALL ON SCHEMA %I FROM PUBLIC", schema)
        await _execute(connection, "GRANT USAGE ON SCHEMA %I TO %I, %I, %I", schema, *roles)
        await _execute(connection, "SET LOCAL search_path = %I", schema)
        # Else every function that a migration makes could be called by everybody.
        await connection.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations ("
            " name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        await connection.execute("COMMENT ON TABLE migrations IS 'platform: the migrations that this schema has had'")
        await _execute(connection, "GRANT SELECT ON migrations TO %I, %I", f"{schema}_app", f"{schema}_platform")


async def _apply(connection: Connection, schema: str, migrations: tuple[Migration, ...]) -> list[str]:
    await _execute(connection, "SET search_path = %I", schema)
    await _execute(connection, "SET ROLE %I", f"{schema}_owner")
    applied = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM migrations")}
    done: list[str] = []
    for migration in migrations:
        if applied.get(migration.name) == migration.sha256:
            continue
        if migration.name in applied and not migration.repeatable:
            raise MigrationError(f"{schema}: {migration.name} was edited after it was applied; write a new migration")
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO migrations (name, sha256) VALUES ($1, $2)"
                " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = now()",
                migration.name,
                migration.sha256,
            )
        done.append(migration.name)
    return done


async def _execute(connection: Connection, template: str, *values: str) -> None:
    """Runs DDL, which takes no parameters: Postgres itself quotes `values` into `template` (%I, %L)."""
    await connection.execute(await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, values))


async def _retried(step: Callable[[], Awaitable[None]]) -> None:
    """Runs `step` again when another database's runner changed the same role in the same instant."""
    for attempt in range(20):
        try:
            await step()
            return
        except (asyncpg.InternalServerError, asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
            if attempt == 19:  # "tuple concurrently updated" has no SQLSTATE of its own
                raise
            await asyncio.sleep(random.random() / 10)  # noqa: S311 - jitter


def _package_dir(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MigrationError(f"no package named {package}")
    return Path(next(iter(spec.submodule_search_locations)))
