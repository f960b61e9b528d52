"""Says that something worth a record was done here; the consumer appends it to the tenant's chain."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from bus.outbox import tell
from chassis.db import Connection
from contracts.audit import AuditActor, AuditContext, AuditTarget
from contracts.tenants import AuditRecorded
from tenants.domain.callers import Caller


async def tell_audit(
    conn: Connection,
    tenant_id: UUID,
    action: str,
    *,
    actor: AuditActor,
    targets: Sequence[AuditTarget] = (),
    caller: Caller | None = None,
    subject_id: UUID | None = None,
    now: datetime,
    **metadata: str | int | bool | None,
) -> None:
    """The record leaves when the transaction commits. `action` is noun.verb_past.

    `subject_id` is the person whom names, address and agent are about: they are sealed under that person's key, and
    left out of the log without one. No secret and no personal data in `metadata`. The nil tenant's log is the
    platform's own.
    """
    context = AuditContext() if caller is None else AuditContext(location=caller.address, user_agent=caller.user_agent)
    record = AuditRecorded(
        tenant_id=tenant_id,
        action=action,
        occurred_at=now,
        actor=actor,
        targets=tuple(targets),
        context=context,
        metadata={name: value for name, value in metadata.items() if value is not None},
        subject_ref=subject_id,
    )
    await tell(conn, record, tenant_id=tenant_id, aggregate_id=subject_id or tenant_id)
