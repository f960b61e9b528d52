"""Dunning and trials: notices on their days, once each, whoever runs them and however often."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.drafts import subscription_of
from billing.domain.dunning import DunningPolicy, after_step, due_step, set_right
from billing.domain.orders import Order, OrderStatus
from billing.domain.providers import Interval, Provider, SubscriptionState
from billing.domain.subscriptions import Subscription, SubscriptionStatus, observe
from billing.usecases.announce_trial_ends import announce_trial_ends
from billing.usecases.run_dunning import run_dunning
from billing.usecases.save_subscription import save_subscription
from chassis.db import Database, transaction

from .records import NOW, a_subscription, an_invoice

S = SubscriptionStatus
POLICY = DunningPolicy((0, 3, 7))
ORDER = Order(
    id=UUID(int=1), tenant_id=UUID(int=2), sold_by=SoldBy.PLATFORM, customer_id=UUID(int=3), plan_id=UUID(int=4),
    plan_slug="essencial", plan_name="Essencial", price_id=UUID(int=5), interval=Interval.MONTH, amount_cents=24700,
    currency="BRL", trial_days=0, limits={}, status=OrderStatus.PAID, provider=Provider.STRIPE,
    account_id=UUID(int=0), external_id=None, checkout_url=None, source="test", buyer_email=None, buyer_name=None,
    is_new_tenant=False, claim_id=None, failure_reason=None, version=1, placed_at=NOW, paid_at=NOW, ended_at=None,
    expires_at=None, updated_at=NOW,
)  # fmt: skip


async def outbox(db: Database, prefix: str) -> list[dict[str, Any]]:
    """What waits to be sent under routing keys that begin so: mail jobs, or the data of events."""
    rows = await db.relay.fetch(
        """
        SELECT type, convert_from(body, 'UTF8') AS body FROM outbox WHERE starts_with(type, $1)
        ORDER BY created_at, id
        """,
        prefix,
    )
    return [msgspec.json.decode(row["body"]) for row in rows]


async def current(db: Database, subscription: Subscription) -> Subscription:
    async with transaction(db, subscription.tenant_id) as conn:
        return await store.subscriptions.get_subscription(conn, subscription.tenant_id, subscription.id)


async def late(db: Database, tenant: UUID, **fields: Any) -> Subscription:
    """A subscription whose payment failed at NOW."""
    async with transaction(db, tenant) as conn:
        row = await a_subscription(
            conn, tenant,
            **{"status": S.PAST_DUE, "past_due_since": NOW, "next_dunning_at": NOW, "external_id": "sub_1"} | fields,
        )  # fmt: skip
        await an_invoice(conn, tenant, customer_id=row.customer_id, subscription_id=row.id, url="https://pay.example/1")
    return row


def at(**delta: float) -> Any:
    return lambda: NOW + timedelta(**delta)


async def test_notices_on_day_0_3_and_7_and_then_no_access(db: Database, tenant: UUID) -> None:
    row = await late(db, tenant)
    said: list[int] = []
    for hours in range(0, 24 * 9, 6):
        await run_dunning(db, POLICY, clock=at(hours=hours))
        said.append(len(await outbox(db, "mail_queue")))
    days = [said[day * 4] for day in range(9)]
    assert days == [1, 1, 1, 2, 2, 2, 2, 3, 3]
    mails = await outbox(db, "mail_queue")
    assert [mail["template"] for mail in mails] == ["payment_failed", "payment_failed", "subscription_suspended"]
    assert len({mail["idempotency_key"] for mail in mails}) == 3
    facts = {
        "name": "Ana Souza",
        "plan": "Essencial",
        "amount": "R$ 247,00",
        "url": "https://pay.example/1",
        "copy_paste": "",
    }
    assert [mail["variables"] for mail in mails] == [
        facts | {"is_suspended": False, "notices_left": 2},
        facts | {"is_suspended": False, "notices_left": 1},
        facts,
    ]
    after = await current(db, row)
    assert (after.status, after.dunning_step, after.next_dunning_at) == (S.SUSPENDED, 3, None)
    told = [one["type"] for one in await outbox(db, "billing.subscription.")]
    assert told == ["billing.subscription.suspended.v1"]


async def test_two_at_once_take_a_step_once(db: Database, tenant: UUID) -> None:
    await late(db, tenant)
    counts = await asyncio.gather(*(run_dunning(db, POLICY, clock=at(days=0)) for _ in range(4)))
    assert sum(count["done"] for count in counts) == 1
    assert sum(count["failed"] for count in counts) == 0
    assert len(await outbox(db, "mail_queue")) == 1


async def test_a_payment_in_time_ends_it(db: Database, tenant: UUID) -> None:
    """The provider says active again: the next failure begins at day 0."""
    row = await late(db, tenant)
    await run_dunning(db, POLICY, clock=at(days=0))
    seen = SubscriptionState(external_id="sub_1", status="active")
    async with transaction(db, tenant) as conn:
        before = await store.subscriptions.lock_subscription(conn, tenant, row.id)
        now = NOW + timedelta(days=2)
        await save_subscription(conn, before, observe(before, seen, asked_at=now, now=now), now=now)
    for days in (3, 7, 30):
        await run_dunning(db, POLICY, clock=at(days=days))
    assert len(await outbox(db, "mail_queue")) == 1
    paid = await current(db, row)
    assert (paid.status, paid.dunning_step, paid.past_due_since) == (S.ACTIVE, 0, None)
    async with transaction(db, tenant) as conn:
        now = NOW + timedelta(days=40)
        again = observe(paid, SubscriptionState(external_id="sub_1", status="past_due"), asked_at=now, now=now)
        await save_subscription(conn, paid, again, now=now)
    await run_dunning(db, POLICY, clock=at(days=40))
    assert len(await outbox(db, "mail_queue")) == 2


async def test_a_shorter_policy_leaves_nobody_in_the_list(db: Database, tenant: UUID) -> None:
    row = await late(db, tenant, dunning_step=2)
    assert (await run_dunning(db, DunningPolicy((0, 3)), clock=at(days=9)))["done"] == 0
    assert (await current(db, row)).next_dunning_at is None
    other = await late(db, tenant, external_id="sub_2", dunning_step=1)
    await run_dunning(db, DunningPolicy((0, 20)), clock=at(days=9))
    assert (await current(db, other)).next_dunning_at == NOW + timedelta(days=20)


async def test_one_without_an_address_goes_through_its_steps_all_the_same(db: Database, tenant: UUID) -> None:
    row = await late(db, tenant)
    async with transaction(db, tenant) as conn:
        customer = await store.customers.get_customer(conn, tenant, row.customer_id)
        await store.customers.upsert_customer(conn, tenant, msgspec.structs.replace(customer, email=None))
    for days in (0, 3, 7):
        await run_dunning(db, POLICY, clock=at(days=days))
    assert (await current(db, row)).status is S.SUSPENDED
    assert await outbox(db, "mail_queue") == []


@given(
    days=st.lists(st.integers(0, 60), min_size=1, max_size=6, unique=True).map(sorted),
    looks=st.lists(st.integers(0, 24 * 70), min_size=1, max_size=40),
)
def test_every_step_is_taken_once_in_order_and_the_last_one_suspends(days: list[int], looks: list[int]) -> None:
    policy = DunningPolicy(tuple(days))
    row = msgspec.structs.replace(
        subscription_of(ORDER, now=NOW), status=S.PAST_DUE, past_due_since=NOW, next_dunning_at=NOW
    )
    taken: list[int] = []
    for hours in sorted(looks):
        now = NOW + timedelta(hours=hours)
        while step := due_step(row, policy, now):
            assert now >= NOW + timedelta(days=days[step.number - 1])
            assert row.next_dunning_at is not None
            assert row.next_dunning_at <= now
            taken.append(step.number)
            row = after_step(row, step, policy, now)
        row = set_right(row, policy)
        assert row.next_dunning_at is None or row.next_dunning_at > now
    reached = sum(1 for day in days if max(looks) >= day * 24)
    assert taken == list(range(1, reached + 1))
    assert (row.status is S.SUSPENDED) == (reached == len(days))


async def trial(db: Database, tenant: UUID, ends: datetime, **fields: Any) -> Subscription:
    async with transaction(db, tenant) as conn:
        return await a_subscription(
            conn, tenant, **{"status": S.TRIALING, "trial_end": ends, "external_id": f"sub_{ends:%d%H}"} | fields
        )


async def test_a_trials_end_is_announced_once(db: Database, tenant: UUID) -> None:
    ends = NOW + timedelta(days=10)
    row = await trial(db, tenant, ends)
    for hours in range(0, 24 * 12, 12):
        counts = await asyncio.gather(
            *(announce_trial_ends(db, notice_days=3, clock=at(hours=hours)) for _ in range(2))
        )
        assert sum(count["failed"] for count in counts) == 0
        assert len(await outbox(db, "mail_queue")) == int(hours >= 24 * 7)
    told = await outbox(db, "billing.subscription.trial_ending")
    assert [one["data"]["subscription_id"] for one in told] == [str(row.id)]
    [mail] = await outbox(db, "mail_queue")
    assert (mail["template"], mail["idempotency_key"]) == ("trial_ending", f"billing-trial-ending-{row.id}")
    assert mail["variables"]["ends_on"] == f"{ends:%d/%m/%Y}"


@pytest.mark.parametrize("fields", [{"cancel_at_period_end": True}, {"status": S.ACTIVE}, {"trial_notice_at": NOW}])
async def test_trials_that_nobody_needs_to_hear_of(db: Database, tenant: UUID, fields: dict[str, Any]) -> None:
    await trial(db, tenant, NOW + timedelta(days=1), **fields)
    await announce_trial_ends(db, notice_days=3, clock=at())
    assert await outbox(db, "mail_queue") == []
    assert await outbox(db, "billing.subscription.") == []


async def test_a_trial_that_is_over_is_not_announced_late(db: Database, tenant: UUID) -> None:
    await trial(db, tenant, NOW - timedelta(days=1))
    for _ in range(2):
        await announce_trial_ends(db, notice_days=3, clock=at())
    assert await outbox(db, "mail_queue") == []
