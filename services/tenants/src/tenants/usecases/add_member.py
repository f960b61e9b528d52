"""Makes somebody one of a tenant's people, who need not have an account yet."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import Conflict
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.identifiers import new_id
from tenants.domain.people import MemberStatus, UserStatus, is_barred, new_membership, new_user
from tenants.domain.roles import Powers, refuse_platform_only, refuse_unknown
from tenants.domain.sign_in_limits import MAILS
from tenants.domain.terms import Terms
from tenants.usecases.count_tries import count_tries
from tenants.usecases.drop_strangers_password import drop_strangers_password
from tenants.usecases.find_roles import find_roles
from tenants.usecases.save_membership import save_membership
from tenants.usecases.tell_deed import tell_deed
from tenants.usecases.welcome_user import welcome_user


class NewMember(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to be added as what. `password_hash` counts for a brand-new account only."""

    email: str
    name: str
    role: str
    phone: str | None = None
    avatar: str | None = None
    permissions: list[str] = []
    password_hash: str | None = None


async def add_member(
    conn: Connection, tenant_id: UUID, new: NewMember, *, powers: Powers, by: Doer, terms: Terms, now: datetime
) -> UUID:
    """Their id. Whoever has no password gets a mail with a link to choose one. In a platform transaction.

    Raises Conflict for whoever is in the tenant already or whose account is suspended, Forbidden for a role or
    permissions beyond the caller's own, Invalid for those that there are none of, TooManyRequests for an address
    that we wrote to too often: it may be a stranger's, and they can be taken out and added again.
    """
    roles = await find_roles(conn, tenant_id, new.role)
    refuse_unknown(new.permissions, [one.key for one in await store.roles.list_permissions(conn)])
    refuse_platform_only(new.permissions)
    powers.refuse_role(new.role, {*roles[new.role], *new.permissions})
    tenant = await store.tenants.get_tenant(conn, tenant_id)
    if refusal := await count_tries(conn, (MAILS, new.email)):
        raise refusal
    fresh = new_user(new_id(now), new.email, new.name, now)
    if new.password_hash is not None:
        fresh = msgspec.structs.replace(fresh, password_hash=new.password_hash, status=UserStatus.ACTIVE)
    user = await store.users.insert_user(conn, fresh)
    if await store.memberships.find_membership(conn, tenant_id, user.id) is not None:
        raise Conflict("User already exists", code="already_exists")  # seed 002's words
    if is_barred(user):
        raise Conflict("Account is not active", code="account_inactive")
    if user.id != fresh.id:
        user = await drop_strangers_password(conn, user, now=now)
    membership = msgspec.structs.replace(
        new_membership(user, tenant_id, new.role, MemberStatus.ACTIVE, now, name=new.name),
        phone=new.phone,
        avatar=new.avatar,
        permissions=sorted(set(new.permissions)),
    )
    await save_membership(conn, None, membership, user=user, now=now)
    if user.status is UserStatus.PENDING:
        await welcome_user(conn, user, tenant, terms=terms, now=now)
    await tell_deed(conn, tenant_id, "user.created", by=by, kind="user", target_id=user.id, now=now, role=new.role)
    return user.id
