"""Who somebody is and what they may, told to themselves."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency

from chassis.db import Connection, Database, platform_transaction
from chassis.identity import Identity
from contracts.errors import Unauthenticated
from tenants import store
from tenants.api.caller import person_of
from tenants.api.envelopes import Answer
from tenants.api.seed_errors import seed_errors
from tenants.api.user_view import UserView, view_of
from tenants.domain.people import User
from tenants.domain.sign_in import Belonging, Seat
from tenants.usecases.choose_seat import choose_seat


class MeView(UserView, frozen=True, kw_only=True, rename="camel"):
    """The caller, in the tenant of the request."""

    two_factor_enabled: bool


class PermissionsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the caller may in the tenant of the request: the role's permissions and their own."""

    user_id: str
    tenant_id: UUID | None
    role: str
    permissions: list[str]


class MembershipView(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller is in one tenant, in seed 004's spelling. `active` is whether they may act there."""

    tenant_id: UUID
    user_id: str
    role: str
    status: str
    active: bool
    tenant_name: str
    tenant_slug: str
    tenant_status: str


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Seed 004's answer, and who it is besides."""

    user_id: str = msgspec.field(name="userId")
    email: str | None
    name: str | None
    tenant_id: UUID | None = msgspec.field(name="tenantId")
    is_platform_admin: bool = msgspec.field(name="isPlatformAdmin")
    memberships: list[MembershipView]


@get(["/auth/me", "/auth/profile"], exception_handlers=seed_errors("002"))
async def get_profile(db: NamedDependency[Database], identity: NamedDependency[Identity]) -> Answer[MeView]:
    """The caller, in seed 002's shape."""
    async with platform_transaction(db) as conn:
        user, seat = await _seated(conn, identity)
        has_factor = await store.totp.has_second_factor(conn, user.id)
    shown: dict[str, Any] = msgspec.structs.asdict(view_of(user, seat))
    return Answer(data=MeView(**shown, two_factor_enabled=has_factor))


@get("/users/permissions/me", exception_handlers=seed_errors("002"))
async def get_my_permissions(
    db: NamedDependency[Database], identity: NamedDependency[Identity]
) -> Answer[PermissionsView]:
    """What the caller may, in seed 002's shape."""
    async with platform_transaction(db) as conn:
        user, seat = await _seated(conn, identity)
    return Answer(
        data=PermissionsView(
            user_id=str(user.id), tenant_id=seat.tenant_id, role=seat.role, permissions=seat.permissions
        )
    )


@get("/me", exception_handlers=seed_errors("004"))
async def get_me(db: NamedDependency[Database], identity: NamedDependency[Identity]) -> Me:
    """The caller and the tenants that they belong to. A person of the Go core has none here."""
    if identity.kind not in ("user", "platform_admin"):
        raise Unauthenticated("Sign in first.")
    user: User | None = None
    belongings: list[Belonging] = []
    try:
        user_id: UUID | None = UUID(identity.subject)
    except ValueError:
        user_id = None
    if user_id is not None:
        async with platform_transaction(db) as conn:
            user = await store.users.find_user(conn, user_id)
            belongings = await store.users.list_belongings(conn, user_id)
    return Me(
        user_id=identity.subject,
        email=user.email if user else None,
        name=user.name if user else None,
        tenant_id=identity.tenant_id,
        is_platform_admin=identity.kind == "platform_admin",
        memberships=[_membership(one) for one in belongings],
    )


async def _seated(conn: Connection, identity: Identity) -> tuple[User, Seat]:
    """The caller and their seat. A platform administrator has theirs whatever tenant the request is for."""
    user = await store.users.get_user(conn, person_of(identity))
    wanted = identity.tenant_id if identity.kind == "user" else None
    return user, await choose_seat(conn, user, wanted)


def _membership(one: Belonging) -> MembershipView:
    return MembershipView(
        tenant_id=one.tenant.tenant_id,
        user_id=str(one.membership.user_id),
        role=one.membership.role,
        status=one.membership.status.value,
        active=one.counts,
        tenant_name=one.tenant.name,
        tenant_slug=one.tenant.slug,
        tenant_status=one.tenant.status.value,
    )


ROUTES = [get_profile, get_my_permissions, get_me]
