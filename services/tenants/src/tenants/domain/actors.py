"""Persons as audit records name them."""

from typing import Final

from contracts.audit import AuditActor, AuditTarget
from tenants.domain.people import User

#: Whoever has not shown who they are.
ANYBODY: Final = AuditActor(type="public", id="anonymous")


def actor_for(user: User) -> AuditActor:
    """The person as the one who acts."""
    return AuditActor(
        type="platform_admin" if user.is_platform_admin else "user", id=str(user.id), name=user.name or None
    )


def target_for(user: User) -> AuditTarget:
    """The person as the one whom it was done to."""
    return AuditTarget(type="user", id=str(user.id), name=user.name or None)
