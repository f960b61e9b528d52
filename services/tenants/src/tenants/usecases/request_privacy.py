"""Takes in a request about a person's data and asks every service for its part."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from bus.outbox import tell
from chassis.db import Connection
from contracts.audit import AuditActor, AuditTarget
from contracts.tenants import ErasureRequested, ExportRequested
from tenants import store
from tenants.domain.callers import Caller
from tenants.domain.identifiers import new_id
from tenants.domain.members import refuse_last_owner
from tenants.domain.roles import Powers
from tenants.domain.tokens import sha256_of
from tenants.store.privacy import PrivacyRequest
from tenants.usecases.tell_audit import tell_audit


async def request_privacy(
    conn: Connection,
    tenant_id: UUID,
    user_id: UUID,
    kind: Literal["erasure", "export"],
    *,
    powers: Powers,
    actor: AuditActor,
    caller: Caller,
    now: datetime,
) -> PrivacyRequest:
    """The request, running: each service reports when its part is done. In a platform transaction.

    Raises NotFound for somebody who is not in the tenant, Forbidden where an owner is to be erased by somebody who is
    none, Conflict for the last owner: the tenant is closed first.
    """
    member = await store.memberships.get_membership(conn, tenant_id, user_id)
    if kind == "erasure":
        await store.memberships.lock_owners(conn, tenant_id)
        powers.refuse_role(member.role, ())
        refuse_last_owner(member, None, await store.memberships.count_other_owners(conn, tenant_id, user_id))
    request = PrivacyRequest(
        tenant_id=tenant_id,
        id=new_id(now),
        kind=kind,
        user_id=user_id,
        status="running",
        requested_by=actor.id,
        created_at=now,
        ended_at=None,
    )
    email = member.email or ""
    await store.privacy.insert_request(conn, tenant_id, request, subject_email_sha256=sha256_of(email))
    facts: dict[str, Any] = {"tenant_id": tenant_id, "user_id": user_id, "email": email, "occurred_at": now}
    event = (
        ErasureRequested(erasure_id=request.id, **facts)
        if kind == "erasure"
        else ExportRequested(export_id=request.id, **facts)
    )
    await tell(conn, event, tenant_id=tenant_id, aggregate_id=request.id)
    await tell_audit(
        conn,
        tenant_id,
        f"privacy.{kind}_requested",
        actor=actor,
        targets=[AuditTarget(type="user", id=str(user_id))],
        caller=caller,
        subject_id=None,
        now=now,
    )
    return request
