"""Invitations: somebody is asked to join a tenant, and the link in the mail proves that the mailbox is theirs."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class InvitationStatus(StrEnum):
    """Where an invitation stands; an open one past `expires_at` is good for nothing."""

    OPEN = "open"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """One row of invitations."""

    tenant_id: UUID
    id: UUID
    email: str
    name: str | None
    role: str
    status: InvitationStatus
    invited_by: str
    expires_at: datetime
    created_at: datetime
    ended_at: datetime | None


def is_good(invitation: Invitation, now: datetime) -> bool:
    """Whether it can still be accepted."""
    return invitation.status is InvitationStatus.OPEN and now < invitation.expires_at
