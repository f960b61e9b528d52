"""Whom the audit log is told of where nobody called."""

from typing import Final

from contracts.audit import AuditActor, Doer

#: This service, on its own account: from no address, and no person.
BILLING: Final = Doer(actor=AuditActor(type="service", id="billing"))
