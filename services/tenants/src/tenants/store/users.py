"""SQL over users: for platform transactions only."""

from uuid import UUID

from chassis.db import Connection
from contracts.errors import NotFound
from tenants.domain.people import User
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
