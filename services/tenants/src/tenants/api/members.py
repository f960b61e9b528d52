"""Members of a tenant over HTTP."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import delete, get, patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.identity import Identity, requires
from tenants import store
from tenants.api.access import doer_of, own_tenant
from tenants.api.seed_errors import seed_errors
from tenants.api.user_shapes import Limit, Page, Permissions, RoleName, Word
from tenants.api.users import get_person
from tenants.domain.members import GivenStatus, MemberChange
from tenants.domain.people import Person, UserStatus
from tenants.domain.terms import Terms
from tenants.usecases.change_member import change_member
from tenants.usecases.find_powers import find_powers
from tenants.usecases.remove_member import remove_member


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody of the tenant, in snake case."""

    tenant_id: UUID
    user_id: UUID
    email: str | None
    name: str
    role: str
    permissions: list[str]
    status: UserStatus
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime


class MemberList(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the tenant's people, newest first."""

    data: list[MemberView]
    total: int
    page: int
    limit: int


class MemberPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody is to be; what is absent stays."""

    role: RoleName | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET
    status: GivenStatus | UnsetType = UNSET


@get("/tenants/{tenant_id:uuid}/members", guards=[requires("members:read")], exception_handlers=seed_errors("004"))
async def list_members(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    tenant_id: FromPath[UUID],
    page: Page = 1,
    limit: Limit = 50,
    role: Word = None,
    status: Word = None,
    search: Word = None,
) -> MemberList:
    """The tenant's people."""
    own_tenant(identity, tenant_id)
    async with platform_transaction(db) as conn:
        people = await store.memberships.list_people(
            conn, tenant_id, offset=(page - 1) * limit, limit=limit, role=role, status=status, search=search
        )
        total = await store.memberships.count_people(conn, tenant_id, role=role, status=status, search=search)
    return MemberList(data=[_view(one) for one in people], total=total, page=page, limit=limit)


@patch(
    "/tenants/{tenant_id:uuid}/members/{user_id:uuid}",
    guards=[requires("members:write")],
    exception_handlers=seed_errors("004"),
)
async def patch_member(
    data: JSONBody[MemberPatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    terms: NamedDependency[Terms],
    clock: NamedDependency[Clock],
    tenant_id: FromPath[UUID],
    user_id: FromPath[UUID],
) -> MemberView:
    """Changes what somebody is in the tenant."""
    own_tenant(request.user, tenant_id)
    change = MemberChange(role=data.role, permissions=data.permissions, status=data.status)
    async with platform_transaction(db) as conn:
        powers = await find_powers(conn, tenant_id, request.user)
        await change_member(
            conn, tenant_id, user_id, change, powers=powers, by=doer_of(request), terms=terms, now=clock()
        )
        return _view(await get_person(conn, tenant_id, user_id))


@delete(
    "/tenants/{tenant_id:uuid}/members/{user_id:uuid}",
    guards=[requires("members:write")],
    exception_handlers=seed_errors("004"),
)
async def delete_member(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    tenant_id: FromPath[UUID],
    user_id: FromPath[UUID],
) -> None:
    """Takes somebody out of the tenant."""
    own_tenant(request.user, tenant_id)
    async with platform_transaction(db) as conn:
        powers = await find_powers(conn, tenant_id, request.user)
        await remove_member(conn, tenant_id, user_id, powers=powers, by=doer_of(request), now=clock())


def _view(person: Person) -> MemberView:
    return MemberView(**{name: getattr(person, name) for name in MemberView.__struct_fields__})


ROUTES = [list_members, patch_member, delete_member]
