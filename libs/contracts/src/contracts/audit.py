"""How every service says that something worth a record was done, in the shape of WorkOS' audit log events.

Each publishing service has a subclass of its own (`billing.audit.recorded.v1`); the tenants service chains them all.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from contracts.event import Event


class AuditActor(msgspec.Struct, frozen=True, kw_only=True):
    """Who did it. `type` is user, platform_admin, api_key, service or public; `name` is personal, and stored sealed."""

    type: str
    id: str
    name: str | None = None


class AuditTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What it was done to."""

    type: str
    id: str
    name: str | None = None


class AuditContext(msgspec.Struct, frozen=True, kw_only=True):
    """From where. Both are personal, and stored sealed."""

    location: str | None = None
    user_agent: str | None = None


class Doer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody at work, as use cases pass them on to their records; what `context` says is personal."""

    actor: AuditActor
    context: AuditContext = AuditContext()

    @property
    def person_id(self) -> UUID | None:
        """The person, where it is one of ours: whose personal data the address and the agent are."""
        try:
            return UUID(self.actor.id) if self.actor.type in ("user", "platform_admin") else None
        except ValueError:
            return None


class AuditRecord(Event, frozen=True, kw_only=True):
    """What was done. `action` is noun.verb_past; `metadata` has at most 50 keys of 40 characters, values of 500.

    No secret, no personal data in `metadata`. `subject_ref` is the person whom the sealed parts are about.
    """

    tenant_id: UUID
    action: str
    occurred_at: datetime
    actor: AuditActor
    targets: tuple[AuditTarget, ...] = ()
    context: AuditContext = AuditContext()
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    subject_ref: UUID | None = None
