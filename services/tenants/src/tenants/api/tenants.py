"""Tenants over HTTP, in seed 004's shapes: bare rows in snake case, lists under `data`."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires
from contracts.errors import FieldError, Invalid, NotFound
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.api.access import (
    doer_of,
    is_platform_admin,
    own_tenant,
    requires_person,
    requires_platform_admin,
)
from tenants.api.seed_errors import seed_errors
from tenants.api.tenant_shapes import (
    NewTenant,
    PublicPage,
    PublicTenant,
    TenantList,
    TenantPatch,
    TenantView,
    Why,
    tenant_view,
)
from tenants.api.user_shapes import Limit, Word
from tenants.domain.companies import TenantChange, TenantStatus, new_tenant
from tenants.domain.identifiers import new_id
from tenants.usecases.create_tenant import create_tenant
from tenants.usecases.reactivate_tenant import reactivate_tenant
from tenants.usecases.suspend_tenant import suspend_tenant
from tenants.usecases.update_tenant import update_tenant

_MAX_ADDRESS_BYTES = 8192


@post("/tenants", guards=[requires_person()], exception_handlers=seed_errors("004"))
async def post_tenant(
    data: JSONBody[NewTenant], request: StrictRequest, db: NamedDependency[Database], clock: NamedDependency[Clock]
) -> Response[TenantView]:
    """Founds a tenant; whoever does is its owner, and comes in as such with the next token they ask for.

    An Idempotency-Key founds it once.
    """
    now = clock()
    draft = msgspec.structs.replace(
        new_tenant(new_id(now), data.name, data.slug, TenantStatus.ACTIVE, now),
        category=data.category,
        address=_address(data.address or {}),
        phone=data.phone,
    )

    async def found(conn: Connection) -> TenantView:
        return tenant_view(await create_tenant(conn, draft, by=doer_of(request), now=now))

    return await once(
        request, db, data, found, tenant_id=request.user.tenant_id or PLATFORM_TENANT_ID, on_platform=True
    )


@get("/tenants", guards=[requires_platform_admin()], exception_handlers=seed_errors("004"))
async def list_tenants(
    db: NamedDependency[Database],
    search: Word = None,
    status: FromQuery[TenantStatus | None] = None,
    after: FromQuery[UUID | None] = None,
    limit: Limit = 50,
) -> TenantList:
    """Every tenant, perhaps narrowed by what its name or slug holds."""
    return await _list(db, search, status, after, limit)


@get("/admin/tenants", guards=[requires_platform_admin()], exception_handlers=seed_errors("004"))
async def list_admin_tenants(
    db: NamedDependency[Database],
    search: Word = None,
    status: FromQuery[TenantStatus | None] = None,
    after: FromQuery[UUID | None] = None,
    limit: Limit = 50,
) -> TenantList:
    """Seed 004's name for the same list. Being an owner of some tenant opens it to nobody."""
    return await _list(db, search, status, after, limit)


@get("/tenants/{tenant_id:uuid}", guards=[requires("tenants:read")], exception_handlers=seed_errors("004"))
async def get_tenant(
    db: NamedDependency[Database], identity: NamedDependency[Identity], tenant_id: FromPath[UUID]
) -> TenantView:
    """The caller's tenant; any for a platform administrator."""
    async with platform_transaction(db) as conn:
        return tenant_view(await store.tenants.get_tenant(conn, own_tenant(identity, tenant_id)))


@patch("/tenants/{tenant_id:uuid}", guards=[requires("tenants:write")], exception_handlers=seed_errors("004"))
async def patch_tenant(
    data: JSONBody[TenantPatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    tenant_id: FromPath[UUID],
) -> TenantView:
    """Changes the caller's tenant; any for a platform administrator."""
    branding: dict[str, str | None] = {
        name: value for name in ("brand_color", "logo_url") if (value := getattr(data, name)) is not UNSET
    }
    wanted = {
        name: value for name, value in msgspec.structs.asdict(data).items() if name not in ("brand_color", "logo_url")
    }
    if data.address is not UNSET:
        wanted["address"] = _address(data.address)
    change = TenantChange(**wanted, branding=branding or UNSET)
    async with platform_transaction(db) as conn:
        tenant = await update_tenant(
            conn,
            own_tenant(request.user, tenant_id),
            change,
            is_platform_admin=is_platform_admin(request.user),
            by=doer_of(request),
            now=clock(),
        )
    return tenant_view(tenant)


@get("/tenants/{slug:str}/public", exception_handlers=seed_errors("004"))
async def get_public(db: NamedDependency[Database], slug: FromPath[str]) -> PublicPage:
    """What anybody may know of a tenant, by its slug. One that is not active looks like none."""
    async with platform_transaction(db) as conn:
        tenant_id = await store.tenants.find_by_name(conn, "slug", slug)
        tenant = None if tenant_id is None else await store.tenants.find_tenant(conn, tenant_id)
    if tenant is None or tenant.status is not TenantStatus.ACTIVE:
        raise NotFound("Tenant not found")
    shown = msgspec.structs.asdict(tenant_view(tenant))
    return PublicPage(tenant=PublicTenant(**{name: shown[name] for name in PublicTenant.__struct_fields__}), page=None)


@post(
    "/tenants/{tenant_id:uuid}/suspend",
    guards=[requires_platform_admin()],
    exception_handlers=seed_errors("004"),
    status_code=200,
)
async def post_suspend(
    data: JSONBody[Why],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    tenant_id: FromPath[UUID],
) -> TenantView:
    """Shuts a tenant: its people cannot sign in."""
    async with platform_transaction(db) as conn:
        return tenant_view(await suspend_tenant(conn, tenant_id, data.reason, by=doer_of(request), now=clock()))


@post(
    "/tenants/{tenant_id:uuid}/reactivate",
    guards=[requires_platform_admin()],
    exception_handlers=seed_errors("004"),
    status_code=200,
)
async def post_reactivate(
    data: JSONBody[Why],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    tenant_id: FromPath[UUID],
) -> TenantView:
    """Opens a suspended tenant again."""
    async with platform_transaction(db) as conn:
        return tenant_view(await reactivate_tenant(conn, tenant_id, data.reason, by=doer_of(request), now=clock()))


async def _list(
    db: Database, search: str | None, status: TenantStatus | None, after: UUID | None, limit: int
) -> TenantList:
    async with platform_transaction(db) as conn:
        found = await store.tenants.list_tenants(conn, after=after, limit=limit + 1, search=search, status=status)
    shown = [tenant_view(tenant) for tenant in found[:limit]]
    return TenantList(data=shown, next_after=shown[-1].id if len(found) > limit else None)


def _address(address: dict[str, Any]) -> dict[str, Any]:
    if len(msgspec.json.encode(address)) > _MAX_ADDRESS_BYTES:
        raise Invalid("Too much.", code="too_long", errors=[FieldError("$.address", "is over 8 KiB")])
    return address


ROUTES = [
    post_tenant,
    list_tenants,
    list_admin_tenants,
    get_tenant,
    patch_tenant,
    get_public,
    post_suspend,
    post_reactivate,
]
