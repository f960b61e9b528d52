"""Plans over HTTP: what anybody may read, what only administrators may change, and what a change leaves alone."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from billing import store
from billing.domain.drafts import subscription_of
from billing.domain.providers import Interval
from billing.usecases.choose_plan import choose_plan
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import Invalid
from contracts.tenancy import PLATFORM_TENANT_ID
from testkit.fake_http import Fault
from testkit.fake_stripe import FakeStripe, fake_stripe

from .records import an_order

Start = Callable[..., Awaitable[Any]]


@pytest.fixture(name="start")
def without_schedulers(start: Start) -> Start:
    """Billing as its API alone: what happens is what a request did."""
    return functools.partial(start, ROLE="api")


MONTHLY = {"interval": "month", "currency": "BRL", "amount_cents": 9900}
YEARLY = {"interval": "year", "currency": "BRL", "amount_cents": 99000}
PLAN = {
    "slug": "pro",
    "name": "Pro",
    "description": "Para quem cresce",
    "features": ["5 agentes"],
    "limits": {"agents": 5},
    "trial_days": 7,
    "prices": [MONTHLY, YEARLY],
}
OPERATIONS = [
    ("POST", "/plans", {**PLAN, "slug": "other"}),
    ("PATCH", "/plans/pro", {"name": "Pro 2"}),
    ("POST", "/plans/pro/push", None),
    ("DELETE", "/plans/pro", None),
]


async def admin(billing: Any, method: str, path: str, **options: Any) -> Any:
    return await billing.call(method, path, None, kind="platform_admin", **options)


async def test_anybody_reads_and_only_administrators_change(start: Start, tenant: UUID) -> None:
    billing = await start()
    assert (await admin(billing, "POST", "/plans", json=PLAN)).status_code == 201
    for method, path, body in OPERATIONS:
        options = {} if body is None else {"json": body}
        assert (await billing.http.request(method, path, **options)).status_code == 401, (method, path)
        for kind, tenant_id in (("user", tenant), ("user", None), ("public", None), ("api_key", tenant)):
            refused = await billing.call(method, path, tenant_id, kind=kind, **options)
            assert (refused.status_code, refused.json()["code"]) == (403, "platform_admin_only"), (method, path, kind)
    assert (await billing.http.get("/plans")).status_code == 401
    for kind, tenant_id in (("public", None), ("user", tenant), ("platform_admin", None)):
        listed = await billing.call("GET", "/plans", tenant_id, "none:at_all", kind=kind)
        assert [plan["slug"] for plan in listed.json()["data"]][-1] == "pro"
        assert (await billing.call("GET", "/plans/pro", tenant_id, "none:at_all", kind=kind)).status_code == 200


async def test_a_plan_reads_as_it_was_written_and_is_told(start: Start) -> None:
    billing = await start()
    made = await admin(billing, "POST", "/plans", json=PLAN)
    assert made.status_code == 201, made.text
    plan = made.json()
    assert {key: plan[key] for key in PLAN if key != "prices"} == {key: PLAN[key] for key in PLAN if key != "prices"}
    assert [(one["interval"], one["currency"], one["amount_cents"], one["external_id"]) for one in plan["prices"]] == [
        ("month", "BRL", 9900, None),
        ("year", "BRL", 99000, None),
    ]
    assert (plan["status"], plan["archived_at"]) == ("active", None)
    for name in ("pro", plan["id"], plan["id"].upper()):
        assert (await billing.call("GET", f"/plans/{name}", None, kind="public")).json() == plan
    [told] = await billing.told("billing.plan.created.v1")
    assert (told["plan_id"], told["slug"], told["tenant_id"]) == (plan["id"], "pro", str(PLATFORM_TENANT_ID))
    assert [price["amount_cents"] for price in told["prices"]] == [9900, 99000]
    [record] = await billing.told("billing.audit.recorded.v1")
    assert (record["action"], record["actor"]["type"]) == ("plan.created", "platform_admin")


async def test_the_seeds_plans_are_for_sale_from_the_first_day(start: Start) -> None:
    billing = await start()
    listed = (await billing.call("GET", "/plans", None, kind="public")).json()["data"]
    assert {
        plan["slug"]: {price["interval"]: (price["amount_cents"], price["currency"]) for price in plan["prices"]}
        for plan in listed
    } == {
        "essencial": {"month": (24700, "BRL"), "year": (236400, "BRL")},
        "profissional": {"month": (58000, "BRL"), "year": (556800, "BRL")},
        "empresarial": {"month": (124700, "BRL"), "year": (1196400, "BRL")},
        "enterprise": {"month": (299700, "BRL"), "year": (2876400, "BRL")},
    }


async def test_a_new_price_retires_the_old_one_and_touches_nothing_that_runs(start: Start, tenant: UUID) -> None:
    billing = await start()
    plan = (await admin(billing, "POST", "/plans", json=PLAN)).json()
    async with transaction(billing.db, tenant) as conn:
        order = await an_order(conn, tenant, plan_id=UUID(plan["id"]), price_id=UUID(plan["prices"][0]["id"]))
        running = subscription_of(order, now=order.placed_at)
        await store.subscriptions.insert_subscription(conn, tenant, running)
    changed = await admin(
        billing, "PATCH", "/plans/pro", json={"prices": [MONTHLY | {"amount_cents": 12900}, YEARLY], "name": "Pro+"}
    )
    assert changed.status_code == 200, changed.text
    assert {price["interval"]: price["amount_cents"] for price in changed.json()["prices"]} == {
        "month": 12900,
        "year": 99000,
    }
    yearly = {price["interval"]: price["id"] for price in plan["prices"]}["year"]
    assert {price["interval"]: price["id"] for price in changed.json()["prices"]}["year"] == yearly, "it stays the same"
    async with transaction(billing.db, tenant) as conn:
        old = await store.plans.find_price(conn, PLATFORM_TENANT_ID, running.price_id)
        assert old is not None
        assert (old.amount_cents, old.retired_at is None) == (9900, False)
        assert await store.subscriptions.get_subscription(conn, tenant, running.id) == running
    [told] = await billing.told("billing.plan.updated.v1")
    assert (told["name"], sorted(price["amount_cents"] for price in told["prices"])) == ("Pro+", [12900, 99000])
    withdrawn = await admin(billing, "PATCH", "/plans/pro", json={"prices": [YEARLY]})
    assert [price["interval"] for price in withdrawn.json()["prices"]] == ["year"]
    assert (await admin(billing, "PATCH", "/plans/pro", json={"prices": [YEARLY], "trial_days": 7})).status_code == 200
    assert len(await billing.told("billing.plan.updated.v1")) == 2, "nothing new tells nothing"


async def test_a_plan_that_was_bought_is_archived_and_another_is_gone(start: Start, tenant: UUID) -> None:
    billing = await start()
    bought = (await admin(billing, "POST", "/plans", json=PLAN)).json()
    unsold = (await admin(billing, "POST", "/plans", json={**PLAN, "slug": "unsold"})).json()
    async with transaction(billing.db, tenant) as conn:
        await an_order(conn, tenant, plan_id=UUID(bought["id"]))
    for plan in (bought, unsold, bought):
        assert (await admin(billing, "DELETE", f"/plans/{plan['id']}")).status_code == 204
    kept = await billing.call("GET", f"/plans/{bought['id']}", None, kind="public")
    assert (kept.json()["status"], kept.json()["archived_at"] is None) == ("archived", False)
    assert (await billing.call("GET", "/plans/pro", None, kind="public")).status_code == 404
    assert (await billing.call("GET", f"/plans/{unsold['id']}", None, kind="public")).status_code == 404
    listed = (await billing.call("GET", "/plans", None, kind="public")).json()["data"]
    assert "pro" not in {plan["slug"] for plan in listed}
    everything = (await admin(billing, "GET", "/plans?archived=true")).json()["data"]
    assert {"pro"} == {plan["slug"] for plan in everything} - {plan["slug"] for plan in listed}
    hidden = await billing.call("GET", "/plans?archived=true", tenant)
    assert (hidden.status_code, hidden.json()["code"]) == (403, "platform_admin_only")
    told = {event["slug"]: event["deleted"] for event in await billing.told("billing.plan.archived.v1")}
    assert told == {"pro": False, "unsold": True}
    assert len(await billing.told("billing.plan.archived.v1")) == 2, "archived once"
    changed = await admin(billing, "PATCH", f"/plans/{bought['id']}", json={"name": "x"})
    assert (changed.status_code, changed.json()["code"]) == (409, "plan_archived")
    again = await admin(billing, "POST", "/plans", json=PLAN)
    assert again.status_code == 201, "an archived plan gives its slug free"


async def test_a_purchase_under_way_keeps_its_plan(start: Start, tenant: UUID) -> None:
    """Whoever buys holds the plan; its deletion waits for them, and then finds the order."""
    billing = await start()
    plan = (await admin(billing, "POST", "/plans", json=PLAN)).json()
    chosen, written = asyncio.Event(), asyncio.Event()

    async def buy() -> None:
        async with transaction(billing.db, tenant) as conn:
            found, price = await choose_plan(conn, "pro", interval=Interval.MONTH, currency="BRL")
            chosen.set()
            await asyncio.sleep(0.3)  # the deletion is waiting by now
            assert not deletion.done()
            await an_order(conn, tenant, plan_id=found.id, price_id=price.id)
            written.set()

    async def withdraw() -> Any:
        await chosen.wait()
        return await admin(billing, "DELETE", "/plans/pro")

    deletion = asyncio.create_task(withdraw())
    await buy()
    assert (await deletion).status_code == 204
    assert written.is_set()
    kept = await billing.call("GET", f"/plans/{plan['id']}", None, kind="public")
    assert (kept.status_code, kept.json()["status"]) == (200, "archived")


async def test_a_purchase_that_comes_second_finds_no_plan(db: Database, tenant: UUID) -> None:
    """It read the plan before the deletion, and is told the truth once it holds it."""
    archiving = asyncio.Event()

    async def buy() -> None:
        async with transaction(db, tenant) as conn:
            await archiving.wait()
            with pytest.raises(Invalid) as refused:
                await choose_plan(conn, "essencial", interval=Interval.MONTH, currency="BRL")
            assert refused.value.code == "unknown_plan"

    purchase = asyncio.create_task(buy())
    async with platform_transaction(db) as conn:
        plan = await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, "essencial")
        assert plan is not None
        await store.plans.claim_plan(conn, plan.id)
        archiving.set()
        await asyncio.sleep(0.3)
        assert not purchase.done()
        await store.plans.delete_plan(conn, PLATFORM_TENANT_ID, plan.id)
    await purchase


@pytest.mark.parametrize(
    ("name", "interval", "currency", "code"),
    [
        ("nosuch", Interval.MONTH, "BRL", "unknown_plan"),
        ("01890000-0000-7000-8000-000000000000", Interval.MONTH, "BRL", "unknown_plan"),
        ("essencial", Interval.MONTH, "USD", "unknown_price"),
    ],
)
async def test_what_is_not_for_sale_has_no_price(
    db: Database, tenant: UUID, name: str, interval: Interval, currency: str, code: str
) -> None:
    async with transaction(db, tenant) as conn:
        with pytest.raises(Invalid) as refused:
            await choose_plan(conn, name, interval=interval, currency=currency)
        assert refused.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        {**PLAN, "slug": "Ümlaut"},
        {**PLAN, "slug": str(uuid4())},
        {**PLAN, "slug": ""},
        {**PLAN, "prices": [MONTHLY | {"amount_cents": 0}]},
        {**PLAN, "prices": [MONTHLY | {"amount_cents": -1}]},
        {**PLAN, "prices": [MONTHLY | {"amount_cents": 99.5}]},
        {**PLAN, "prices": [MONTHLY | {"interval": "week"}]},
        {**PLAN, "prices": [MONTHLY | {"currency": "brl"}]},
        {**PLAN, "prices": [MONTHLY, MONTHLY]},
        {**PLAN, "limits": {"agents": -1}},
        {**PLAN, "limits": {"agents": 1.5}},
        {**PLAN, "trial_days": 731},
        {**PLAN, "price": 1},
        {key: value for key, value in PLAN.items() if key != "name"},
    ],
)
async def test_a_plan_that_cannot_be_is_refused(start: Start, body: dict[str, Any]) -> None:
    billing = await start()
    refused = await admin(billing, "POST", "/plans", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert await billing.told("billing.plan.created.v1") == []


async def test_a_slug_is_sold_once(start: Start) -> None:
    billing = await start()
    assert (await admin(billing, "POST", "/plans", json=PLAN)).status_code == 201
    assert (await admin(billing, "POST", "/plans", json=PLAN)).status_code == 409
    assert (await admin(billing, "PATCH", "/plans/pro", json={"slug": "essencial"})).status_code == 409
    assert (await admin(billing, "PATCH", "/plans/pro", json={"slug": str(uuid4())})).status_code == 422
    moved = await admin(billing, "PATCH", "/plans/pro", json={"slug": "pro-2"})
    assert moved.json()["slug"] == "pro-2"
    for name in (
        "pro",
        "nosuch",
        str(uuid4()),
        "urn:uuid:" + moved.json()["id"],
        "{" + moved.json()["id"] + "}",
    ):
        bodies: list[tuple[str, dict[str, Any]]] = [("GET", {}), ("PATCH", {"json": {}}), ("DELETE", {})]
        for method, options in bodies:
            answer = await admin(billing, method, f"/plans/{name}", **options)
            assert answer.status_code in (404, 422), (method, name, answer.text)


async def test_plans_are_the_platforms_whatever_tenant_an_administrator_looks_at(start: Start, tenant: UUID) -> None:
    billing = await start()
    for key in ({}, {"Idempotency-Key": "k-1"}):
        body = {**PLAN, "slug": f"pro{len(key)}"}
        made = await billing.call("POST", "/plans", tenant, kind="platform_admin", json=body, headers=key)
        assert made.status_code == 201, made.text
        path = f"/plans/{made.json()['id']}"
        changed = await billing.call("PATCH", path, tenant, kind="platform_admin", json={"name": "x"})
        assert changed.status_code == 200
        assert (await billing.call("DELETE", path, tenant, kind="platform_admin")).status_code == 204


async def test_an_idempotency_key_creates_one_plan(start: Start) -> None:
    billing = await start()
    options = {"json": PLAN, "headers": {"Idempotency-Key": "k-1"}}
    first, second = [await admin(billing, "POST", "/plans", **options) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len(await billing.told("billing.plan.created.v1")) == 1


async def test_plans_are_read_page_by_page(start: Start) -> None:
    billing = await start()
    seen: list[str] = []
    cursor = None
    for _ in range(2):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await billing.call("GET", "/plans", None, kind="public", params=params)).json()
        seen += [plan["slug"] for plan in page["data"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (["essencial", "profissional", "empresarial", "enterprise"], None)


async def start_with(start: Start, stripe: FakeStripe) -> Any:
    return await start(STRIPE_SECRET_KEY="sk_test_fake", STRIPE_WEBHOOK_SECRET="whsec_fake", STRIPE_API_BASE=stripe.url)


async def test_a_push_makes_a_product_and_its_prices_once(start: Start) -> None:
    async with fake_stripe() as stripe:
        billing = await start_with(start, stripe)
        plan = (await admin(billing, "POST", "/plans", json=PLAN)).json()
        stripe.server.faulty = lambda request: request.path in ("/v1/products", "/v1/prices")
        stripe.server.faults = [Fault.DROP_REPLY, Fault.FAIL_500_AFTER]
        pushed = await admin(billing, "POST", "/plans/pro/push")
        assert pushed.status_code == 200, pushed.text
        again = await admin(billing, "POST", f"/plans/{plan['id']}/push")
        assert again.json() == pushed.json()
        assert all(price["external_id"].startswith("price_") for price in pushed.json()["prices"])
        assert (stripe.made("product"), stripe.made("price")) == (1, 2)
        await admin(billing, "PATCH", "/plans/pro", json={"prices": [MONTHLY | {"amount_cents": 1990}, YEARLY]})
        third = (await admin(billing, "POST", "/plans/pro/push", headers={"x-forwarded-for": "203.0.113.7"})).json()
        assert (stripe.made("product"), stripe.made("price")) == (1, 3), "only what is new is made"
        assert {price["amount_cents"]: bool(price["external_id"]) for price in third["prices"]} == {
            1990: True,
            99000: True,
        }
        [product] = stripe.world.all("product")
        assert product["name"] == "Pro"
        record = (await billing.told("billing.audit.recorded.v1"))[-1]
        assert (record["action"], record["context"]["location"]) == ("plan.pushed", "203.0.113.7")


async def test_a_plan_that_cannot_be_pushed_still_sells(start: Start) -> None:
    billing = await start()
    await admin(billing, "POST", "/plans", json=PLAN)
    refused = await admin(billing, "POST", "/plans/pro/push")
    assert (refused.status_code, refused.json()["code"]) == (409, "provider_misconfigured")
    async with fake_stripe() as stripe:
        away = await start_with(start, stripe)
        await admin(away, "POST", "/plans", json=PLAN)
        stripe.server.faulty = lambda request: request.path.startswith("/v1/products")
        stripe.server.faults = [Fault.REFUSE_429] * 3
        busy = await admin(away, "POST", "/plans/pro/push")
        assert (busy.status_code, busy.json()["code"]) == (503, "provider_unavailable")
        assert "retry-after" in busy.headers
        assert (await admin(away, "GET", "/plans/pro")).json()["prices"][0]["external_id"] is None
        assert (await admin(away, "POST", "/plans/pro/push")).status_code == 200
        await admin(away, "DELETE", "/plans/pro")
