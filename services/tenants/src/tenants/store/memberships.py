"""SQL over memberships: what people are in a tenant."""

from uuid import UUID

from chassis.db import Connection
from contracts.errors import NotFound
from tenants.domain.people import Membership, Person
from tenants.store.rows import read, read_all, write


async def find_membership(conn: Connection, tenant_id: UUID, user_id: UUID) -> Membership | None:
    """What the person is in the tenant, or None."""
    return read(
        Membership,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM memberships t WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id
        ),
    )


async def get_membership(conn: Connection, tenant_id: UUID, user_id: UUID) -> Membership:
    """What the person is in the tenant. Raises NotFound."""
    membership = await find_membership(conn, tenant_id, user_id)
    if membership is None:
        raise NotFound("no such user")
    return membership


async def lock_membership(conn: Connection, tenant_id: UUID, user_id: UUID) -> Membership | None:
    """What the person is in the tenant, kept from others until the transaction ends."""
    return read(
        Membership,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM memberships t WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE",
            tenant_id,
            user_id,
        ),
    )


async def list_of_user(conn: Connection, user_id: UUID) -> list[Membership]:
    """Everything that the person is, oldest first. For a platform transaction."""
    return read_all(
        Membership,
        await conn.fetch(
            "SELECT to_jsonb(t) FROM memberships t WHERE user_id = $1 ORDER BY created_at, tenant_id", user_id
        ),
    )


async def find_person(conn: Connection, tenant_id: UUID, user_id: UUID) -> Person | None:
    """Somebody of the tenant, or None; without what they prefer where they belong to another one too.

    For a platform transaction, as are the two below.
    """
    return read(
        Person,
        await conn.fetchval(
            """
            SELECT to_jsonb(m) || jsonb_build_object(
                'email_verified_at', u.email_verified_at,
                'preferences', CASE WHEN EXISTS (SELECT FROM memberships o
                                                 WHERE o.user_id = m.user_id AND o.tenant_id <> m.tenant_id)
                                    THEN '{}' ELSE u.preferences END,
                'status', CASE WHEN m.status = 'active' THEN u.status ELSE m.status END)
            FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.tenant_id = $1 AND m.user_id = $2
            """,
            tenant_id,
            user_id,
        ),
    )


async def list_people(
    conn: Connection,
    tenant_id: UUID,
    *,
    offset: int,
    limit: int,
    role: str | None = None,
    status: str | None = None,
    search: str | None = None,
) -> list[Person]:
    """The tenant's people, newest first, perhaps narrowed."""
    return read_all(
        Person,
        await conn.fetch(
            """
            SELECT to_jsonb(m) || jsonb_build_object(
                'email_verified_at', u.email_verified_at,
                'preferences', CASE WHEN EXISTS (SELECT FROM memberships o
                                                 WHERE o.user_id = m.user_id AND o.tenant_id <> m.tenant_id)
                                    THEN '{}' ELSE u.preferences END,
                'status', CASE WHEN m.status = 'active' THEN u.status ELSE m.status END)
            FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.tenant_id = $1 AND ($4::text IS NULL OR m.role = $4)
              AND ($5::text IS NULL OR CASE WHEN m.status = 'active' THEN u.status ELSE m.status END = $5)
              AND ($6::text IS NULL OR strpos(lower(m.name), lower($6)) > 0 OR strpos(m.email, lower($6)) > 0)
            ORDER BY m.created_at DESC, m.user_id OFFSET $2 LIMIT $3
            """,
            tenant_id,
            offset,
            limit,
            role,
            status,
            search,
        ),
    )


async def count_people(
    conn: Connection, tenant_id: UUID, *, role: str | None = None, status: str | None = None, search: str | None = None
) -> int:
    """How many of them there are."""
    count: int = await conn.fetchval(
        """
        SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id
        WHERE m.tenant_id = $1 AND ($2::text IS NULL OR m.role = $2)
          AND ($3::text IS NULL OR CASE WHEN m.status = 'active' THEN u.status ELSE m.status END = $3)
          AND ($4::text IS NULL OR strpos(lower(m.name), lower($4)) > 0 OR strpos(m.email, lower($4)) > 0)
        """,
        tenant_id,
        role,
        status,
        search,
    )
    return count


async def insert_membership(conn: Connection, tenant_id: UUID, membership: Membership) -> None:
    """Adds the person to the tenant. Raises UniqueViolationError where they are in it."""
    await conn.execute(
        """
        INSERT INTO memberships
        SELECT r.* FROM jsonb_populate_record(NULL::memberships, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(membership),
    )


async def update_membership(conn: Connection, tenant_id: UUID, membership: Membership) -> None:
    """Writes what of the membership may change."""
    await conn.execute(
        """
        UPDATE memberships t SET
            email = r.email, name = r.name, phone = r.phone, avatar = r.avatar, role = r.role,
            permissions = r.permissions, status = r.status, version = r.version,
            last_sign_in_at = r.last_sign_in_at, updated_at = r.updated_at
        FROM jsonb_populate_record(NULL::memberships, $2::jsonb) r
        WHERE t.tenant_id = $1 AND t.user_id = r.user_id
        """,
        tenant_id,
        write(membership),
    )


async def delete_membership(conn: Connection, tenant_id: UUID, user_id: UUID) -> None:
    """The person is not in the tenant any more."""
    await conn.execute("DELETE FROM memberships WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id)


async def lock_owners(conn: Connection, tenant_id: UUID) -> None:
    """Keeps the rows of the tenant's active owners from others, so that two cannot leave at once."""
    await conn.execute(
        """
        SELECT FROM memberships WHERE tenant_id = $1 AND role = 'owner' AND status = 'active'
        ORDER BY user_id FOR UPDATE
        """,
        tenant_id,
    )


async def count_other_owners(conn: Connection, tenant_id: UUID, user_id: UUID) -> int:
    """How many active owners the tenant has beside the person, without who was shut out everywhere or is being erased.

    For a platform transaction, after `lock_owners`, in a statement of its own: it sees what was committed while that
    one waited.
    """
    count: int = await conn.fetchval(
        """
        SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id
        WHERE m.tenant_id = $1 AND m.role = 'owner' AND m.status = 'active' AND m.user_id <> $2
          AND u.status IN ('active', 'pending')
          AND NOT EXISTS (SELECT FROM privacy_requests p WHERE p.tenant_id = m.tenant_id AND p.user_id = m.user_id
                                                           AND p.kind = 'erasure' AND p.status = 'running')
        """,
        tenant_id,
        user_id,
    )
    return count
