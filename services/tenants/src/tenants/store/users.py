"""SQL over users: for platform transactions only."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import NotFound
from tenants.domain.people import User
from tenants.domain.sign_in import Belonging
from tenants.store.rows import read, write


async def find_user(conn: Connection, user_id: UUID) -> User | None:
    """The person, or None."""
    return read(User, await conn.fetchval("SELECT to_jsonb(t) FROM users t WHERE id = $1", user_id))


async def get_user(conn: Connection, user_id: UUID) -> User:
    """The person. Raises NotFound."""
    user = await find_user(conn, user_id)
    if user is None:
        raise NotFound("no such user")
    return user


async def find_user_by_email(conn: Connection, email: str) -> User | None:
    """Whose address it is."""
    return read(User, await conn.fetchval("SELECT to_jsonb(t) FROM users t WHERE email = $1", email))


async def find_imported_hash(conn: Connection) -> str | None:
    """Somebody's hash that was imported and not upgraded yet; None once there is none left."""
    found: str | None = await conn.fetchval("SELECT password_hash FROM users WHERE password_hash LIKE '$2%' LIMIT 1")
    return found


async def lock_user(conn: Connection, user_id: UUID) -> User:
    """The person, kept from others until the transaction ends. Raises NotFound."""
    user = read(User, await conn.fetchval("SELECT to_jsonb(t) FROM users t WHERE id = $1 FOR UPDATE", user_id))
    if user is None:
        raise NotFound("no such user")
    return user


async def insert_user(conn: Connection, user: User) -> User:
    """The person under that address: this row, or the one that was there first, kept from others either way."""
    await conn.execute(
        """
        INSERT INTO users SELECT r.* FROM jsonb_populate_record(NULL::users, $1::jsonb) r ON CONFLICT DO NOTHING
        """,
        write(user),
    )
    found = read(User, await conn.fetchval("SELECT to_jsonb(t) FROM users t WHERE email = $1 FOR UPDATE", user.email))
    assert found is not None
    return found


async def update_user(conn: Connection, user: User) -> None:
    """Writes what of the person may change."""
    await conn.execute(
        """
        UPDATE users t SET
            email = r.email, name = r.name, password_hash = r.password_hash, status = r.status,
            email_verified_at = r.email_verified_at, is_platform_admin = r.is_platform_admin,
            preferences = r.preferences, tokens_valid_from = r.tokens_valid_from,
            last_sign_in_at = r.last_sign_in_at, version = r.version, updated_at = r.updated_at,
            erased_at = r.erased_at
        FROM jsonb_populate_record(NULL::users, $1::jsonb) r WHERE t.id = r.id
        """,
        write(user),
    )


async def list_belongings(conn: Connection, user_id: UUID) -> list[Belonging]:
    """Everything that the person is, and in which tenants, oldest first."""
    rows = await conn.fetch(
        """
        SELECT jsonb_build_object('membership', to_jsonb(m), 'tenant', to_jsonb(t))
        FROM memberships m JOIN tenants t ON t.tenant_id = m.tenant_id
        WHERE m.user_id = $1 ORDER BY m.created_at, m.tenant_id
        """,
        user_id,
    )
    return [msgspec.json.decode(row[0], type=Belonging) for row in rows]


async def mark_signed_in(conn: Connection, user_id: UUID, tenant_id: UUID | None, now: datetime) -> None:
    """When the person last signed in, here and in the tenant.

    The membership's row is left alone while somebody else holds it: it may be held by who waits for the person's row.
    """
    await conn.execute(
        """
        WITH free AS (SELECT tenant_id, user_id FROM memberships
                      WHERE tenant_id = $2 AND user_id = $1 FOR UPDATE SKIP LOCKED),
             seat AS (UPDATE memberships m SET last_sign_in_at = $3 FROM free
                      WHERE m.tenant_id = free.tenant_id AND m.user_id = free.user_id)
        UPDATE users SET last_sign_in_at = $3 WHERE id = $1
        """,
        user_id,
        tenant_id,
        now,
    )
