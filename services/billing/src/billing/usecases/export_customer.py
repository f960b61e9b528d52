"""Billing's part of an export: what it holds of a person, sealed."""

from datetime import datetime
from typing import Any

import msgspec

from billing import store
from bus.outbox import tell
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.billing import DataExported
from contracts.tenants import ExportRequested


async def export_customer(conn: Connection, request: ExportRequested, *, box: SecretBox, now: datetime) -> None:
    """Tells who the person is to billing, and what they ordered and paid, readable by whoever holds SECRETS_KEY only.

    In a platform transaction.
    """
    tenant_id = request.tenant_id
    ids = await store.privacy.list_customer_ids(conn, tenant_id, request.email.lower())
    customers = []
    for customer_id in ids:
        row = await store.customers.get_customer(conn, tenant_id, customer_id)
        known: dict[str, Any] = msgspec.structs.asdict(row)
        known["tax_id"] = box.open(row.tax_id, tenant_id, "customers", row.id) if row.tax_id else None
        customers.append(known)
    held = {"customers": customers} | await store.privacy.list_held(conn, tenant_id, ids)
    text = msgspec.json.encode(held).decode()
    event = DataExported(
        tenant_id=tenant_id,
        occurred_at=now,
        export_id=request.export_id,
        sealed=box.seal(text, tenant_id, "privacy_exports", request.export_id),
    )
    await tell(conn, event, tenant_id=tenant_id, aggregate_id=request.export_id)
