"""People of a tenant at work, for tests of what they may do there."""

from typing import Any
from uuid import UUID

import httpx
import msgspec

from chassis.db import Database, platform_transaction
from tenants import store
from tenants.domain.companies import Tenant
from tenants.domain.people import Membership, User
from testkit.service import RunningService

from .sign_in_records import a_member, a_user


class Staff(msgspec.Struct):
    """A tenant with somebody of each role that matters."""

    tenant: Tenant
    owner: User
    admin: User
    manager: User
    clerk: User


async def staff_of(db: Database, tenant: Tenant) -> Staff:
    """An owner, an admin, a manager and a user of the tenant, all active."""
    found: dict[str, User] = {}
    for role in ("owner", "admin", "manager", "user"):
        user = await a_user(db, f"{role}@{tenant.slug}.example.com")
        await a_member(db, user, tenant, role)
        found[role] = user
    return Staff(
        tenant=tenant, owner=found["owner"], admin=found["admin"], manager=found["manager"], clerk=found["user"]
    )


async def at_work(
    tenants: RunningService, who: User, tenant: Tenant, method: str, path: str, *permissions: str, **options: Any
) -> httpx.Response:
    """A request of that person in the tenant; what they may give is by their membership, not by these permissions."""
    headers = {"X-Forwarded-For": "203.0.113.7", **options.pop("headers", {})}
    return await tenants.call(
        method, path, tenant.tenant_id, *permissions, subject=str(who.id), headers=headers, **options
    )


async def admin_of_platform(
    tenants: RunningService, method: str, path: str, tenant_id: UUID | None = None, **options: Any
) -> httpx.Response:
    """A request of a platform administrator whom no account here belongs to."""
    return await tenants.call(method, path, tenant_id, kind="platform_admin", subject="root", **options)


async def membership_of(db: Database, who: User, tenant: Tenant) -> Membership:
    """What they are in the tenant."""
    async with platform_transaction(db) as conn:
        return await store.memberships.get_membership(conn, tenant.tenant_id, who.id)


async def person(db: Database, who: User) -> User:
    """The person as stored."""
    async with platform_transaction(db) as conn:
        return await store.users.get_user(conn, who.id)
