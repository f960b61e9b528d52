"""People as the platform has them, whatever tenants they belong to: shut out everywhere, and let in again."""

from typing import Literal
from uuid import UUID

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction
from tenants import store
from tenants.api.access import doer_of, requires_platform_admin
from tenants.api.seed_errors import seed_errors
from tenants.api.tenant_shapes import Reason
from tenants.domain.people import User, UserStatus
from tenants.usecases.reactivate_person import reactivate_person
from tenants.usecases.suspend_person import suspend_person


class WhyPerson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reason, which the platform's audit log keeps."""

    reason: Reason


class AccountView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A person, and every tenant that they belong to."""

    id: UUID
    email: str | None
    name: str
    status: UserStatus
    tenant_ids: list[UUID]


class AccountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Seed 002's envelope around one."""

    success: Literal[True]
    data: AccountView


@post(
    "/users/{user_id:uuid}/suspend",
    guards=[requires_platform_admin()],
    exception_handlers=seed_errors("002"),
    status_code=200,
)
async def post_suspend_person(
    data: JSONBody[WhyPerson],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    user_id: FromPath[UUID],
) -> AccountAnswer:
    """Shuts a person out of every tenant: their sessions end, and no link, payment or invitation lets them in."""
    async with platform_transaction(db) as conn:
        return await _view(conn, await suspend_person(conn, user_id, data.reason, by=doer_of(request), now=clock()))


@post(
    "/users/{user_id:uuid}/reactivate",
    guards=[requires_platform_admin()],
    exception_handlers=seed_errors("002"),
    status_code=200,
)
async def post_reactivate_person(
    data: JSONBody[WhyPerson],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    user_id: FromPath[UUID],
) -> AccountAnswer:
    """Lets a suspended person in again."""
    async with platform_transaction(db) as conn:
        return await _view(conn, await reactivate_person(conn, user_id, data.reason, by=doer_of(request), now=clock()))


async def _view(conn: Connection, user: User) -> AccountAnswer:
    memberships = await store.memberships.list_of_user(conn, user.id)
    return AccountAnswer(
        success=True,
        data=AccountView(
            id=user.id,
            email=user.email,
            name=user.name,
            status=user.status,
            tenant_ids=[one.tenant_id for one in memberships],
        ),
    )


ROUTES = [post_suspend_person, post_reactivate_person]
