"""Takes in an audit record that a service told, once."""

from datetime import datetime

from bus.envelope import Envelope
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.audit import AuditRecord
from tenants.usecases.record_audit import record_audit


async def append_record(
    conn: Connection, record: AuditRecord, envelope: Envelope, *, box: SecretBox, now: datetime
) -> None:
    """The record stands in its tenant's chain, under the event's id; a redelivery changes nothing.

    The tenant is the envelope's: a record that names another is its producer's mistake, and not believed.
    """
    if envelope.tenantid != record.tenant_id:
        raise ValueError("the record's tenant is not its event's")
    service = envelope.type.split(".", 1)[0]
    await record_audit(conn, record, event_id=envelope.id, service=service, box=box, now=now)
