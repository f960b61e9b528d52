"""Billing's part of an erasure: it forgets who somebody is, and keeps what the law says was paid."""

from datetime import datetime

from billing import store
from bus.outbox import tell
from chassis.db import Connection
from contracts.billing import DataErased
from contracts.tenants import ErasureRequested

_FISCAL = "fiscal records, without name and address (LGPD, art. 16, I: legal obligation)"


async def erase_customer(conn: Connection, request: ErasureRequested, *, now: datetime) -> None:
    """Name, address, tax id and phone leave every table, and what providers sent of them; told with what stays and why.

    In a platform transaction: the address stands in directories and in webhooks, too. May run again. What was bought
    runs on.
    """
    tenant_id, email = request.tenant_id, request.email.lower()
    customers = await store.customers.erase_customers(conn, tenant_id, email, now)
    counts = {
        "customers: name, address, tax id and phone": len(customers),
        "orders: who bought": await store.privacy.erase_buyers(conn, tenant_id, email, now),
        "payments: the provider's own record": await store.privacy.erase_raw_payments(conn, tenant_id, customers, now),
        "calls to providers: what was sent": await store.privacy.erase_calls(conn, tenant_id, email, now),
        "webhooks: what was received": await store.privacy.erase_provider_events(conn, tenant_id, email),
        "directory: the address": int(await store.directory.delete_email_owner(conn, tenant_id, email)),
    }
    erased = tuple(f"{what} ({count})" for what, count in counts.items() if count)
    held = await store.privacy.list_held(conn, tenant_id, customers)
    kept = tuple(f"{kind} ({len(held[kind])}): {_FISCAL}" for kind in ("orders", "invoices", "payments") if held[kind])
    await tell(
        conn,
        DataErased(tenant_id=tenant_id, occurred_at=now, erasure_id=request.erasure_id, erased=erased, kept=kept),
        tenant_id=tenant_id,
        aggregate_id=request.erasure_id,
    )
