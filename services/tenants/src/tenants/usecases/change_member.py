"""Changes what somebody is in a tenant and, where they belong to no other, what is theirs everywhere."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET

from chassis.db import Connection
from contracts.errors import Conflict, NotFound
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.members import MemberChange, changed_member, refuse_erased, refuse_last_owner
from tenants.domain.people import Membership, MemberStatus, User, UserStatus
from tenants.domain.roles import Powers, refuse_platform_only, refuse_unknown
from tenants.domain.sign_in_limits import MAILS
from tenants.domain.terms import Terms
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.count_tries import count_tries
from tenants.usecases.find_roles import find_roles
from tenants.usecases.mail_security_notice import mail_security_notice
from tenants.usecases.save_membership import save_membership
from tenants.usecases.tell_deed import tell_deed
from tenants.usecases.welcome_user import welcome_user

_ALL_LINKS = ["set_password", "reset_password", "verify_email", "two_factor"]


async def change_member(
    conn: Connection,
    tenant_id: UUID,
    user_id: UUID,
    change: MemberChange,
    *,
    powers: Powers,
    by: Doer,
    terms: Terms,
    now: datetime,
) -> Membership:
    """The membership as stored. In a platform transaction; the person's row is locked before their membership.

    Raises NotFound for whoever is not in the tenant; Forbidden for a role or permissions beyond the caller's own,
    before or after; Conflict for the last owner, for who was erased, for what is also another tenant's, and for an
    address that is taken; Invalid for a role or a permission that there is none of; TooManyRequests.
    """
    seen = await store.memberships.get_membership(conn, tenant_id, user_id)
    await _count_mails(conn, seen, change)
    user = await store.users.lock_user(conn, user_id)
    await store.memberships.lock_owners(conn, tenant_id)
    others = await store.memberships.count_other_owners(conn, tenant_id, user_id)
    before = await _held(conn, tenant_id, user_id)
    refuse_erased(before)
    after = changed_member(before, change)
    roles = await find_roles(conn, tenant_id, *([after.role] if after.role != before.role else []))
    powers.refuse_role(before.role, {*roles.get(before.role, ()), *before.permissions})
    if change.permissions is not UNSET:
        refuse_unknown(after.permissions, [one.key for one in await store.roles.list_permissions(conn)])
        refuse_platform_only(after.permissions)
    powers.refuse_role(after.role, {*roles.get(after.role, ()), *after.permissions})
    refuse_last_owner(before, after, others)
    is_theirs = any(value is not UNSET for value in (change.email, change.password_hash, change.preferences))
    if is_theirs:
        await _refuse_shared(conn, user, powers)
        user = await _change_person(conn, user, change, now)
        before = await _held(conn, tenant_id, user_id)
        after = msgspec.structs.replace(changed_member(before, change), email=user.email)
    stored = await save_membership(conn, before, after, user=user, now=now)
    if before.status is MemberStatus.ACTIVE and stored.status is not MemberStatus.ACTIVE:
        await store.sessions.mark_families_revoked(conn, user_id, "member_disabled", now, tenant_id)
    if change.email is not UNSET and user.status is UserStatus.PENDING:
        tenant = await store.tenants.get_tenant(conn, tenant_id)
        await welcome_user(conn, user, tenant, terms=terms, now=now)
    if stored != before or is_theirs:
        changed = sorted(name for name in change.__struct_fields__ if getattr(change, name) is not UNSET)
        await tell_deed(
            conn,
            tenant_id,
            "user.updated",
            by=by,
            kind="user",
            target_id=user_id,
            now=now,
            fields=",".join(changed).replace("password_hash", "password"),
            role=stored.role,
            status=stored.status.value,
        )
    return stored


async def _count_mails(conn: Connection, seen: Membership, change: MemberChange) -> None:
    """Who had the address or the password is told, and who gets the address is a stranger, maybe: not again and again.

    Before the person is locked, as whoever asks for a mail does. Raises TooManyRequests.
    """
    if change.email is UNSET and change.password_hash is UNSET:
        return
    told = {address for address in (seen.email, change.email) if isinstance(address, str)}
    if refusal := await count_tries(conn, *((MAILS, address) for address in sorted(told))):
        raise refusal


async def _held(conn: Connection, tenant_id: UUID, user_id: UUID) -> Membership:
    found = await store.memberships.lock_membership(conn, tenant_id, user_id)
    if found is None:
        raise NotFound("no such user")
    return found


async def _refuse_shared(conn: Connection, user: User, powers: Powers) -> None:
    if len(await store.memberships.list_of_user(conn, user.id)) > 1:
        raise Conflict("This person belongs to another tenant too, and changes this themselves.", code="shared_account")
    if user.is_platform_admin and not powers.is_platform_admin:
        raise Conflict("This person is the platform's, and changes this themselves.", code="shared_account")


async def _change_person(conn: Connection, user: User, change: MemberChange, now: datetime) -> User:
    """The person as stored. A new address has to be shown to be theirs again; whoever had the old one is told."""
    old = user
    if change.preferences is not UNSET:
        user = msgspec.structs.replace(user, preferences=change.preferences)
    if change.email is not UNSET and change.email != user.email:
        taken = await store.users.find_user_by_email(conn, change.email)
        if taken is not None:
            raise Conflict("This address is another account's.", code="email_taken")
        user = msgspec.structs.replace(user, email=change.email, email_verified_at=None)
    if change.password_hash is not UNSET:
        is_waiting = user.status is UserStatus.PENDING
        # Whoever set it knows it: it is a stranger's wherever the person is given something beyond this tenant.
        user = msgspec.structs.replace(
            user,
            password_hash=change.password_hash,
            status=UserStatus.ACTIVE if is_waiting else user.status,
            email_verified_at=None,
        )
    if user == old:
        return old
    if (user.email, user.password_hash) == (old.email, old.password_hash):
        user = msgspec.structs.replace(user, version=user.version + 1, updated_at=now)
        await store.users.update_user(conn, user)
        return user
    await store.links.spend_links(conn, user.id, _ALL_LINKS, now)
    user = await call_back_tokens(conn, user, why="changed_by_administrator", now=now)
    if user.email != old.email:
        await mail_security_notice(conn, old, "email_changed", now=now)
    if user.password_hash != old.password_hash:
        await mail_security_notice(conn, user, "password_changed", now=now)
    return user
