"""Roles and permissions over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from contracts.errors import NotFound
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.api.access import doer_of
from tenants.api.user_shapes import Permissions, RoleName
from tenants.store.roles import Permission, Role
from tenants.usecases.delete_role import delete_role
from tenants.usecases.find_powers import find_powers
from tenants.usecases.save_role import save_role

Description = Annotated[str, msgspec.Meta(max_length=500)]


class RoleView(msgspec.Struct, frozen=True, kw_only=True):
    """A role and what it allows. A default one is the platform's; a role of the tenant's own may bear its name."""

    id: UUID
    name: str
    description: str
    permissions: list[str]
    is_default: bool
    version: int
    created_at: datetime
    updated_at: datetime


class RoleList(msgspec.Struct, frozen=True, kw_only=True):
    """Every role that the tenant's people can have."""

    data: list[RoleView]


class PermissionList(msgspec.Struct, frozen=True, kw_only=True):
    """Every permission that there is."""

    data: list[Permission]


class NewRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role of the tenant's own. With a default's name it takes that one's place."""

    name: RoleName
    description: Description = ""
    permissions: Permissions


class RoleReplacement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole role; it keeps its name."""

    name: RoleName | None = None
    description: Description = ""
    permissions: Permissions


class RolePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the role is to change; what is absent stays."""

    description: Description | None = None
    permissions: Permissions | None = None


@get("/permissions", guards=[requires("roles:read")])
async def list_permissions(db: NamedDependency[Database], identity: NamedDependency[Identity]) -> PermissionList:
    """The catalogue."""
    async with transaction(db, tenant_of(identity)) as conn:
        return PermissionList(data=await store.roles.list_permissions(conn))


@get("/roles", guards=[requires("roles:read")])
async def list_roles(db: NamedDependency[Database], identity: NamedDependency[Identity]) -> RoleList:
    """The tenant's own roles, and the defaults that none of them takes the place of."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        return RoleList(data=[_view(role) for role in await store.roles.list_roles(conn, tenant_id)])


@get("/roles/{role_id:uuid}", guards=[requires("roles:read")])
async def get_role(
    db: NamedDependency[Database], identity: NamedDependency[Identity], role_id: FromPath[UUID]
) -> RoleView:
    """One role."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        role = await store.roles.find_role(conn, tenant_id, role_id)
    if role is None:
        raise NotFound("no such role")
    return _view(role)


@post("/roles", guards=[requires("roles:write")])
async def post_role(
    data: JSONBody[NewRole],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[RoleView]:
    """Makes a role of the tenant's own, of permissions that the caller has. An Idempotency-Key makes it once."""

    async def make(conn: Connection) -> RoleView:
        return await _save(
            conn, request, clock, None, name=data.name, description=data.description, permissions=data.permissions
        )

    return await once(request, db, data, make, on_platform=True)


@put("/roles/{role_id:uuid}", guards=[requires("roles:write")])
async def put_role(
    data: JSONBody[RoleReplacement],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    role_id: FromPath[UUID],
) -> RoleView:
    """Replaces what a role of the tenant's own says and allows."""
    async with platform_transaction(db) as conn:
        return await _save(
            conn, request, clock, role_id, name=data.name, description=data.description, permissions=data.permissions
        )


@patch("/roles/{role_id:uuid}", guards=[requires("roles:write")])
async def patch_role(
    data: JSONBody[RolePatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    role_id: FromPath[UUID],
) -> RoleView:
    """Changes a role of the tenant's own."""
    async with platform_transaction(db) as conn:
        return await _save(
            conn, request, clock, role_id, name=None, description=data.description, permissions=data.permissions
        )


@delete("/roles/{role_id:uuid}", guards=[requires("roles:write")])
async def remove_role(
    request: StrictRequest, db: NamedDependency[Database], clock: NamedDependency[Clock], role_id: FromPath[UUID]
) -> None:
    """Removes a role of the tenant's own that nobody has."""
    tenant_id = tenant_of(request.user)
    async with platform_transaction(db) as conn:
        powers = await find_powers(conn, tenant_id, request.user)
        await delete_role(conn, tenant_id, role_id, powers=powers, by=doer_of(request), now=clock())


async def _save(
    conn: Connection,
    request: StrictRequest,
    clock: Clock,
    role_id: UUID | None,
    *,
    name: str | None,
    description: str | None,
    permissions: list[str] | None,
) -> RoleView:
    tenant_id = tenant_of(request.user)
    role = await save_role(
        conn,
        tenant_id,
        role_id,
        name=name,
        description=description,
        permissions=permissions,
        powers=await find_powers(conn, tenant_id, request.user),
        by=doer_of(request),
        now=clock(),
    )
    return _view(role)


def _view(role: Role) -> RoleView:
    return RoleView(
        id=role.id,
        name=role.name,
        description=role.description,
        permissions=role.permissions,
        is_default=role.tenant_id == PLATFORM_TENANT_ID,
        version=role.version,
        created_at=role.created_at,
        updated_at=role.updated_at,
    )


ROUTES = [list_permissions, list_roles, get_role, post_role, put_role, patch_role, remove_role]
