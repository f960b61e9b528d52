"""Invitations over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires
from tenants import store
from tenants.api.access import doer_of, own_tenant
from tenants.api.caller import caller_of, person_of
from tenants.api.seed_errors import seed_errors
from tenants.api.user_shapes import Email, Limit, Password, PersonName, RoleName
from tenants.domain.emails import normal_email
from tenants.domain.invitations import Invitation, InvitationStatus
from tenants.domain.terms import Terms
from tenants.passwords import Passwords
from tenants.usecases.accept_invitation import accept_invitation
from tenants.usecases.find_powers import find_powers
from tenants.usecases.invite_member import invite_member
from tenants.usecases.withdraw_invitation import withdraw_invitation

Token = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class InvitationView(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation; its link is nowhere but in the mail. An open one past `expires_at` is good for nothing."""

    id: UUID
    tenant_id: UUID
    email: str
    name: str | None
    role: str
    status: InvitationStatus
    invited_by: str
    expires_at: datetime
    created_at: datetime
    ended_at: datetime | None


class InvitationList(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the tenant's invitations, newest first; `next_after` reads on, and is null at the end."""

    data: list[InvitationView]
    next_after: UUID | None


class NewInvitation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is asked to join, and as what."""

    email: Email
    role: RoleName = "user"
    name: PersonName | None = None


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link's token; a name and a password from whoever has no account yet."""

    token: Token
    name: PersonName | None = None
    password: Password | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What the invited person is now."""

    tenant_id: UUID
    user_id: UUID
    email: str | None
    role: str


@get("/tenants/{tenant_id:uuid}/invitations", guards=[requires("members:read")], exception_handlers=seed_errors("004"))
async def list_invitations(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    tenant_id: FromPath[UUID],
    after: FromQuery[UUID | None] = None,
    limit: Limit = 50,
) -> InvitationList:
    """The tenant's invitations, those that ended included."""
    own_tenant(identity, tenant_id)
    async with platform_transaction(db) as conn:
        found = await store.invitations.list_invitations(conn, tenant_id, after=after, limit=limit + 1)
    shown = [_view(one) for one in found[:limit]]
    return InvitationList(data=shown, next_after=shown[-1].id if len(found) > limit else None)


@post(
    "/tenants/{tenant_id:uuid}/invitations", guards=[requires("members:write")], exception_handlers=seed_errors("004")
)
async def post_invitation(
    data: JSONBody[NewInvitation],
    request: StrictRequest,
    db: NamedDependency[Database],
    terms: NamedDependency[Terms],
    clock: NamedDependency[Clock],
    tenant_id: FromPath[UUID],
) -> Response[InvitationView]:
    """Asks somebody to join, by a mail. The answer is the same whether the address has an account or not.

    An Idempotency-Key asks them once.
    """
    own_tenant(request.user, tenant_id)

    async def invite(conn: Connection) -> InvitationView:
        by = doer_of(request)
        powers = await find_powers(conn, tenant_id, request.user)
        if by.person_id is not None:
            inviter = await store.memberships.find_membership(conn, tenant_id, by.person_id)
            by = msgspec.structs.replace(by, name=inviter.name if inviter is not None else None)
        invitation = await invite_member(
            conn,
            tenant_id,
            normal_email(data.email),
            data.role,
            name=data.name,
            powers=powers,
            by=by,
            terms=terms,
            now=clock(),
        )
        return _view(invitation)

    return await once(request, db, data, invite, tenant_id=tenant_id, on_platform=True)


@delete(
    "/tenants/{tenant_id:uuid}/invitations/{invitation_id:uuid}",
    guards=[requires("members:write")],
    exception_handlers=seed_errors("004"),
)
async def delete_invitation(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    tenant_id: FromPath[UUID],
    invitation_id: FromPath[UUID],
) -> None:
    """Takes an invitation back."""
    own_tenant(request.user, tenant_id)
    async with platform_transaction(db) as conn:
        powers = await find_powers(conn, tenant_id, request.user)
        await withdraw_invitation(conn, tenant_id, invitation_id, powers=powers, by=doer_of(request), now=clock())


@post("/invitations/accept", exception_handlers=seed_errors("004"), status_code=200)
async def post_acceptance(
    data: JSONBody[Acceptance],
    request: StrictRequest,
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    clock: NamedDependency[Clock],
) -> Accepted:
    """Joins the tenant, once. The token is in the body: a path would stand in every log on the way."""
    membership = await accept_invitation(
        db,
        data.token,
        name=data.name,
        password=data.password,
        person_id=person_of(request.user) if request.user.kind in ("user", "platform_admin") else None,
        passwords=passwords,
        caller=caller_of(request),
        now=clock(),
    )
    return Accepted(
        tenant_id=membership.tenant_id, user_id=membership.user_id, email=membership.email, role=membership.role
    )


def _view(invitation: Invitation) -> InvitationView:
    return InvitationView(**msgspec.structs.asdict(invitation))


ROUTES = [list_invitations, post_invitation, delete_invitation, post_acceptance]
