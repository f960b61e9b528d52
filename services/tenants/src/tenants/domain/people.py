"""People: who signs in, and what they are in each tenant that they belong to."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

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


def next_second(now: datetime) -> datetime:
    """The first whole second after `now`: what a token's `iat` can be compared with."""
    return now.replace(microsecond=0) + timedelta(seconds=1)


def may_sign_in(user: User) -> bool:
    """Whether the person may sign in at all."""
    return user.status is UserStatus.ACTIVE and user.password_hash is not None


def user_event(
    before: Membership | None, after: Membership, *, tokens_valid_from: datetime, now: datetime
) -> UserEvent | None:
    """What is told of a membership that was `before` and is `after`; None when nothing changed."""
    if before == after:
        return None
    facts: dict[str, Any] = {
        "tenant_id": after.tenant_id,
        "user_id": after.user_id,
        "email": after.email or "",
        "name": after.name,
        "role": after.role,
        "status": after.status.value,
        "tokens_valid_from": tokens_valid_from,
        "occurred_at": now,
    }
    if before is None:
        return UserCreated(**facts)
    if after.status in (MemberStatus.INACTIVE, MemberStatus.SUSPENDED) and before.status is not after.status:
        return UserDisabled(**facts)
    return UserUpdated(**facts)
