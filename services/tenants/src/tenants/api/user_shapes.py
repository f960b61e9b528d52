"""What is said of a tenant's people, in seed 002's shapes."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar.params import QueryParameter
from msgspec import UNSET, UnsetType

from tenants.domain.members import GivenStatus
from tenants.domain.people import Person, UserStatus

#: A line of text with something to read in it: names stand in the headers of mails.
LINE = r"^(?=\s*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$(?!\n)"
PersonName = Annotated[str, msgspec.Meta(min_length=1, max_length=120, pattern=LINE)]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Phone = Annotated[str, msgspec.Meta(max_length=40)]
Avatar = Annotated[str, msgspec.Meta(max_length=1000)]
RoleName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,62}$(?!\n)")]
Permissions = Annotated[list[Annotated[str, msgspec.Meta(max_length=80)]], msgspec.Meta(max_length=200)]
Page = Annotated[int, QueryParameter(ge=1, le=100_000)]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Word = Annotated[str | None, QueryParameter(min_length=1, max_length=100)]


class UserView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Somebody of the tenant. No hash and no token; `preferences` are shown where they belong to no other tenant."""

    id: UUID
    email: str | None
    name: str
    phone: str | None
    avatar: str | None
    role: str
    status: UserStatus
    tenant_id: UUID
    email_verified: bool
    last_login_at: datetime | None
    permissions: list[str]
    preferences: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Seed 002's envelope around one."""

    success: Literal[True]
    message: str | None = None
    data: UserView


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the tenant's people."""

    users: list[UserView]
    total: int
    page: int
    limit: int


class UserListAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Seed 002's envelope around a list."""

    success: Literal[True]
    data: UserList


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Seed 002's envelope around nothing."""

    success: Literal[True]
    message: str


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to be added. Without a password they choose one by a link that is mailed to them, which is the better way.

    `password` counts for a brand-new account only, until its owner chooses another; it is never mailed, and it is
    dropped as soon as anybody else gives the account something before its owner showed that the mailbox is theirs.
    """

    email: Email
    name: PersonName
    role: RoleName = "user"
    phone: Phone | None = None
    avatar: Avatar | None = None
    permissions: Permissions = []
    password: Password | None = None


class UserPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is absent stays. E-mail, password and preferences: of nobody who is elsewhere too.

    A `password` counts in this tenant only: before another one, or the platform, gives them anything they choose anew.
    """

    email: Email | UnsetType = UNSET
    name: PersonName | UnsetType = UNSET
    role: RoleName | UnsetType = UNSET
    phone: Phone | UnsetType | None = UNSET
    avatar: Avatar | UnsetType | None = UNSET
    permissions: Permissions | UnsetType = UNSET
    status: GivenStatus | UnsetType = UNSET
    preferences: dict[str, Any] | UnsetType = UNSET
    password: Password | UnsetType = UNSET


def user_view(person: Person) -> UserView:
    """The person as seed 002 shows one."""
    return UserView(
        id=person.user_id,
        email=person.email,
        name=person.name,
        phone=person.phone,
        avatar=person.avatar,
        role=person.role,
        status=person.status,
        tenant_id=person.tenant_id,
        email_verified=person.email_verified_at is not None,
        last_login_at=person.last_sign_in_at,
        permissions=person.permissions,
        preferences=person.preferences,
        created_at=person.created_at,
        updated_at=person.updated_at,
    )
