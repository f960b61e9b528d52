"""SQL over tenants and their names."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.errors import NotFound
from tenants.domain.companies import Tenant
from tenants.store.rows import read, read_all, write


async def find_tenant(conn: Connection, tenant_id: UUID) -> Tenant | None:
    """The tenant, or None."""
    return read(Tenant, await conn.fetchval("SELECT to_jsonb(t) FROM tenants t WHERE tenant_id = $1", tenant_id))


async def get_tenant(conn: Connection, tenant_id: UUID) -> Tenant:
    """The tenant. Raises NotFound."""
    tenant = await find_tenant(conn, tenant_id)
    if tenant is None:
        raise NotFound("no such tenant")
    return tenant


async def lock_tenant(conn: Connection, tenant_id: UUID) -> Tenant | None:
    """The tenant, kept from others until the transaction ends."""
    return read(
        Tenant, await conn.fetchval("SELECT to_jsonb(t) FROM tenants t WHERE tenant_id = $1 FOR UPDATE", tenant_id)
    )


async def hold_tenant_id(conn: Connection, tenant_id: UUID) -> None:
    """Keeps others from deciding about the same tenant until the transaction ends, also where there is none yet."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('tenant ' || $1::text, 0))", str(tenant_id))


async def insert_tenant(conn: Connection, tenant_id: UUID, tenant: Tenant) -> bool:
    """Adds the tenant; False where it is there already."""
    return (
        await conn.fetchval(
            """
            INSERT INTO tenants SELECT r.* FROM jsonb_populate_record(NULL::tenants, $2::jsonb) r
            WHERE r.tenant_id = $1 ON CONFLICT DO NOTHING RETURNING true
            """,
            tenant_id,
            write(tenant),
        )
        is True
    )


async def update_tenant(conn: Connection, tenant_id: UUID, tenant: Tenant) -> None:
    """Writes what of the tenant may change."""
    await conn.execute(
        """
        UPDATE tenants t SET
            parent_tenant_id = r.parent_tenant_id, name = r.name, slug = r.slug, domain = r.domain,
            category = r.category, address = r.address, phone = r.phone, branding = r.branding,
            limits = r.limits, plan_slug = r.plan_slug, status = r.status,
            status_reason = r.status_reason, access_until = r.access_until, version = r.version,
            updated_at = r.updated_at
        FROM jsonb_populate_record(NULL::tenants, $2::jsonb) r WHERE t.tenant_id = $1
        """,
        tenant_id,
        write(tenant),
    )


async def list_tenants(
    conn: Connection, *, after: UUID | None, limit: int, search: str | None = None, status: str | None = None
) -> list[Tenant]:
    """Every tenant in the order of their ids, those after `after`. For a platform transaction."""
    return read_all(
        Tenant,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM tenants t
            WHERE ($1::uuid IS NULL OR tenant_id > $1)
              AND ($3::text IS NULL OR strpos(lower(name), lower($3)) > 0 OR strpos(slug, lower($3)) > 0)
              AND ($4::text IS NULL OR status = $4)
            ORDER BY tenant_id LIMIT $2
            """,
            after,
            limit,
            search,
            status,
        ),
    )


async def lock_grace_ended(conn: Connection, now: datetime, limit: int) -> list[Tenant]:
    """Active tenants whose grace has run out, kept from others; those that somebody holds come the next time.

    For a platform transaction.
    """
    return read_all(
        Tenant,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM tenants t
            WHERE status = 'active' AND access_until <= $1 ORDER BY access_until LIMIT $2 FOR UPDATE SKIP LOCKED
            """,
            now,
            limit,
        ),
    )


async def claim_name(conn: Connection, tenant_id: UUID, kind: str, name: str) -> bool:
    """Makes the slug or domain this tenant's; False where it is another's."""
    return (
        await conn.fetchval(
            """
            INSERT INTO tenant_names (tenant_id, kind, name) VALUES ($1, $2, $3)
            ON CONFLICT (kind, name) DO UPDATE SET name = excluded.name WHERE tenant_names.tenant_id = $1
            RETURNING true
            """,
            tenant_id,
            kind,
            name,
        )
        is True
    )


async def release_name(conn: Connection, tenant_id: UUID, kind: str, name: str) -> None:
    """Gives the slug or domain free."""
    await conn.execute(
        "DELETE FROM tenant_names WHERE tenant_id = $1 AND kind = $2 AND name = $3", tenant_id, kind, name
    )


async def find_by_name(conn: Connection, kind: str, name: str) -> UUID | None:
    """Whose the slug or domain is. For a platform transaction."""
    found: UUID | None = await conn.fetchval(
        "SELECT tenant_id FROM tenant_names WHERE kind = $1 AND name = $2", kind, name
    )
    return found
