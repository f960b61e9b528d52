"""Writes a tenant and tells it: the one way in which a tenant is ever made or changed."""

from datetime import datetime

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from contracts.errors import Conflict
from tenants import store
from tenants.domain.companies import Tenant, tenant_event


async def save_tenant(conn: Connection, before: Tenant | None, after: Tenant, *, now: datetime) -> Tenant:
    """`after`, stored, its slug and domain entered in the directory; `before` is the locked row, None for a new one.

    Raises Conflict for a slug or a domain that is another's, or a tenant that is there already.
    """
    if before == after:
        return after
    stored = after if before is None else msgspec.structs.replace(after, version=before.version + 1, updated_at=now)
    for kind, name, old in (
        ("slug", stored.slug, before.slug if before else None),
        ("domain", stored.domain, before.domain if before else None),
    ):
        if name == old:
            continue
        if name is not None and not await store.tenants.claim_name(conn, stored.tenant_id, kind, name):
            raise Conflict(f"this {kind} is taken", code=f"{kind}_taken")
        if old is not None:
            await store.tenants.release_name(conn, stored.tenant_id, kind, old)
    if before is None:
        if not await store.tenants.insert_tenant(conn, stored.tenant_id, stored):
            raise Conflict("this tenant is there already", code="already_exists")
    else:
        await store.tenants.update_tenant(conn, stored.tenant_id, stored)
    event = tenant_event(before, stored, now)
    if event is not None:
        await tell(conn, event, tenant_id=stored.tenant_id, aggregate_id=stored.tenant_id, version=stored.version)
    return stored
