"""A person as seed 002's front end reads one: no hash and no token has a place in it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from tenants.domain.people import User
from tenants.domain.sign_in import Seat


class UserView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A person in a tenant; `permissions` are all that the role and they themselves have there."""

    id: UUID
    email: str | None
    name: str
    phone: str | None
    avatar: str | None
    role: str
    status: str
    tenant_id: UUID | None
    email_verified: bool
    last_login_at: datetime | None
    permissions: list[str]
    preferences: dict[str, Any]
    created_at: datetime
    updated_at: datetime


def view_of(user: User, seat: Seat) -> UserView:
    """The person, in that seat."""
    membership = seat.membership
    return UserView(
        id=user.id,
        email=user.email,
        name=user.name,
        phone=membership.phone if membership else None,
        avatar=membership.avatar if membership else None,
        role=seat.role,
        status=user.status.value,
        tenant_id=seat.tenant_id,
        email_verified=user.email_verified_at is not None,
        last_login_at=user.last_sign_in_at,
        permissions=seat.permissions,
        preferences=user.preferences,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )
