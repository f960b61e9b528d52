"""What the tenants service tells, through the broker: each has its effect once, however often it comes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import aio_pika.exceptions
import pytest
import pytest_asyncio

from billing import store
from billing.domain.providers import Interval, Provider, ProviderMisconfigured
from billing.domain.subscriptions import Subscription
from billing.events import PEOPLE_QUEUE, TENANT_CLAIMS_QUEUE
from billing.stripe_api import StripeApi
from billing.usecases.close_tenant import close_tenant
from bus.outbox import republish, tell
from chassis.clock import utc_now
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import Conflict, Unavailable
from contracts.event import Event
from contracts.tenants import (
    ErasureRequested,
    ExportRequested,
    PaymentClaimed,
    TenantClosed,
    TenantCreated,
    TenantSuspended,
    TenantUpdated,
    UserCreated,
    UserDisabled,
)
from testkit.fake_http import Fault
from testkit.fake_stripe import FakeStripe
from testkit.service import RunningService, until

from .records import NOW, a_customer, a_subscription
from .selling import STRIPE_KEY, Fakes, serving_fakes
from .test_confirm_claim import claim_of, foreign_session

EMAIL = "ana@example.com"


@pytest_asyncio.fixture
async def fakes() -> AsyncIterator[Fakes]:
    async with serving_fakes() as serving:
        yield serving


@pytest_asyncio.fixture
async def billing(start: Any, fakes: Fakes, amqp_url: str) -> RunningService:
    return await listening(start, amqp_url, fakes.env("stripe", "asaas"))


async def listening(start: Any, amqp_url: str, env: dict[str, str]) -> RunningService:
    """Billing, once its consumers are there."""
    service: RunningService = await start(**env)
    async with await aio_pika.connect(amqp_url) as connection:
        for queue in ("billing", PEOPLE_QUEUE, TENANT_CLAIMS_QUEUE):

            async def is_attached(name: str = queue) -> bool:
                channel = await connection.channel()
                try:
                    return bool((await channel.declare_queue(name, passive=True)).declaration_result.consumer_count)
                except aio_pika.exceptions.ChannelNotFoundEntity:
                    return False
                finally:
                    if not channel.is_closed:
                        await channel.close()

            await until(is_attached)
    return service


async def publish(billing: RunningService, tenant: UUID, *events: Event) -> None:
    """As the tenants service would, by an outbox."""
    for event in events:
        async with transaction(billing.db, tenant) as conn:
            await tell(conn, event, tenant_id=tenant, aggregate_id=tenant)


async def redeliver(billing: RunningService) -> None:
    """Everything published comes again, as after a broker that lost its data."""
    async with billing.db.relay.acquire() as conn:
        await republish(conn, since=datetime.now(UTC) - timedelta(hours=1))

    async def published() -> bool:
        waiting = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND type LIKE 'tenants.%'"
        return not await billing.db.relay.fetchval(waiting)

    await until(published)


def tenant_fields(tenant: UUID, status: str = "active") -> dict[str, Any]:
    return {"tenant_id": tenant, "name": "Acme", "slug": "acme", "status": status, "occurred_at": NOW}


def user_fields(tenant: UUID) -> dict[str, Any]:
    return {
        "tenant_id": tenant,
        "user_id": UUID(int=7),
        "email": EMAIL,
        "name": "Ana",
        "role": "owner",
        "status": "active",
        "tokens_valid_from": NOW,
        "occurred_at": NOW,
    }


async def count(db: Database, sql: str) -> int:
    async with platform_transaction(db) as conn:
        return int(await conn.fetchval(sql))


async def test_a_tenant_that_exists_is_nobodys_guess(billing: RunningService, tenant: UUID) -> None:
    async with transaction(billing.db, tenant) as conn:
        customer = await a_customer(conn, tenant, is_provisional=True)

    async def is_provisional() -> bool:
        async with transaction(billing.db, tenant) as conn:
            return (await store.customers.get_customer(conn, tenant, customer.id)).is_provisional

    await publish(billing, tenant, TenantCreated(**tenant_fields(tenant, "pending")))
    await publish(billing, tenant, UserCreated(**user_fields(tenant)))
    await until(lambda: count(billing.db, "SELECT count(*) FROM inbox WHERE consumer = 'billing'"))
    assert await is_provisional()
    await publish(billing, tenant, TenantUpdated(**tenant_fields(tenant)))

    async def settled() -> bool:
        return not await is_provisional()

    await until(settled)
    await redeliver(billing)
    assert not await is_provisional()


async def test_users_are_followed_once(billing: RunningService, tenant: UUID) -> None:
    await publish(billing, tenant, UserCreated(**user_fields(tenant)))
    await until(lambda: count(billing.db, "SELECT count(*) FROM email_owners WHERE is_active"))
    later = user_fields(tenant) | {"occurred_at": NOW + timedelta(minutes=1), "status": "inactive"}
    await publish(billing, tenant, UserDisabled(**later))
    await until(lambda: count(billing.db, "SELECT count(*) FROM email_owners WHERE NOT is_active"))
    await redeliver(billing)
    # A newer event comes after those that were delivered again.
    erased = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=UUID(int=7), email="rui@example.com", occurred_at=NOW
    )
    await publish(billing, tenant, erased)
    await until(lambda: billing.told("billing.privacy.erased.v1"))
    assert await count(billing.db, "SELECT count(*) FROM email_owners WHERE NOT is_active") == 1


async def test_requests_about_a_persons_data_are_answered_once(billing: RunningService, tenant: UUID) -> None:
    async with transaction(billing.db, tenant) as conn:
        customer = await a_customer(conn, tenant, email=EMAIL)
    person: dict[str, Any] = {"tenant_id": tenant, "user_id": uuid4(), "email": EMAIL, "occurred_at": NOW}
    await publish(billing, tenant, ExportRequested(export_id=uuid4(), **person))
    await until(lambda: billing.told("billing.privacy.exported.v1"))
    await publish(billing, tenant, ErasureRequested(erasure_id=uuid4(), **person))
    await until(lambda: billing.told("billing.privacy.erased.v1"))
    await redeliver(billing)
    await publish(billing, tenant, ExportRequested(export_id=uuid4(), **person))

    async def second() -> bool:
        return len(await billing.told("billing.privacy.exported.v1")) == 2

    await until(second)
    assert len(await billing.told("billing.privacy.erased.v1")) == 1
    async with transaction(billing.db, tenant) as conn:
        assert (await store.customers.get_customer(conn, tenant, customer.id)).email is None


async def test_a_claim_is_confirmed_once(billing: RunningService, fakes: Fakes, tenant: UUID) -> None:
    async with StripeApi(STRIPE_KEY, base_url=fakes.stripe.url) as api:
        session = await foreign_session(api)
    fakes.stripe.pay(session)
    claim = claim_of(tenant, session)
    await publish(billing, tenant, claim)
    [paid] = await until(lambda: billing.told("billing.order.paid.v1"))
    assert (paid["claim_id"], paid["tenant_id"]) == (str(claim.claim_id), str(tenant))
    await redeliver(billing)
    unpaid = claim_of(uuid4(), "cs_test_unknown")
    await publish(billing, unpaid.tenant_id, unpaid)
    [refused] = await until(lambda: billing.told("billing.order.failed.v1"))
    assert refused["claim_id"] == str(unpaid.claim_id)
    path = f"/orders/{refused['order_id']}"
    shown = (await billing.call("GET", path, unpaid.tenant_id, "billing:read")).json()
    assert (shown["status"], shown["failure_reason"], shown["invoice_ids"]) == ("failed", "no such session", [])
    assert [entry["kind"] for entry in shown["timeline"]] == ["claimed", "failed"]
    assert (await billing.call("GET", path, tenant, "billing:read")).status_code == 404
    assert len(await billing.told("billing.order.paid.v1")) == 1
    [receipt] = [job for job in await billing.told("mail_queue") if job["template"] == "payment_receipt"]
    assert receipt["to"]["email"] == EMAIL


async def test_a_claim_of_another_tenant_than_its_envelopes_is_dead(billing: RunningService, tenant: UUID) -> None:
    claim = claim_of(uuid4(), "cs_1", is_attested=True)
    await publish(billing, tenant, claim)

    async def dead() -> Any:
        return await billing.db.platform.fetchval("SELECT reason FROM dead_letters WHERE queue LIKE 'billing.tenant%'")

    assert "another tenant" in await until(dead)
    assert await count(billing.db, "SELECT count(*) FROM orders") == 0


# The end of a tenant


async def at_stripe(billing: RunningService, stripe: FakeStripe, tenant: UUID) -> Subscription:
    """A subscription that runs there and here."""
    async with StripeApi(STRIPE_KEY, base_url=stripe.url) as api:
        session = await foreign_session(api)
    stripe.pay(session)
    external_id = str(stripe.world.get("checkout.session", session)["subscription"])
    async with transaction(billing.db, tenant) as conn:
        return await a_subscription(conn, tenant, external_id=external_id, interval=Interval.MONTH)


async def test_a_closed_tenants_subscriptions_end_at_their_providers_too(
    billing: RunningService, fakes: Fakes, tenant: UUID
) -> None:
    subscription = await at_stripe(billing, fakes.stripe, tenant)
    other = uuid4()
    untouched = await at_stripe(billing, fakes.stripe, other)
    async with transaction(billing.db, tenant) as conn:
        own_cycle = await a_subscription(conn, tenant, provider=Provider.ASAAS)
        await a_subscription(conn, tenant, status="cancelled", cancelled_at=NOW)
    await publish(billing, tenant, TenantSuspended(**tenant_fields(tenant, "suspended"), reason="x"))
    await publish(billing, tenant, TenantClosed(**tenant_fields(tenant, "closed")))

    async def ended() -> Any:
        return len(await billing.told("billing.subscription.cancelled.v1")) == 2

    await until(ended)
    told = await billing.told("billing.subscription.cancelled.v1")
    assert {one["subscription_id"] for one in told} == {str(subscription.id), str(own_cycle.id)}
    assert {one["reason"] for one in told} == {"tenant_closed"}
    assert fakes.stripe.world.get("subscription", str(subscription.external_id))["status"] == "canceled"
    assert fakes.stripe.world.get("subscription", str(untouched.external_id))["status"] == "active"
    await redeliver(billing)
    marker = claim_of(uuid4(), "cs_test_unknown")
    await publish(billing, marker.tenant_id, marker)
    await until(lambda: billing.told("billing.order.failed.v1"))
    assert len(await billing.told("billing.subscription.cancelled.v1")) == 2


async def test_the_intention_outlives_a_provider_that_is_away(
    start: Any, fakes: Fakes, amqp_url: str, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.events.TENANT_CLAIMS_DELAYS_S", (0.2, 0.2, 0.2, 0.2))
    billing = await listening(start, amqp_url, fakes.env("stripe"))
    subscription = await at_stripe(billing, fakes.stripe, tenant)
    fakes.stripe.server.faults = [Fault.FAIL_500] * 4
    fakes.stripe.server.faulty = lambda request: request.method == "DELETE"
    await publish(billing, tenant, TenantClosed(**tenant_fields(tenant, "closed")))
    await until(lambda: billing.told("billing.subscription.cancelled.v1"), timeout_s=30)
    assert fakes.stripe.world.get("subscription", str(subscription.external_id))["status"] == "canceled"


async def test_closing_tells_how_many(billing: RunningService, tenant: UUID) -> None:
    async with transaction(billing.db, tenant) as conn:
        await a_subscription(conn, tenant, provider=Provider.ASAAS)
    accounts: Any = None  # no provider runs its cycle
    assert await close_tenant(billing.db, accounts, tenant, clock=utc_now) == 1
    assert await close_tenant(billing.db, accounts, tenant, clock=utc_now) == 0


@pytest.mark.parametrize(
    ("conflict", "raised"),
    [(Conflict("x", code="changed_meanwhile"), Unavailable), (ProviderMisconfigured("x"), ProviderMisconfigured)],
)
async def test_a_change_meanwhile_is_tried_again(
    db: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch, conflict: Conflict, raised: type[Exception]
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise conflict

    monkeypatch.setattr("billing.usecases.close_tenant.cancel_subscription", refuse)
    async with transaction(db, tenant) as conn:
        await a_subscription(conn, tenant)
    accounts: Any = None
    with pytest.raises(raised):
        await close_tenant(db, accounts, tenant, clock=utc_now)


def test_claims_are_told_as_tenants_tell_them(tenant: UUID) -> None:
    assert isinstance(claim_of(tenant, "cs_1"), PaymentClaimed)
