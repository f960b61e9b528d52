"""Adds a line to an order's timeline."""

from datetime import datetime
from typing import Any
from uuid import UUID

from billing import store
from billing.domain.identifiers import new_id
from billing.store.orders import OrderEntry
from chassis.db import Connection


async def note_order(
    conn: Connection, tenant_id: UUID, order_id: UUID | None, kind: str, *, now: datetime, **detail: Any
) -> None:
    """The line is there once the transaction commits; nothing where there is no order. No secret, no personal data."""
    if order_id is None:
        return
    entry = OrderEntry(id=new_id(now), tenant_id=tenant_id, order_id=order_id, kind=kind, detail=detail, at=now)
    await store.orders.insert_entry(conn, tenant_id, entry)
