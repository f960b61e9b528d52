"""What is done when it is due: claims that ran out, tenants that did not pay, and what has run out of date."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from chassis.db import Database, platform_transaction
from tenants import store
from tenants.domain.companies import Tenant, TenantStatus
from tenants.domain.subscriptions import UNPAID
from tenants.usecases import run_schedules as schedules
from tenants.usecases.expire_claims import expire_claims
from tenants.usecases.run_schedules import run_schedules
from tenants.usecases.suspend_unpaid import suspend_unpaid
from testkit.service import until

from .billing_records import NOW, SubscriptionResumed, subscription
from .sign_in_records import a_tenant, a_user
from .test_billing_events import TERMS, claim, jobs, stand, subscribed, told

LATER = NOW + timedelta(hours=24)


async def test_a_claim_that_nobody_confirmed_ends_with_an_alert(db: Database) -> None:
    made = await claim(db)
    async with platform_transaction(db) as conn:
        assert await expire_claims(conn, terms=TERMS, now=LATER - timedelta(seconds=1)) == 0
    async with platform_transaction(db) as conn:
        assert await expire_claims(conn, terms=TERMS, now=LATER) == 1
    async with platform_transaction(db) as conn:
        assert await expire_claims(conn, terms=TERMS, now=LATER) == 0
    found = await stand(db, made.tenant_id)
    assert (found["tenant"][0], found["claims"]) == ("pending", ["expired"])
    [alert] = await jobs(db)
    assert (alert["template"], alert["to"]["email"]) == ("admin_alert", "ops@example.com")
    assert set(alert["variables"]) == {"title", "message", "at", "brand_name", "brand_color"}
    assert "cs_1" in alert["variables"]["message"]
    assert "bia@example.com" not in msgspec.json.encode(alert).decode()


async def test_without_an_administrators_address_it_is_a_log_line(db: Database) -> None:
    await claim(db)
    async with platform_transaction(db) as conn:
        quiet = msgspec.structs.replace(TERMS, admin_email=None)
        assert await expire_claims(conn, terms=quiet, now=LATER) == 1
    assert await jobs(db) == []


async def test_several_processes_share_the_work_and_do_it_once(db: Database) -> None:
    for number in range(12):
        await claim(db, f"cs_{number}", f"b{number}@example.com")

    async def run() -> int:
        async with platform_transaction(db) as conn:
            done = await expire_claims(conn, terms=TERMS, now=LATER)
            await asyncio.sleep(0.05)
            return done

    assert sum(await asyncio.gather(*(run() for _ in range(4)))) == 12
    assert len(await jobs(db, "admin_alert")) == 12


async def unpaid(db: Database, slug: str, **fields: Any) -> Tenant:
    return await a_tenant(db, slug, **{"access_until": NOW} | fields)


async def status_of(db: Database, tenant_id: UUID) -> tuple[str, str | None]:
    async with platform_transaction(db) as conn:
        tenant = await store.tenants.get_tenant(conn, tenant_id)
    return tenant.status.value, tenant.status_reason


async def test_a_tenant_is_shut_when_its_grace_has_run_out_and_opens_when_it_pays(db: Database) -> None:
    tenant = await unpaid(db, "unpaid")
    later = await unpaid(db, "later", access_until=NOW + timedelta(seconds=1))
    endless = await unpaid(db, "endless", access_until=None)
    closed = await unpaid(db, "closed", status=TenantStatus.CLOSED)
    async with platform_transaction(db) as conn:
        assert await suspend_unpaid(conn, now=NOW) == 1
    async with platform_transaction(db) as conn:
        assert await suspend_unpaid(conn, now=NOW) == 0
    assert await status_of(db, tenant.tenant_id) == ("suspended", UNPAID)
    for other in (later, endless):
        assert await status_of(db, other.tenant_id) == ("active", None)
    assert (await status_of(db, closed.tenant_id))[0] == "closed"
    [event] = await told(db, "tenants.tenant.suspended.v1")
    assert (event["tenant_id"], event["reason"]) == (str(tenant.tenant_id), UNPAID)
    await subscribed(db, subscription(SubscriptionResumed, tenant.tenant_id, uuid4()), 9)
    assert await status_of(db, tenant.tenant_id) == ("active", None)


async def test_the_worker_does_all_of_it(start: Any) -> None:
    tenants = await start(SCHEDULE_EVERY_S="0.1")
    tenant = await unpaid(tenants.db, "unpaid")
    made = await claim(tenants.db)
    user = await a_user(tenants.db)
    async with platform_transaction(tenants.db) as conn:
        await store.links.insert_link(
            conn,
            b"x" * 32,
            user_id=user.id,
            purpose="reset_password",
            tenant_id=None,
            object_id=None,
            now=NOW - timedelta(days=30),
            lifetime=timedelta(minutes=30),
        )

    async def done() -> bool:
        async with platform_transaction(tenants.db) as conn:
            links = await conn.fetchval("SELECT count(*) FROM one_time_links")
        claims = (await stand(tenants.db, made.tenant_id))["claims"]
        return (await status_of(tenants.db, tenant.tenant_id))[0] == "suspended" and claims == ["expired"] and not links

    await until(done)


async def test_what_fails_is_tried_again_and_stops_nothing_else(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away, and a job that is broken: the others go on, and the next round tries again."""
    tenant = await unpaid(db, "unpaid")
    failures: list[Exception] = [OSError("away"), RuntimeError("a defect")]

    async def broken(*_: Any, **__: Any) -> int:
        if failures:
            raise failures.pop(0)
        return 0

    monkeypatch.setattr(schedules, "expire_claims", broken)
    stopping = asyncio.Event()
    working = asyncio.create_task(run_schedules(db, terms=TERMS, clock=lambda: NOW, stopping=stopping, every_s=0.05))

    async def through() -> bool:
        return not failures and (await status_of(db, tenant.tenant_id))[0] == "suspended"

    await until(through)
    stopping.set()
    await asyncio.wait_for(working, 2)
