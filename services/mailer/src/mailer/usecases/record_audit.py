"""Says who did something that is worth a record; the tenants service chains what every service says so."""

from datetime import datetime
from uuid import UUID

from bus.outbox import tell
from chassis.db import Connection
from contracts.audit import AuditTarget, Doer
from contracts.mailer import AuditRecorded


async def record_audit(
    conn: Connection,
    tenant_id: UUID,
    action: str,
    *,
    by: Doer,
    kind: str,
    target_id: UUID,
    now: datetime,
    **metadata: str | int | bool | None,
) -> None:
    """The record leaves when the transaction commits. `action` is noun.verb_past, `kind` what `target_id` is one of.

    No secret and no personal data in `metadata`: a mail address is the latter, whoever's it is.
    """
    record = AuditRecorded(
        tenant_id=tenant_id,
        action=action,
        occurred_at=now,
        actor=by.actor,
        targets=(AuditTarget(type=kind, id=str(target_id)),),
        context=by.context,
        metadata={name: value for name, value in metadata.items() if value is not None},
        subject_ref=by.person_id,
    )
    await tell(conn, record, tenant_id=tenant_id, aggregate_id=target_id)
