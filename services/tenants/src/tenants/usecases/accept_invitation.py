"""Makes whoever holds an invitation's link one of the tenant's people."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection, Database, platform_transaction
from contracts.errors import Conflict, FieldError, Forbidden, Invalid, Malformed
from tenants import store
from tenants.domain.actors import actor_for
from tenants.domain.callers import Caller
from tenants.domain.companies import TenantStatus
from tenants.domain.doers import Doer
from tenants.domain.identifiers import new_id
from tenants.domain.invitations import Invitation, InvitationStatus, is_good
from tenants.domain.passwords_policy import accepted_password
from tenants.domain.people import (
    Membership,
    MemberStatus,
    User,
    UserStatus,
    has_strangers_password,
    is_barred,
    new_membership,
    new_user,
)
from tenants.domain.tokens import sha256_of
from tenants.passwords import Passwords
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.find_roles import find_roles
from tenants.usecases.save_membership import save_membership
from tenants.usecases.tell_deed import tell_deed

_PURPOSE = ["invitation"]
_OTHER_LINKS = ["set_password", "reset_password", "verify_email", "two_factor"]


async def accept_invitation(
    db: Database,
    token: str,
    *,
    name: str | None,
    password: str | None,
    person_id: UUID | None,
    passwords: Passwords,
    caller: Caller,
    now: datetime,
) -> Membership:
    """What they are now. `person_id` is whoever is signed in: it must be the person who was invited.

    Signed out, somebody without an account makes one by it. Who has one signs in first, since a link alone must not
    open it. Signed in or not, somebody whose password others may know sets it anew: the link shows the mailbox to be
    theirs, and whoever gave them that password must not come into this tenant by it.
    Nobody who was shut out gets in. Raises Malformed for a link that is unknown, late, spent or withdrawn; Forbidden
    for another person's; Conflict for who has to sign in first, may not come in, or a tenant or role that is no more;
    Invalid for a password that may not be one or is missing; all of these spend nothing. Unavailable.
    """
    digest = sha256_of(token)
    async with platform_transaction(db) as conn:
        invitation = await _find(conn, digest, now)
        user = await store.users.find_user_by_email(conn, invitation.email)
        needs_password = await _needs_password(conn, invitation, user, person_id)
    password_hash: str | None = None
    if needs_password:
        if password is None:
            raise _without_password()
        password_hash = await passwords.hash(accepted_password(password, email=invitation.email))
    async with platform_transaction(db) as conn:
        user = await _hold_person(conn, invitation, name, password_hash, person_id, now)
        return await _join(conn, invitation, user, digest, caller, now)


async def _find(conn: Connection, digest: bytes, now: datetime) -> Invitation:
    link = await store.links.find_link(conn, digest, _PURPOSE, now)
    if link is None or link.tenant_id is None or link.object_id is None:
        raise _refused()
    invitation = await store.invitations.find_invitation(conn, link.tenant_id, link.object_id)
    if invitation is None or not is_good(invitation, now):
        raise _refused()
    return invitation


async def _needs_password(conn: Connection, invitation: Invitation, user: User | None, person_id: UUID | None) -> bool:
    """Whether whoever accepts chooses a password by it. Raises Forbidden, Conflict for who may not accept like this."""
    if person_id is not None and (user is None or user.id != person_id):
        raise Forbidden("This invitation is to another address.", code="other_person")
    if user is not None and is_barred(
        user, await store.memberships.find_membership(conn, invitation.tenant_id, user.id)
    ):
        raise Conflict("Account is not active", code="account_inactive")
    if user is None or user.status is UserStatus.PENDING or has_strangers_password(user):
        return True
    if person_id is not None:
        return False
    raise Conflict("This address has an account: sign in to accept.", code="sign_in_required")


async def _hold_person(
    conn: Connection,
    invitation: Invitation,
    name: str | None,
    password_hash: str | None,
    person_id: UUID | None,
    now: datetime,
) -> User:
    """The person, locked, with the password that they chose, and their mailbox known to be theirs."""
    shown = name or invitation.name or invitation.email.partition("@")[0]
    fresh = new_user(new_id(now), invitation.email, shown, now)
    if password_hash is not None:
        fresh = msgspec.structs.replace(
            fresh, password_hash=password_hash, status=UserStatus.ACTIVE, email_verified_at=now
        )
    user = await store.users.insert_user(conn, fresh)
    if user.id == fresh.id and person_id is None:
        return user
    if not await _needs_password(conn, invitation, user, person_id):  # as things stand now
        return user
    if password_hash is None:
        raise _without_password()
    await store.totp.delete_second_factor(conn, user.id)
    await store.links.spend_links(conn, user.id, _OTHER_LINKS, now)
    chosen = msgspec.structs.replace(user, password_hash=password_hash, status=UserStatus.ACTIVE, email_verified_at=now)
    return await call_back_tokens(conn, chosen, why="invitation_accepted", now=now)


async def _join(
    conn: Connection, invitation: Invitation, user: User, digest: bytes, caller: Caller, now: datetime
) -> Membership:
    tenant_id = invitation.tenant_id
    current = await store.invitations.lock_invitation(conn, tenant_id, invitation.id)
    if not is_good(current, now) or await store.links.use_link(conn, digest, _PURPOSE, now) is None:
        raise _refused()
    tenant = await store.tenants.get_tenant(conn, tenant_id)
    if tenant.status is not TenantStatus.ACTIVE:
        raise Conflict("Nobody joins this tenant now.", code="tenant_inactive")
    if current.role not in await find_roles(conn, tenant_id):
        raise Conflict("The role of this invitation is no more.", code="unknown_role")
    membership = await store.memberships.lock_membership(conn, tenant_id, user.id)
    if membership is None:
        membership = new_membership(user, tenant_id, current.role, MemberStatus.ACTIVE, now)
        membership = await save_membership(conn, None, membership, user=user, now=now)
    await store.invitations.mark_ended(conn, tenant_id, current.id, InvitationStatus.ACCEPTED.value, now)
    await tell_deed(
        conn,
        tenant_id,
        "invitation.accepted",
        by=Doer(actor=actor_for(user), caller=caller),
        kind="invitation",
        target_id=current.id,
        now=now,
        role=membership.role,
    )
    return membership


def _without_password() -> Invalid:
    return Invalid("A password is needed.", code="bad_password", errors=[FieldError("$.password", "is missing")])


def _refused() -> Malformed:
    return Malformed("This invitation cannot be used any more.", code="invalid_link")
