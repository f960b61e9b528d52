"""Who does something, and from where, as the audit log is told it."""

from typing import Final
from uuid import UUID

import msgspec

from contracts.audit import AuditActor, AuditContext


class Doer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody at work; what `context` says is personal."""

    actor: AuditActor
    context: AuditContext = AuditContext()

    @property
    def person_id(self) -> UUID | None:
        """The person, where it is one of ours: whose personal data the address and the agent are."""
        try:
            return UUID(self.actor.id) if self.actor.type in ("user", "platform_admin") else None
        except ValueError:
            return None


#: Whoever has a shell where the service runs: no account of ours stands for them.
OPERATOR: Final = Doer(actor=AuditActor(type="service", id="operator"))
