"""What may be changed of somebody in a tenant, and by whom."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from contracts.errors import Conflict
from tenants.domain.people import Membership, MemberStatus
from tenants.domain.roles import OWNER

#: A status that one may be given; `pending` is for those who wait for something.
GivenStatus = Literal["active", "inactive", "suspended"]


class MemberChange(msgspec.Struct, frozen=True, kw_only=True):
    """What of somebody is to change; UNSET stays. E-mail, password and preferences are the person's everywhere."""

    name: str | UnsetType = UNSET
    phone: str | UnsetType | None = UNSET
    avatar: str | UnsetType | None = UNSET
    role: str | UnsetType = UNSET
    permissions: list[str] | UnsetType = UNSET
    status: GivenStatus | UnsetType = UNSET
    preferences: dict[str, Any] | UnsetType = UNSET
    email: str | UnsetType = UNSET
    password_hash: str | UnsetType = UNSET


def changed_member(before: Membership, change: MemberChange) -> Membership:
    """The membership with what of the change is its own."""
    wanted: dict[str, Any] = {
        name: value
        for name in ("name", "phone", "avatar", "role", "permissions")
        if (value := getattr(change, name)) is not UNSET
    }
    if change.status is not UNSET:
        wanted["status"] = MemberStatus(change.status)
    if "permissions" in wanted:
        wanted["permissions"] = sorted(set(wanted["permissions"]))
    return msgspec.structs.replace(before, **wanted)


def refuse_erased(membership: Membership) -> None:
    """Nothing, unless what the person was here is forgotten: that is for good. Raises Conflict."""
    if membership.email is None:
        raise Conflict("This person was erased.", code="erased")


def is_active_owner(membership: Membership) -> bool:
    """Whether the tenant can count on them as an owner."""
    return membership.role == OWNER and membership.status is MemberStatus.ACTIVE


def refuse_last_owner(before: Membership, after: Membership | None, other_owners: int) -> None:
    """Nothing, unless the tenant would be left without an owner. Raises Conflict. `after` None: they leave."""
    stays = after is not None and is_active_owner(after)
    if is_active_owner(before) and not stays and not other_owners:
        raise Conflict("The tenant would be left without an owner.", code="last_owner")
