"""Says for the audit log who did what to which object."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.audit import AuditTarget
from tenants.domain.doers import Doer
from tenants.usecases.tell_audit import tell_audit


async def tell_deed(
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

    The target is named by its id only: what is sealed belongs to one person, and that is the one who acts.
    """
    await tell_audit(
        conn,
        tenant_id,
        action,
        actor=by.actor,
        targets=[AuditTarget(type=kind, id=str(target_id))],
        caller=by.caller,
        subject_id=by.person_id,
        now=now,
        **metadata,
    )
