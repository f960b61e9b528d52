"""SQL over roles, what they allow, and the catalogue of permissions."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from tenants.store.rows import read_all


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role and what it allows; the nil tenant's are the defaults."""

    tenant_id: UUID
    id: UUID
    name: str
    description: str
    permissions: list[str]
    version: int
    created_at: datetime
    updated_at: datetime


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """One permission that a route asks for."""

    key: str
    description: str
    service: str


async def list_permissions(conn: Connection) -> list[Permission]:
    """The catalogue."""
    return read_all(Permission, await conn.fetch("SELECT to_jsonb(t) FROM permissions t ORDER BY key"))


async def list_roles(conn: Connection, tenant_id: UUID) -> list[Role]:
    """The tenant's own roles and the defaults that it does not override, by name."""
    return read_all(
        Role,
        await conn.fetch(
            """
            SELECT to_jsonb(r) || jsonb_build_object('permissions', COALESCE(
                (SELECT jsonb_agg(p.permission ORDER BY p.permission) FROM role_permissions p
                 WHERE p.tenant_id = r.tenant_id AND p.role_id = r.id), '[]'))
            FROM roles r
            WHERE r.tenant_id = $1
               OR (r.tenant_id = '00000000-0000-0000-0000-000000000000'
                   AND NOT EXISTS (SELECT FROM roles own WHERE own.tenant_id = $1 AND own.name = r.name))
            ORDER BY r.name
            """,
            tenant_id,
        ),
    )


async def find_role(conn: Connection, tenant_id: UUID, role_id: UUID) -> Role | None:
    """The tenant's own role or a default one by its id, or None."""
    found = await list_roles(conn, tenant_id)
    return next((role for role in found if role.id == role_id), None)


async def lock_roles(conn: Connection, tenant_id: UUID) -> None:
    """Keeps others from changing the tenant's roles, those yet to come included, until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('roles ' || $1::text, 0))", str(tenant_id))


async def share_roles(conn: Connection, tenant_id: UUID) -> None:
    """Keeps the tenant's roles as they are until the transaction ends; others may do so at the same time."""
    await conn.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('roles ' || $1::text, 0))", str(tenant_id))


async def list_all_roles(conn: Connection) -> list[Role]:
    """Every tenant's. For a platform transaction."""
    return read_all(
        Role,
        await conn.fetch(
            """
            SELECT to_jsonb(r) || jsonb_build_object('permissions', COALESCE(
                (SELECT jsonb_agg(p.permission ORDER BY p.permission) FROM role_permissions p
                 WHERE p.tenant_id = r.tenant_id AND p.role_id = r.id), '[]'))
            FROM roles r ORDER BY r.tenant_id, r.name
            """
        ),
    )


async def upsert_role(conn: Connection, tenant_id: UUID, role: Role) -> None:
    """Writes the role, without what it allows. Raises UniqueViolationError for a name that the tenant has."""
    await conn.execute(
        """
        INSERT INTO roles (tenant_id, id, name, description, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, description = excluded.description,
            version = excluded.version, updated_at = excluded.updated_at
        """,
        tenant_id,
        role.id,
        role.name,
        role.description,
        role.version,
        role.created_at,
        role.updated_at,
    )


async def replace_role_permissions(
    conn: Connection, tenant_id: UUID, role_id: UUID, permissions: Sequence[str]
) -> None:
    """What the role allows from now on. Raises ForeignKeyViolationError for a permission that there is none of."""
    await conn.execute(
        """
        WITH gone AS (DELETE FROM role_permissions
                      WHERE tenant_id = $1 AND role_id = $2 AND permission <> ALL($3::text[]))
        INSERT INTO role_permissions (tenant_id, role_id, permission)
        SELECT $1, $2, p FROM unnest($3::text[]) p ON CONFLICT DO NOTHING
        """,
        tenant_id,
        role_id,
        permissions,
    )


async def delete_role(conn: Connection, tenant_id: UUID, role_id: UUID) -> bool:
    """Removes the tenant's own role; False where it has none of that id."""
    return (
        await conn.fetchval("DELETE FROM roles WHERE tenant_id = $1 AND id = $2 RETURNING true", tenant_id, role_id)
        is True
    )


async def count_members_of_role(conn: Connection, tenant_id: UUID, role: str) -> int:
    """How many of the tenant's people have that role."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM memberships WHERE tenant_id = $1 AND role = $2", tenant_id, role
    )
    return count
