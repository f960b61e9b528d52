"""Connections to Postgres as the service's own roles, and the only two ways to open a transaction.

Every transaction is explicit, and the tenant is local to it: nothing is left on a pooled connection.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from chassis.settings import Secret
from contracts.errors import Unavailable

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection
    Pool: TypeAlias = asyncpg.Pool

ACQUIRE_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 3.0

#: Per session, in milliseconds. Migrations give the roles the same values, but ALTER ROLE ... IN DATABASE is not
#: copied when a database is cloned from a template or restored elsewhere, so each connection asks for them as well.
SESSION_SETTINGS = {
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    "idle_in_transaction_session_timeout": "10000",
}


class RoleRefused(Exception):
    """The database would let this service see more than its own: an owner, a superuser, or a role above RLS."""


def schema_of(service: str) -> str:
    """The SQL name of a service: its schema, and the stem of its roles."""
    return service.replace("-", "_")


def role_password(secret: Secret, role: str) -> str:
    """The password of a role, derived so that no service holds another's."""
    return hmac.new(secret.reveal().encode(), role.encode(), hashlib.sha256).hexdigest()


def without_credentials(url: str) -> str:
    """`url` less its user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]))


class Database:
    """Three lazily filled pools: `app` serves tenants, `platform` works across them, `relay` reads the outbox."""

    def __init__(self, url: str, service: str, db_role_secret: Secret, *, size: int = 10) -> None:
        self.service = service
        self.schema = schema_of(service)
        self._url = without_credentials(url)
        self._secret = db_role_secret
        self._size = size
        self._pools: dict[str, Pool] = {}

    @property
    def app(self) -> Pool:
        """The pool of `<service>_app`. Raises Unavailable until the database has answered."""
        return self._pool("app")

    @property
    def platform(self) -> Pool:
        """The pool of `<service>_platform`. Raises Unavailable until the database has answered."""
        return self._pool("platform")

    @property
    def relay(self) -> Pool:
        """The pool of `<service>_relay`. Raises Unavailable until the database has answered."""
        return self._pool("relay")

    @property
    def pools(self) -> dict[str, Pool]:
        """The open pools by role, for gauges."""
        return dict(self._pools)

    async def open(self) -> None:
        """Connects once, checks the role, and makes the pools; more connections come when they are needed.

        Raises RoleRefused, or what asyncpg raises when the database or the role is not there (yet).
        """
        if self._pools:
            return
        pools: dict[str, Pool] = {}
        try:
            for role in ("app", "platform", "relay"):
                pools[role] = pool = await self._make_pool(role)
                async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                    await refuse_mighty_role(connection, self.schema)
        except BaseException:
            for pool in pools.values():
                pool.terminate()
            raise
        self._pools = pools

    async def close(self, timeout_s: float = 5.0) -> None:
        """Closes every connection; those still busy after `timeout_s` are cut."""
        pools, self._pools = self._pools, {}
        await asyncio.gather(*(_closed(pool, timeout_s) for pool in pools.values()))

    def _pool(self, role: str) -> Pool:
        if pool := self._pools.get(role):
            return pool
        raise Unavailable("The database is not connected yet.", code="database_unavailable", retry_after_s=2)

    async def _make_pool(self, role: str) -> Pool:
        user = f"{self.schema}_{role}"
        return await asyncpg.create_pool(
            self._url,
            user=user,
            password=role_password(self._secret, user),
            min_size=0,
            # The relay listens, relays and tidies; more would only take connections from the others.
            max_size=4 if role == "relay" else self._size,
            max_inactive_connection_lifetime=60,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=15,  # a server that went silent answers no statement_timeout
            server_settings={
                **SESSION_SETTINGS,
                "search_path": self.schema,
                "application_name": user,
                "timezone": "UTC",  # what JSON that Postgres writes says
                "jit": "off",  # asyncpg's introspection queries take seconds with it
            },
        )


async def _closed(pool: Pool, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await pool.close()
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def transaction(db: Database, tenant_id: UUID) -> AsyncIterator[Connection]:
    """A transaction of one tenant: row-level security shows and accepts its rows only.

    Commits when the block ends, rolls back when it raises. Raises Unavailable when no connection comes free in time.
    """
    async with _acquired(db.app) as connection, connection.transaction():
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant_id))
        yield connection


@asynccontextmanager
async def platform_transaction(db: Database) -> AsyncIterator[Connection]:
    """A transaction across tenants, as `<service>_platform`: schedulers, webhooks, intake; never a tenant's request.

    Raises Unavailable when no connection comes free in time.
    """
    async with _acquired(db.platform) as connection, connection.transaction():
        yield connection


@asynccontextmanager
async def _acquired(pool: Pool) -> AsyncIterator[Connection]:
    try:
        connection = await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
    except TimeoutError:
        raise Unavailable("The database is busy.", code="database_busy", retry_after_s=1) from None
    try:
        yield connection
    finally:
        await pool.release(connection)


async def refuse_mighty_role(connection: Connection, schema: str) -> None:
    """Nothing, for a role that row-level security binds. Raises RoleRefused otherwise, naming the role and why."""
    row = await connection.fetchrow(
        """
        SELECT current_user AS role, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
               pg_has_role(current_user, n.nspowner, 'MEMBER') AS owns
        FROM pg_roles r LEFT JOIN pg_namespace n ON n.nspname = $1
        WHERE r.rolname = current_user
        """,
        schema,
    )
    assert row is not None
    faults = {
        "is a superuser": row["rolsuper"],
        "bypasses row-level security": row["rolbypassrls"],
        "may create roles": row["rolcreaterole"],
        f"owns schema {schema}": row["owns"],
    }
    if wrong := [fault for fault, present in faults.items() if present]:
        raise RoleRefused(f"database role {row['role']} {' and '.join(wrong)}; a service runs as its own plain role")
