"""Who may come in and as what: the tenant, the role and the permissions that a session is for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from contracts.errors import Forbidden
from tenants.domain.companies import Tenant, TenantStatus
from tenants.domain.people import Membership, MemberStatus, User, UserStatus

#: The role of a platform administrator without a tenant, by which the gateway knows one (seed 002's word).
SUPERADMIN: Final = "superadmin"
#: Whoever belongs to no tenant yet, having registered themselves: they may found one, and nothing else.
GUEST: Final = "guest"

PasswordLink = Literal["set_password", "reset_password"]
PASSWORD_LINKS: Final[list[str]] = ["set_password", "reset_password"]


class SignInTerms(msgspec.Struct, frozen=True, kw_only=True):
    """For how long what works, and where links lead."""

    refresh_lifetime: timedelta
    reset_lifetime: timedelta
    frontend_url: str
    verify_lifetime: timedelta = timedelta(days=2)
    challenge_lifetime: timedelta = timedelta(minutes=5)

    def reset_link(self, token: str) -> str:
        """Where a password is chosen (seed 002's form)."""
        return f"{self.frontend_url.rstrip('/')}/reset-password?{urlencode({'token': token})}"

    def verify_link(self, token: str) -> str:
        """Where an address is confirmed."""
        return f"{self.frontend_url.rstrip('/')}/verify-email?{urlencode({'token': token})}"


class Belonging(msgspec.Struct, frozen=True, kw_only=True):
    """A membership, and the tenant that it is in."""

    membership: Membership
    tenant: Tenant

    @property
    def counts(self) -> bool:
        """Whether somebody may act by it: neither it nor the tenant is pending, suspended or closed."""
        return self.membership.status is MemberStatus.ACTIVE and self.tenant.status is TenantStatus.ACTIVE


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is for. `granted` are permissions beyond the role's; `permissions` are all of them, sorted."""

    tenant_id: UUID | None
    role: str
    granted: list[str]
    permissions: list[str]
    membership: Membership | None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session's tokens, shown once, and whose they are."""

    user: User
    seat: Seat
    access_token: str
    refresh_token: str
    refresh_expires_at: datetime


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """The password was right; the second factor is still to come."""

    token: str


def require_active(user: User) -> None:
    """Nothing, for an active account. Raises Forbidden otherwise, for the ears of whoever showed to be the person."""
    if user.status is not UserStatus.ACTIVE:
        raise _inactive()


def choose_belonging(user: User, belongings: Sequence[Belonging], wanted: UUID | None) -> Belonging | None:
    """The membership to act by: in the tenant that is wanted, else the first that counts.

    None for a platform administrator who names no tenant, and for whoever belongs to none. Raises Forbidden for a
    tenant that the person may not act in, or when every one of theirs is pending, suspended or closed.
    """
    if wanted is not None:
        for one in belongings:
            if one.tenant.tenant_id == wanted and one.counts:
                return one
        raise Forbidden("This account may not act in that tenant.", code="foreign_tenant")
    if user.is_platform_admin:
        return None
    found = next((one for one in belongings if one.counts), None)
    if found is None and belongings:
        raise _inactive()
    return found


def home_of(belongings: Sequence[Belonging]) -> Tenant | None:
    """The tenant whose name the person's mails carry, and whose log what they do to their account stands in."""
    return next((one.tenant for one in belongings if one.counts), belongings[0].tenant if belongings else None)


def password_link_for(user: User, belongings: Sequence[Belonging]) -> PasswordLink | None:
    """What a link by which the person chooses a password is for; None for whom there is none.

    Whoever registered and did not confirm the address yet confirms it by the link. An account that a payment made gets
    one once the payment is confirmed, that is: once a membership counts. A suspended one gets none.
    """
    if user.status is UserStatus.ACTIVE or (user.status is UserStatus.PENDING and user.password_hash is not None):
        return "reset_password"
    if user.status is UserStatus.PENDING and any(one.counts for one in belongings):
        return "set_password"
    return None


def status_after_link(user: User, purpose: str) -> UserStatus | None:
    """The status of a person who set a password by a link; None where the link is good for nothing any more.

    A link shows that the mailbox is theirs; nothing more. So it activates who was waiting for that, and never whoever
    was suspended, made inactive or erased since it was sent.
    """
    if user.status is UserStatus.ACTIVE:
        return UserStatus.ACTIVE
    if user.status is UserStatus.PENDING and (purpose == "set_password" or user.password_hash is not None):
        return UserStatus.ACTIVE
    return None


def locale_of(user: User) -> str | None:
    """The language that the person asked for, if any."""
    locale = user.preferences.get("locale") or user.preferences.get("language")
    return locale if isinstance(locale, str) and 2 <= len(locale) <= 12 else None


def _inactive() -> Forbidden:
    return Forbidden("Account is not active", code="account_inactive")  # seed 002's words
