"""SQL over plans and plan_prices."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from billing.domain.plans import Plan, PlanPrice
from billing.domain.providers import Interval
from billing.store.rows import read, read_all, write
from chassis.db import Connection
from contracts.errors import NotFound


async def hold_plan(conn: Connection, plan_id: UUID) -> None:
    """Keeps the plan from being deleted until the transaction ends; whoever sells it holds it, then reads it.

    A row lock would not do: the buyer's role may not update the platform's row, and so may not lock it either.
    """
    await conn.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('billing.plan:' || $1, 0))", str(plan_id))


async def claim_plan(conn: Connection, plan_id: UUID) -> None:
    """Waits until nobody is selling the plan; until the transaction ends nobody can begin to."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('billing.plan:' || $1, 0))", str(plan_id))


async def list_plans(
    conn: Connection, tenant_id: UUID, *, after: UUID | None, limit: int, archived: bool = False
) -> list[Plan]:
    """Plans in the order of their ids, those after `after`; archived ones when asked for."""
    return read_all(
        Plan,
        await conn.fetch(
            """
            SELECT to_jsonb(p) FROM plans p
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) AND (status = 'active' OR $4)
            ORDER BY id LIMIT $3
            """,
            tenant_id,
            after,
            limit,
            archived,
        ),
    )


async def find_plan(conn: Connection, tenant_id: UUID, plan_id: UUID) -> Plan | None:
    """The plan, archived or not."""
    return read(
        Plan,
        await conn.fetchval("SELECT to_jsonb(p) FROM plans p WHERE tenant_id = $1 AND id = $2", tenant_id, plan_id),
    )


async def get_plan(conn: Connection, tenant_id: UUID, plan_id: UUID) -> Plan:
    """The plan, archived or not. Raises NotFound."""
    plan = await find_plan(conn, tenant_id, plan_id)
    if plan is None:
        raise NotFound("no such plan")
    return plan


async def lock_plan(conn: Connection, tenant_id: UUID, plan_id: UUID) -> Plan:
    """The plan, kept from others until the transaction ends. Raises NotFound."""
    plan = read(
        Plan,
        await conn.fetchval(
            "SELECT to_jsonb(p) FROM plans p WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, plan_id
        ),
    )
    if plan is None:
        raise NotFound("no such plan")
    return plan


async def find_plan_by_slug(conn: Connection, tenant_id: UUID, slug: str) -> Plan | None:
    """The plan for sale under that slug."""
    return read(
        Plan,
        await conn.fetchval(
            "SELECT to_jsonb(p) FROM plans p WHERE tenant_id = $1 AND slug = $2 AND status = 'active'", tenant_id, slug
        ),
    )


async def insert_plan(conn: Connection, tenant_id: UUID, plan: Plan) -> None:
    """Adds the plan. Raises UniqueViolationError for a slug that is for sale already."""
    await conn.execute(
        "INSERT INTO plans SELECT r.* FROM jsonb_populate_record(NULL::plans, $2::jsonb) r WHERE r.tenant_id = $1",
        tenant_id,
        write(plan),
    )


async def update_plan(conn: Connection, tenant_id: UUID, plan: Plan) -> None:
    """Writes what of the plan may change."""
    await conn.execute(
        """
        UPDATE plans p SET slug = r.slug, name = r.name, description = r.description, features = r.features,
               limits = r.limits, trial_days = r.trial_days, status = r.status,
               product_external_id = r.product_external_id, version = r.version, updated_at = r.updated_at,
               archived_at = r.archived_at
        FROM jsonb_populate_record(NULL::plans, $2::jsonb) r
        WHERE p.tenant_id = $1 AND p.id = r.id
        """,
        tenant_id,
        write(plan),
    )


async def delete_plan(conn: Connection, tenant_id: UUID, plan_id: UUID) -> None:
    """Removes the plan and its prices."""
    await conn.execute("DELETE FROM plans WHERE tenant_id = $1 AND id = $2", tenant_id, plan_id)


async def was_bought(conn: Connection, plan_id: UUID) -> bool:
    """Whether anybody, of any tenant, has an order or a subscription of the plan. For a platform transaction."""
    return bool(
        await conn.fetchval(
            """
            SELECT EXISTS (SELECT FROM orders WHERE plan_id = $1)
                OR EXISTS (SELECT FROM subscriptions WHERE plan_id = $1 OR next_plan_id = $1)
            """,
            plan_id,
        )
    )


async def list_prices(conn: Connection, tenant_id: UUID, plan_ids: Sequence[UUID]) -> list[PlanPrice]:
    """Every price, retired ones too, of these plans, oldest first."""
    return read_all(
        PlanPrice,
        await conn.fetch(
            """
            SELECT to_jsonb(p) FROM plan_prices p
            WHERE tenant_id = $1 AND plan_id = ANY($2::uuid[]) ORDER BY created_at, id
            """,
            tenant_id,
            plan_ids,
        ),
    )


async def find_price(conn: Connection, tenant_id: UUID, price_id: UUID) -> PlanPrice | None:
    """One version of a price."""
    return read(
        PlanPrice,
        await conn.fetchval(
            "SELECT to_jsonb(p) FROM plan_prices p WHERE tenant_id = $1 AND id = $2", tenant_id, price_id
        ),
    )


async def find_price_for_sale(
    conn: Connection, tenant_id: UUID, plan_id: UUID, interval: Interval, currency: str
) -> PlanPrice | None:
    """What the plan costs now."""
    return read(
        PlanPrice,
        await conn.fetchval(
            """
            SELECT to_jsonb(p) FROM plan_prices p
            WHERE tenant_id = $1 AND plan_id = $2 AND interval = $3 AND currency = $4 AND retired_at IS NULL
            """,
            tenant_id,
            plan_id,
            interval,
            currency,
        ),
    )


async def find_price_by_external_id(conn: Connection, tenant_id: UUID, external_id: str) -> PlanPrice | None:
    """The price that was pushed to Stripe under this id (seed 004's `priceId`)."""
    return read(
        PlanPrice,
        await conn.fetchval(
            "SELECT to_jsonb(p) FROM plan_prices p WHERE tenant_id = $1 AND price_external_id = $2",
            tenant_id,
            external_id,
        ),
    )


async def insert_price(conn: Connection, tenant_id: UUID, price: PlanPrice) -> None:
    """Adds the price. Raises UniqueViolationError while another one is for sale."""
    await conn.execute(
        """
        INSERT INTO plan_prices
        SELECT r.* FROM jsonb_populate_record(NULL::plan_prices, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(price),
    )


async def mark_price_retired(conn: Connection, tenant_id: UUID, price_id: UUID, now: datetime) -> None:
    """The price is not for sale any more."""
    await conn.execute(
        "UPDATE plan_prices SET retired_at = $3 WHERE tenant_id = $1 AND id = $2 AND retired_at IS NULL",
        tenant_id,
        price_id,
        now,
    )


async def set_price_external_id(conn: Connection, tenant_id: UUID, price_id: UUID, external_id: str) -> None:
    """The price is Stripe's under this id."""
    await conn.execute(
        "UPDATE plan_prices SET price_external_id = $3 WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        price_id,
        external_id,
    )
