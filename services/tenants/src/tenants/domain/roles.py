"""Roles and what may be given to whom: nobody hands out more than they have, and what is the platform's stays there."""

from collections.abc import Iterable
from typing import Final

import msgspec

from contracts.errors import FieldError, Forbidden, Invalid

OWNER: Final = "owner"
#: What only a key of the platform may hold: to say that a checkout was paid, and to be believed.
PLATFORM_ONLY: Final = frozenset({"payments:claim", "payments:attest"})
#: Names that the gateway reads as the platform's administrators, and `guest`, as which it knows whoever belongs to no
#: tenant. `owner` is what no tenant may lock itself out of.
RESERVED_NAMES: Final = frozenset({OWNER, "superadmin", "super_admin", "platform_admin", "guest"})


class Powers(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may do in a tenant, and so what they may give, take and change there."""

    permissions: frozenset[str]
    is_owner: bool = False
    is_platform_admin: bool = False

    def refuse_beyond(self, permissions: Iterable[str]) -> None:
        """Nothing where they hold all of these. Raises Forbidden naming those that they lack."""
        lacking = sorted(set(permissions) - self.permissions)
        if lacking:
            raise Forbidden(
                f"Nobody gives or changes what they do not have themselves: {', '.join(lacking[:10])}.",
                code="beyond_own_permissions",
            )

    def refuse_role(self, role: str, permissions: Iterable[str]) -> None:
        """Nothing where they may give and take that role. Raises Forbidden: an owner is made and unmade by owners."""
        if role == OWNER and not (self.is_owner or self.is_platform_admin):
            raise Forbidden("Only an owner makes, changes or removes an owner.", code="owners_only")
        self.refuse_beyond(permissions)


def refuse_platform_only(permissions: Iterable[str]) -> None:
    """Nothing where none of these is for the platform's keys alone. Raises Forbidden."""
    if not PLATFORM_ONLY.isdisjoint(permissions):
        raise Forbidden("Only a key of the platform itself may hold this permission.", code="platform_only")


def refuse_unknown(permissions: Iterable[str], known: Iterable[str], *, field: str = "permissions") -> None:
    """Nothing where each is in the catalogue. Raises Invalid naming the others."""
    unknown = sorted(set(permissions) - set(known))
    if unknown:
        raise Invalid(
            "There is no such permission.",
            code="unknown_permission",
            errors=[FieldError(f"$.{field}", f"unknown: {name[:80]}") for name in unknown[:10]],
        )


def refuse_name(name: str) -> None:
    """Nothing for a name that a tenant's own role may have. Raises Invalid."""
    if name in RESERVED_NAMES:
        raise Invalid(
            "This name is not for a role of one's own.", code="reserved_name", errors=[FieldError("$.name", "reserved")]
        )
