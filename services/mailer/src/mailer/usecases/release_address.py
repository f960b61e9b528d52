"""Takes an address off a tenant's suppression list."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.audit import Doer
from mailer import store
from mailer.usecases.record_audit import record_audit


async def release_address(conn: Connection, tenant_id: UUID, suppression_id: UUID, *, by: Doer, now: datetime) -> None:
    """Mails to the address are tried again. Raises NotFound."""
    gone = await store.suppressions.delete_suppression(conn, tenant_id, suppression_id)
    await record_audit(
        conn,
        tenant_id,
        "suppression.removed",
        by=by,
        kind="suppression",
        target_id=suppression_id,
        now=now,
        cause=gone.cause.value,
    )
