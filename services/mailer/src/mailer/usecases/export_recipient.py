"""The mailer's part of an export: which mails it sent to a person, sealed."""

from datetime import datetime

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.mailer import DataExported
from contracts.tenants import ExportRequested
from mailer import store


async def export_recipient(conn: Connection, request: ExportRequested, *, box: SecretBox, now: datetime) -> None:
    """Tells the tenant's mails to that address, secret variables masked. In a platform transaction."""
    mails = await store.emails.list_of_recipient(conn, request.tenant_id, request.email)
    text = msgspec.json.encode({"emails": mails}).decode()
    event = DataExported(
        tenant_id=request.tenant_id,
        occurred_at=now,
        export_id=request.export_id,
        sealed=box.seal(text, request.tenant_id, "privacy_exports", request.export_id),
    )
    await tell(conn, event, tenant_id=request.tenant_id, aggregate_id=request.export_id)
