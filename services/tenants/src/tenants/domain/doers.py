"""Who does something, and from where, as the audit log is told it."""

from typing import Final
from uuid import UUID

import msgspec

from contracts.audit import AuditActor
from tenants.domain.callers import Caller


class Doer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody at work. `name` is what a mail calls them, if it is known."""

    actor: AuditActor
    caller: Caller
    name: str | None = None

    @property
    def person_id(self) -> UUID | None:
        """The person, where it is one of ours: whose personal data the address and the agent are."""
        try:
            return UUID(self.actor.id) if self.actor.type in ("user", "platform_admin") else None
        except ValueError:
            return None


#: What follows from billing's word, and what a schedule does.
BILLING: Final = Doer(actor=AuditActor(type="service", id="billing"), caller=Caller())
SCHEDULE: Final = Doer(actor=AuditActor(type="service", id="tenants"), caller=Caller())
#: Whoever has a shell where the service runs: no account of ours stands for them.
OPERATOR: Final = Doer(actor=AuditActor(type="service", id="operator"), caller=Caller())
