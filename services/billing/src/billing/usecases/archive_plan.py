"""Takes a plan off sale; one that nobody ever bought is gone."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain import plan_events
from billing.domain.plans import Offer, PlanStatus
from billing.usecases.record_audit import record_audit
from bus.outbox import tell
from chassis.db import Connection
from contracts.audit import Doer
from contracts.tenancy import PLATFORM_TENANT_ID


async def archive_plan(conn: Connection, plan_id: UUID, *, by: Doer, now: datetime) -> bool:
    """Whether the plan was deleted; else it is archived, because somebody has or had it. Told once.

    For a platform transaction: buyers are in every tenant. `claim_plan` waits for purchases under way and keeps
    new ones out, so that none can end up with a plan that is gone. Raises NotFound.
    """
    await store.plans.claim_plan(conn, plan_id)
    plan = await store.plans.lock_plan(conn, PLATFORM_TENANT_ID, plan_id)
    if plan.status is PlanStatus.ARCHIVED:
        return False
    deleted = not await store.plans.was_bought(conn, plan_id)
    after = msgspec.structs.replace(
        plan, status=PlanStatus.ARCHIVED, archived_at=now, updated_at=now, version=plan.version + 1
    )
    if deleted:
        await store.plans.delete_plan(conn, PLATFORM_TENANT_ID, plan_id)
    else:
        await store.plans.update_plan(conn, PLATFORM_TENANT_ID, after)
    await tell(
        conn,
        plan_events.archived(Offer(plan=after, prices=()), now, deleted=deleted),
        tenant_id=PLATFORM_TENANT_ID,
        aggregate_id=plan_id,
        version=after.version,
    )
    await record_audit(
        conn,
        PLATFORM_TENANT_ID,
        "plan.deleted" if deleted else "plan.archived",
        by=by,
        kind="plan",
        target_id=plan_id,
        now=now,
        slug=plan.slug,
    )
    return deleted
