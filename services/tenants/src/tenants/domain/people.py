"""People: who signs in, and what they are in each tenant that they belong to."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from contracts.errors import Conflict
from contracts.tenants import UserCreated, UserDisabled, UserEvent, UserUpdated


class UserStatus(StrEnum):
    """Where a person stands, wherever they belong. `suspended` is lifted by hand only, never by a payment."""

    PENDING = "pending"
    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    ERASED = "erased"


class MemberStatus(StrEnum):
    """Where a person stands in one tenant."""

    PENDING = "pending"
    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One row of users."""

    id: UUID
    email: str | None
    name: str
    password_hash: str | None
    status: UserStatus
    email_verified_at: datetime | None
    is_platform_admin: bool
    preferences: dict[str, Any]
    tokens_valid_from: datetime
    last_sign_in_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """One row of memberships."""

    tenant_id: UUID
    user_id: UUID
    email: str | None
    name: str
    phone: str | None
    avatar: str | None
    role: str
    permissions: list[str]
    status: MemberStatus
    version: int
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody of a tenant as its other people see them. `status` is the narrower of here and everywhere."""

    tenant_id: UUID
    user_id: UUID
    email: str | None
    name: str
    phone: str | None
    avatar: str | None
    role: str
    permissions: list[str]
    status: UserStatus
    email_verified_at: datetime | None
    preferences: dict[str, Any]
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime


def new_valid_from(user: User, now: datetime) -> datetime:
    """The whole second that every token issued to the person so far is older than, by its `iat`.

    A token that was issued within the second of a call back says the second after it, which the next one must pass.
    """
    return max(user.tokens_valid_from, now.replace(microsecond=0)) + timedelta(seconds=1)


def may_sign_in(user: User) -> bool:
    """Whether the person may sign in at all."""
    return user.status is UserStatus.ACTIVE and user.password_hash is not None


def is_barred(user: User, membership: Membership | None = None) -> bool:
    """Whether somebody shut the person out, here or everywhere. No payment and no invitation lifts that."""
    return user.status in (UserStatus.SUSPENDED, UserStatus.INACTIVE, UserStatus.ERASED) or (
        membership is not None and membership.status in (MemberStatus.SUSPENDED, MemberStatus.INACTIVE)
    )


def has_strangers_password(user: User) -> bool:
    """Whether somebody else may know the password: nobody showed the mailbox to be theirs since it was set.

    Access to another tenant must not go to whoever registered the address first, nor to an administrator who set the
    password of a member.
    """
    return user.password_hash is not None and user.email_verified_at is None


def without_password(user: User) -> User:
    """The person as one who has yet to choose a password."""
    return msgspec.structs.replace(user, password_hash=None, status=UserStatus.PENDING)


def new_user(user_id: UUID, email: str, name: str, now: datetime) -> User:
    """Somebody who has yet to choose a password."""
    return User(
        id=user_id,
        email=email,
        name=name,
        password_hash=None,
        status=UserStatus.PENDING,
        email_verified_at=None,
        is_platform_admin=False,
        preferences={},
        tokens_valid_from=now.replace(microsecond=0),
        last_sign_in_at=None,
        version=1,
        created_at=now,
        updated_at=now,
        erased_at=None,
    )


def new_membership(
    user: User, tenant_id: UUID, role: str, status: MemberStatus, now: datetime, *, name: str | None = None
) -> Membership:
    """What the person becomes in the tenant."""
    return Membership(
        tenant_id=tenant_id,
        user_id=user.id,
        email=user.email,
        name=name or user.name,
        phone=None,
        avatar=None,
        role=role,
        permissions=[],
        status=status,
        version=1,
        last_sign_in_at=None,
        created_at=now,
        updated_at=now,
    )


def refuse_to_suspend(user: User) -> None:
    """Nothing for who can be shut out everywhere. Raises Conflict for who is already, or was erased."""
    if user.status in (UserStatus.SUSPENDED, UserStatus.ERASED):
        raise Conflict(f"This account is {user.status.value}.", code="wrong_state")


def let_in_again(user: User) -> User:
    """A suspended person as one who may come in, once the mailbox and the password are known to be theirs.

    Who had not got that far before has to do so now. Raises Conflict for one who is not suspended.
    """
    if user.status is not UserStatus.SUSPENDED:
        raise Conflict(f"This account is {user.status.value}.", code="wrong_state")
    is_known = user.password_hash is not None and user.email_verified_at is not None
    return msgspec.structs.replace(user, status=UserStatus.ACTIVE if is_known else UserStatus.PENDING)


def user_event(
    before: Membership | None, after: Membership, *, user: User, tokens_valid_from: datetime, now: datetime
) -> UserEvent | None:
    """What is told of a membership that was `before` and is `after`; None when nothing changed.

    Whoever is shut out everywhere is so here, whatever the membership says.
    """
    if before == after:
        return None
    is_out_everywhere = user.status in (UserStatus.INACTIVE, UserStatus.SUSPENDED)
    facts: dict[str, Any] = {
        "tenant_id": after.tenant_id,
        "user_id": after.user_id,
        "email": after.email or "",
        "name": after.name,
        "role": after.role,
        "status": user.status.value if is_out_everywhere else after.status.value,
        "tokens_valid_from": tokens_valid_from,
        "occurred_at": now,
    }
    if before is None:
        return UserCreated(**facts)
    is_out_here = after.status in (MemberStatus.INACTIVE, MemberStatus.SUSPENDED) and before.status is not after.status
    if is_out_everywhere or is_out_here:
        return UserDisabled(**facts)
    return UserUpdated(**facts)
