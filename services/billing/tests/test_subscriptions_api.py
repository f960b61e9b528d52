"""Subscriptions over HTTP: their end, its being called off, and another plan, at each kind of provider."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.asaas_api import AsaasApi
from billing.domain.invoices import InvoiceStatus
from billing.domain.periods import add_interval
from billing.domain.providers import (
    CheckoutRequest,
    Interval,
    Method,
    Payer,
    PaymentState,
    PaymentStatus,
    Provider,
)
from billing.domain.subscriptions import Subscription, SubscriptionStatus, observe
from billing.stripe_api import StripeApi
from billing.usecases.hold_subscription import hold_subscription
from billing.usecases.lapse_change import lapse_change
from billing.usecases.receive_payment import receive_payment
from billing.usecases.save_subscription import save_subscription
from chassis.db import transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from testkit.fake_asaas import FakeAsaas
from testkit.fake_http import Fault
from testkit.fake_stripe import FakeStripe, fake_stripe

from .records import ESSENCIAL, a_payment, a_subscription, an_invoice

Start = Callable[..., Awaitable[Any]]


@pytest.fixture(name="start")
def without_schedulers(start: Start) -> Start:
    """Billing as its API alone: what happens is what a request did."""
    return functools.partial(start, ROLE="api")


PROFISSIONAL = "profissional"
OPERATIONS = [
    ("GET", "/subscriptions", None, "billing:read"),
    ("GET", "/subscriptions/{id}", None, "billing:read"),
    ("PATCH", "/subscriptions/{id}", {"cancel_at_period_end": True}, "billing:write"),
    ("POST", "/subscriptions/{id}/cancel", {}, "billing:write"),
    ("POST", "/subscriptions/{id}/resume", None, "billing:write"),
    ("POST", "/subscriptions/{id}/change-plan", {"plan": PROFISSIONAL}, "billing:write"),
]


def just_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


async def own(billing: Any, tenant: UUID, **fields: Any) -> Subscription:
    """A subscription whose cycle is ours, half way through its month of thirty days."""
    start = just_now() - timedelta(days=15)
    end = start + timedelta(days=30)
    fields = {"now": start, "current_period_end": end, "renews_at": end} | fields
    async with transaction(billing.db, tenant) as conn:
        return await a_subscription(conn, tenant, **fields)


async def read(billing: Any, tenant: UUID, subscription_id: UUID) -> Subscription:
    async with transaction(billing.db, tenant) as conn:
        row: Subscription = await store.subscriptions.get_subscription(conn, tenant, subscription_id)
        return row


async def test_nobody_passes_without_identity_permission_and_tenant(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    for method, template, body, permission in OPERATIONS:
        path = template.format(id=row.id)
        options = {} if body is None else {"json": body}
        assert (await billing.http.request(method, path, **options)).status_code == 401, (method, path)
        refused = await billing.call(method, path, tenant, "some:other", **options)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_permission"), (method, path)
        assert (await billing.call(method, path, None, permission, **options)).status_code == 400, (method, path)
        if "{" in template:
            assert (await billing.call(method, path, uuid4(), permission, **options)).status_code == 404, (method, path)
            unknown = template.format(id=uuid4())
            assert (await billing.call(method, unknown, tenant, permission, **options)).status_code == 404
        else:
            assert (await billing.call(method, path, uuid4(), permission)).json() == {"data": [], "next_cursor": None}
    assert await read(billing, tenant, row.id) == row


async def test_subscriptions_are_listed_newest_first(start: Start, tenant: UUID) -> None:
    billing = await start()
    rows = [await own(billing, tenant, now=just_now() - timedelta(days=n), renews_at=None) for n in (3, 2, 1)]
    first = (await billing.call("GET", "/subscriptions?limit=2", tenant, "billing:read")).json()
    assert [one["id"] for one in first["data"]] == [str(rows[2].id), str(rows[1].id)]
    rest = await billing.call("GET", f"/subscriptions?cursor={first['next_cursor']}", tenant)
    assert ([one["id"] for one in rest.json()["data"]], rest.json()["next_cursor"]) == ([str(rows[0].id)], None)
    assert (await billing.call("GET", "/subscriptions?status=paused", tenant)).json()["data"] == []
    assert len((await billing.call("GET", "/subscriptions?status=active", tenant)).json()["data"]) == 3
    for query in ("status=odd", "limit=0", "limit=101", "unknown=1"):
        assert (await billing.call("GET", f"/subscriptions?{query}", tenant)).status_code == 400, query
    assert (await billing.call("GET", "/subscriptions?cursor=forged", tenant)).status_code == 422
    one = (await billing.call("GET", f"/subscriptions/{rows[0].id}", tenant)).json()
    assert (one["plan_slug"], one["amount_cents"], one["status"], one["tenant_id"]) == (
        "essencial",
        24700,
        "active",
        str(tenant),
    )


# A cycle of our own


async def test_an_own_cycle_ends_with_its_period_or_goes_on(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    async with transaction(billing.db, tenant) as conn:
        owed = await an_invoice(conn, tenant, customer_id=row.customer_id, subscription_id=row.id)
    path = f"/subscriptions/{row.id}"
    leaving = await billing.call("POST", f"{path}/cancel", tenant, json={})
    assert (leaving.status_code, leaving.json()["status"], leaving.json()["cancel_at_period_end"]) == (
        200,
        "active",
        True,
    )
    assert (await billing.call("POST", f"{path}/cancel", tenant, json={})).json() == leaving.json()
    async with transaction(billing.db, tenant) as conn:
        assert (await store.invoices.get_invoice(conn, tenant, owed.id)).status is InvoiceStatus.VOID
    stored = await read(billing, tenant, row.id)
    assert (stored.renews_at, stored.cancel_reason) == (row.current_period_end, "requested"), "the scheduler ends it"
    back = await billing.call("PATCH", path, tenant, json={"cancel_at_period_end": False})
    assert (back.status_code, back.json()["cancel_at_period_end"], back.json()["cancel_reason"]) == (200, False, None)
    assert (await billing.call("POST", f"{path}/resume", tenant)).json() == back.json()
    told = await billing.told("billing.subscription.changed.v1")
    assert [event["cancel_at_period_end"] for event in told] == [True, False]
    records = await billing.told("billing.audit.recorded.v1")
    assert [record["action"] for record in records] == ["subscription.cancelled", "subscription.resumed"]


async def test_an_own_cycle_ends_now_for_good(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    path = f"/subscriptions/{row.id}"
    ended = await billing.call("POST", f"{path}/cancel", tenant, json={"at_period_end": False})
    assert (ended.status_code, ended.json()["status"], ended.json()["cancel_reason"]) == (200, "cancelled", "requested")
    for body in ({"at_period_end": False}, {"at_period_end": True}):
        assert (await billing.call("POST", f"{path}/cancel", tenant, json=body)).json() == ended.json()
    for verb in ("resume", "change-plan"):
        options = {"json": {"plan": PROFISSIONAL}} if verb == "change-plan" else {}
        assert (await billing.call("POST", f"{path}/{verb}", tenant, **options)).status_code == 409, verb
    [told] = await billing.told("billing.subscription.cancelled.v1")
    assert told["reason"] == "requested"


@pytest.mark.parametrize(
    ("fields", "verb", "body", "code"),
    [
        ({"status": "incomplete"}, "cancel", {}, "no_period"),
        ({"current_period_end": None, "renews_at": None}, "cancel", {}, "no_period"),
        ({"status": "paused"}, "resume", None, "not_running"),
        ({"status": "suspended"}, "resume", None, "not_running"),
        ({"status": "past_due"}, "change-plan", {"plan": PROFISSIONAL}, "not_running"),
        ({"cancel_at_period_end": True}, "change-plan", {"plan": PROFISSIONAL}, "ends_with_period"),
    ],
)
async def test_what_the_state_forbids(
    start: Start, tenant: UUID, fields: dict[str, Any], verb: str, body: dict[str, Any] | None, code: str
) -> None:
    billing = await start()
    if "status" in fields:
        fields["status"] = SubscriptionStatus(fields["status"])
        fields["past_due_since"] = just_now()
    row = await own(billing, tenant, **fields)
    options = {} if body is None else {"json": body}
    refused = await billing.call("POST", f"/subscriptions/{row.id}/{verb}", tenant, **options)
    assert (refused.status_code, refused.json()["code"]) == (409, code)
    assert await read(billing, tenant, row.id) == row


async def pay(billing: Any, tenant: UUID, invoice_id: str) -> None:
    """The invoice's payer pays it, by whatever means."""
    now = just_now()
    async with transaction(billing.db, tenant) as conn:
        invoice = await store.invoices.get_invoice(conn, tenant, UUID(invoice_id))
        payment = await a_payment(conn, tenant, invoice, status=PaymentStatus.PENDING, paid_at=None, now=now)
        seen = PaymentState(
            external_id=payment.external_id or "",
            status=PaymentStatus.PAID,
            amount_cents=payment.amount_cents,
            currency=payment.currency,
            method=Method.PIX,
            paid_at=now,
        )
        await receive_payment(conn, tenant, payment.id, seen, asked_at=now, now=now)


async def test_an_own_cycle_is_upgraded_once_the_difference_is_paid(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    asked = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
    assert asked.status_code == 200, asked.text
    assert (asked.json()["plan_slug"], asked.json()["next_plan_id"] is None) == ("essencial", False)
    again = await billing.call("POST", path, tenant, json={"plan_id": asked.json()["next_plan_id"]})
    assert again.json()["invoice_id"] == asked.json()["invoice_id"], "a double click owes once"
    async with transaction(billing.db, tenant) as conn:
        invoice = await store.invoices.get_invoice(conn, tenant, UUID(asked.json()["invoice_id"]))
    assert invoice.amount_cents == (58000 - 24700) // 2, "half the days are left"
    assert (invoice.plan_slug, invoice.period_end) == (PROFISSIONAL, row.current_period_end)
    await pay(billing, tenant, asked.json()["invoice_id"])
    after = await read(billing, tenant, row.id)
    assert (after.plan_slug, after.amount_cents, after.next_plan_id) == (PROFISSIONAL, 58000, None)
    assert (after.current_period_end, after.renews_at) == (row.current_period_end, row.renews_at)
    [told] = await billing.told("billing.subscription.changed.v1")
    assert (told["previous_plan"]["plan_slug"], told["plan"]["plan_slug"]) == ("essencial", PROFISSIONAL)


async def test_a_change_that_nobody_paid_is_void_once_another_is_asked_for(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    first = (await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})).json()["invoice_id"]
    second = (await billing.call("POST", path, tenant, json={"plan": "empresarial"})).json()["invoice_id"]
    kept = (await billing.call("POST", path, tenant, json={"plan": "essencial"})).json()
    assert (kept["next_plan_id"], kept["invoice_id"], kept["plan_slug"]) == (None, None, "essencial")
    async with transaction(billing.db, tenant) as conn:
        for invoice_id in (first, second):
            assert (await store.invoices.get_invoice(conn, tenant, UUID(invoice_id))).status is InvoiceStatus.VOID
    await pay(billing, tenant, first)
    assert (await read(billing, tenant, row.id)).plan_slug == "essencial", "late money is for review, not for a plan"


async def test_an_upgrade_that_nobody_pays_lapses_with_the_period(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    asked = (await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})).json()
    async with transaction(billing.db, tenant) as conn:
        current = await hold_subscription(conn, tenant, row.id)
        kept = await lapse_change(conn, current, now=just_now())
        assert (kept.plan_slug, kept.next_plan_id) == ("essencial", None)
        assert (await store.invoices.get_invoice(conn, tenant, UUID(asked["invoice_id"]))).status is InvoiceStatus.VOID
        assert await lapse_change(conn, kept, now=just_now()) is kept
    await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL, "when": "period_end"})
    async with transaction(billing.db, tenant) as conn:
        waiting = await hold_subscription(conn, tenant, row.id)
        assert await lapse_change(conn, waiting, now=just_now()) is waiting, "that one waits for the period's end"


async def test_an_own_cycle_takes_a_year_or_a_cheaper_plan(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    yearly = (await billing.call("POST", path, tenant, json={"plan": "essencial", "interval": "year"})).json()
    async with transaction(billing.db, tenant) as conn:
        invoice = await store.invoices.get_invoice(conn, tenant, UUID(yearly["invoice_id"]))
    assert invoice.amount_cents == 236400 - 12350
    await pay(billing, tenant, yearly["invoice_id"])
    after = await read(billing, tenant, row.id)
    assert (after.interval, after.amount_cents) == (Interval.YEAR, 236400)
    assert after.current_period_start == invoice.period_start
    assert after.current_period_end == add_interval(invoice.period_start or just_now(), Interval.YEAR)
    monthly = await billing.call("POST", path, tenant, json={"plan": "essencial", "interval": "month"})
    assert (monthly.json()["invoice_id"], monthly.json()["interval"]) == (None, "year")
    assert monthly.json()["next_plan_id"] == str(ESSENCIAL)
    async with transaction(billing.db, tenant) as conn:
        before = await hold_subscription(conn, tenant, row.id)
        end = before.current_period_end
        assert end is not None
        turned = msgspec.structs.replace(before, current_period_start=end, version=before.version + 1)
        saved = await save_subscription(conn, before, turned, now=end)
    assert (saved.interval, saved.amount_cents, saved.next_plan_id) == (Interval.MONTH, 24700, None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"plan": "nosuch"}, 422, "unknown_plan"),
        ({"plan": str(uuid4())}, 422, "unknown_plan"),
        ({}, 422, "invalid"),
        ({"plan": PROFISSIONAL, "plan_id": str(uuid4())}, 422, "invalid"),
        ({"plan": PROFISSIONAL, "when": "later"}, 422, "invalid"),
        ({"plan": PROFISSIONAL, "amount_cents": 1}, 422, "invalid"),
        ({"plan": PROFISSIONAL, "proration": "none"}, 403, "unpaid_upgrade"),
        ({"plan": PROFISSIONAL, "proration": "next_invoice"}, 422, "invalid"),
    ],
)
async def test_a_change_that_cannot_be_is_refused(
    start: Start, tenant: UUID, body: dict[str, Any], status: int, code: str
) -> None:
    billing = await start()
    row = await own(billing, tenant)
    refused = await billing.call("POST", f"/subscriptions/{row.id}/change-plan", tenant, json=body)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert await read(billing, tenant, row.id) == row


async def test_the_platform_may_give_a_plan(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    body = {"plan": PROFISSIONAL, "proration": "none"}
    given = await billing.call("POST", path, tenant, kind="platform_admin", json=body)
    assert (given.status_code, given.json()["plan_slug"], given.json()["invoice_id"]) == (200, PROFISSIONAL, None)


# Stripe


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as fake:
        yield fake


async def with_stripe(start: Start, stripe: FakeStripe) -> Any:
    return await start(STRIPE_SECRET_KEY="sk_test_fake", STRIPE_WEBHOOK_SECRET="whsec_fake", STRIPE_API_BASE=stripe.url)


async def at_stripe(billing: Any, stripe: FakeStripe, tenant: UUID, **fields: Any) -> Subscription:
    """A subscription that was bought at Stripe's page, as billing knows it afterwards."""
    request = CheckoutRequest(
        reference=uuid4(),
        plan_slug="essencial",
        title="Essencial",
        description="",
        amount_cents=24700,
        currency="BRL",
        interval=Interval.MONTH,
        trial_days=0,
        payer=Payer(email="ana@example.com"),
        success_url="https://example.com/ok",
        cancel_url="https://example.com/no",
    )
    async with StripeApi("sk_test_fake", base_url=stripe.url) as api:
        page = await api.create_checkout(request, key=f"checkout-{request.reference}")
        stripe.pay(page.external_id)
        found = await api.get_checkout(page.external_id)
        assert found.subscription_external_id is not None
        asked_at = just_now()
        seen = await api.get_subscription(found.subscription_external_id)
    async with transaction(billing.db, tenant) as conn:
        row = await a_subscription(conn, tenant, now=asked_at, external_id=seen.external_id, **fields)
        return await save_subscription(conn, row, observe(row, seen, asked_at=asked_at, now=asked_at), now=asked_at)


def theirs(stripe: FakeStripe, row: Subscription) -> dict[str, Any]:
    found: dict[str, Any] = stripe.world.get("subscription", row.external_id or "")
    return found


async def test_stripe_ends_it_with_its_period_or_not(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant)
    path = f"/subscriptions/{row.id}"
    stripe.server.faulty = lambda request: request.method == "POST" and "/subscriptions/" in request.path
    stripe.server.faults = [Fault.DROP_REPLY, Fault.FAIL_500_AFTER]
    answers = await asyncio.gather(
        *(billing.call("POST", f"{path}/cancel", tenant, json={}) for _ in range(3)),
    )
    assert [answer.status_code for answer in answers] == [200] * 3, [answer.text for answer in answers]
    assert all(answer.json()["cancel_at_period_end"] for answer in answers)
    assert theirs(stripe, row)["cancel_at_period_end"]
    back = await billing.call("POST", f"{path}/resume", tenant)
    assert (back.status_code, back.json()["cancel_at_period_end"], back.json()["cancel_reason"]) == (200, False, None)
    assert not theirs(stripe, row)["cancel_at_period_end"]
    again = await billing.call("PATCH", path, tenant, json={"cancel_at_period_end": True})
    assert again.json()["cancel_at_period_end"], "a wish that comes back is asked anew"
    assert theirs(stripe, row)["cancel_at_period_end"]
    told = await billing.told("billing.subscription.changed.v1")
    assert [event["cancel_at_period_end"] for event in told] == [True, False, True]


async def test_stripe_ends_it_now(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant)
    path = f"/subscriptions/{row.id}/cancel"
    stripe.server.faulty = lambda request: request.method == "DELETE"
    stripe.server.faults = [Fault.REFUSE_429] * 3
    busy = await billing.call("POST", path, tenant, json={"at_period_end": False})
    assert (busy.status_code, busy.json()["code"]) == (503, "provider_unavailable")
    assert (await read(billing, tenant, row.id)).status is SubscriptionStatus.ACTIVE
    ended = await billing.call("POST", path, tenant, json={"at_period_end": False})
    assert (ended.status_code, ended.json()["status"], ended.json()["cancel_reason"]) == (200, "cancelled", "requested")
    assert theirs(stripe, row)["status"] == "canceled"
    [told] = await billing.told("billing.subscription.cancelled.v1")
    assert told["reason"] == "requested"


@pytest.mark.parametrize("at_period_end", [False, True])
async def test_what_stripe_has_ended_already_is_ended_here(
    start: Start, tenant: UUID, stripe: FakeStripe, at_period_end: bool
) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant)
    stripe.cancel(row.external_id or "")
    ended = await billing.call("POST", f"/subscriptions/{row.id}/cancel", tenant, json={"at_period_end": at_period_end})
    assert (ended.status_code, ended.json()["status"]) == (200, "cancelled"), ended.text
    refused = await billing.call("POST", f"/subscriptions/{row.id}/resume", tenant)
    assert (refused.status_code, refused.json()["code"]) == (409, "subscription_ended")


async def test_a_resume_that_comes_too_late_says_so(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant)
    await billing.call("POST", f"/subscriptions/{row.id}/cancel", tenant, json={})
    stripe.cancel(row.external_id or "")
    late = await billing.call("POST", f"/subscriptions/{row.id}/resume", tenant)
    assert (late.status_code, late.json()["code"]) == (409, "subscription_ended"), late.text
    assert (await read(billing, tenant, row.id)).status is SubscriptionStatus.CANCELLED


async def test_what_stripe_does_not_know_has_ended(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    async with transaction(billing.db, tenant) as conn:
        row = await a_subscription(conn, tenant, external_id="sub_gone", now=just_now())
    ended = await billing.call("POST", f"/subscriptions/{row.id}/cancel", tenant, json={"at_period_end": False})
    assert (ended.status_code, ended.json()["status"]) == (200, "cancelled"), ended.text


async def test_an_upgrade_at_stripe_is_paid_at_once_or_changes_nothing(
    start: Start, tenant: UUID, stripe: FakeStripe
) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    stripe.world.declines = True
    declined = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
    assert (declined.status_code, declined.json()["code"]) == (422, "provider_refused"), declined.text
    assert (await read(billing, tenant, row.id)).plan_slug == "essencial"
    stripe.world.declines = False
    stripe.server.faulty = lambda request: request.method == "POST" and "/subscriptions/" in request.path
    stripe.server.faults = [Fault.DROP_REPLY]
    moved = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
    assert (moved.status_code, moved.json()["plan_slug"], moved.json()["amount_cents"]) == (200, PROFISSIONAL, 58000)
    assert (moved.json()["invoice_id"], moved.json()["next_plan_id"]) == (None, None)
    item = theirs(stripe, row)["items"]["data"][0]
    assert item["price"]["unit_amount"] == 58000
    async with transaction(billing.db, PLATFORM_TENANT_ID) as conn:
        price = await store.plans.find_price(conn, PLATFORM_TENANT_ID, UUID(moved.json()["price_id"]))
    assert price is not None
    assert price.price_external_id == item["price"]["id"], "a webhook that comes first finds the plan by its price"
    bills = [one for one in stripe.world.all("invoice") if one["billing_reason"] == "subscription_update"]
    assert len(bills) == 1
    same = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
    assert same.json() == moved.json()
    assert len(list(stripe.world.all("invoice"))) == 2, "the first, and the difference once"
    assert len(await billing.told("billing.subscription.changed.v1")) == 1


async def test_a_downgrade_at_stripe_waits_and_can_be_called_off(
    start: Start, tenant: UUID, stripe: FakeStripe
) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    await billing.call("POST", path, tenant, json={"plan": "empresarial"})
    lower = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
    assert (lower.json()["plan_slug"], lower.json()["next_plan_id"] is not None) == ("empresarial", True), lower.text
    assert theirs(stripe, row)["items"]["data"][0]["price"]["unit_amount"] == 58000, "from the next invoice on"
    called_off = await billing.call("POST", path, tenant, json={"plan": "empresarial"})
    assert (called_off.json()["plan_slug"], called_off.json()["next_plan_id"]) == ("empresarial", None)
    assert theirs(stripe, row)["items"]["data"][0]["price"]["unit_amount"] == 124700
    await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
    invoice = stripe.renew(row.external_id or "")
    assert invoice["amount_due"] == 58000
    async with StripeApi("sk_test_fake", base_url=stripe.url) as api:
        seen = await api.get_subscription(row.external_id or "")
    async with transaction(billing.db, tenant) as conn:
        before = await hold_subscription(conn, tenant, row.id)
        at = datetime.now(UTC)
        after = await save_subscription(conn, before, observe(before, seen, asked_at=at, now=at), now=at)
    assert (after.plan_slug, after.amount_cents, after.next_plan_id) == (PROFISSIONAL, 58000, None)


async def test_a_refused_downgrade_leaves_nothing_waiting(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant, item_external_id=None)
    async with transaction(billing.db, tenant) as conn:
        broken = msgspec.structs.replace(row, item_external_id="si_unknown")
        await store.subscriptions.update_subscription(conn, tenant, broken)
    path = f"/subscriptions/{row.id}/change-plan"
    refused = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL, "when": "period_end"})
    assert (refused.status_code, refused.json()["code"]) == (422, "provider_refused"), refused.text
    assert (await read(billing, tenant, row.id)).next_plan_id is None


async def test_a_year_at_stripe_begins_at_once(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await at_stripe(billing, stripe, tenant)
    path = f"/subscriptions/{row.id}/change-plan"
    later = {"plan": "essencial", "interval": "year", "when": "period_end"}
    refused = await billing.call("POST", path, tenant, json=later)
    assert (refused.status_code, refused.json()["code"]) == (409, "interval_begins_now")
    yearly = await billing.call("POST", path, tenant, json={"plan": "essencial", "interval": "year"})
    assert (yearly.status_code, yearly.json()["interval"], yearly.json()["amount_cents"]) == (200, "year", 236400)
    end = datetime.fromisoformat(yearly.json()["current_period_end"])
    assert end > just_now() + timedelta(days=360)


# Asaas


async def at_asaas(billing: Any, asaas: FakeAsaas, tenant: UUID) -> tuple[Subscription, str]:
    """A subscription that runs at Asaas, and the payment of its next period that Asaas has made early."""
    request = CheckoutRequest(
        reference=uuid4(),
        plan_slug="essencial",
        title="Essencial",
        description="",
        amount_cents=24700,
        currency="BRL",
        interval=Interval.MONTH,
        trial_days=0,
        payer=Payer(email="ana@example.com", name="Ana", tax_id="52998224725"),
        success_url="https://example.com/ok",
        cancel_url="https://example.com/no",
    )
    now = just_now()
    start = now - timedelta(days=15)
    async with AsaasApi(asaas.api_key, base_url=asaas.url) as api:
        page = await api.create_checkout(request, key="k")
        [first] = await api.list_subscription_payments(page.external_id)
        asaas.pay(first.external_id)
    due = asaas.renew(page.external_id)
    async with transaction(billing.db, tenant) as conn:
        row = await a_subscription(
            conn,
            tenant,
            now=start,
            order={"provider": Provider.ASAAS},
            external_id=page.external_id,
            current_period_end=start + timedelta(days=30),
        )
        invoice = await an_invoice(
            conn,
            tenant,
            customer_id=row.customer_id,
            subscription_id=row.id,
            plan_id=row.plan_id,
            provider=Provider.ASAAS,
            external_id=due,
            period_start=row.current_period_end,
        )
        await a_payment(
            conn,
            tenant,
            invoice,
            external_id=due,
            status=PaymentStatus.PENDING,
            paid_at=None,
            due_on=date(2026, 6, 1),
        )
    return row, due


async def with_asaas(start: Start, asaas: FakeAsaas) -> Any:
    return await start(
        ASAAS_API_KEY=asaas.api_key,
        ASAAS_WEBHOOK_TOKEN="whk_0123456789abcdef0123456789abcdef",
        ASAAS_API_BASE=asaas.url,
    )


async def test_asaas_makes_no_more_payments_and_the_paid_time_goes_on(start: Start, tenant: UUID) -> None:
    async with FakeAsaas() as asaas:
        billing = await with_asaas(start, asaas)
        row, due = await at_asaas(billing, asaas, tenant)
        path = f"/subscriptions/{row.id}"
        leaving = await billing.call("POST", f"{path}/cancel", tenant, json={})
        assert (leaving.status_code, leaving.json()["status"], leaving.json()["cancel_at_period_end"]) == (
            200,
            "active",
            True,
        ), leaving.text
        assert asaas.payment(due)["deleted"], "what was due is not asked for any more"
        stored = await read(billing, tenant, row.id)
        assert stored.renews_at == row.current_period_end, "the scheduler ends it then"
        async with transaction(billing.db, tenant) as conn:
            owed = await store.invoices.list_invoices(conn, tenant, before=None, limit=9, status="pending")
        assert owed == []
        assert (await billing.call("POST", f"{path}/cancel", tenant, json={})).json() == leaving.json()
        late = await billing.call("POST", f"{path}/resume", tenant)
        assert (late.status_code, late.json()["code"]) == (409, "subscription_ended")
        ended = await billing.call("POST", f"{path}/cancel", tenant, json={"at_period_end": False})
        assert (ended.status_code, ended.json()["status"]) == (200, "cancelled"), ended.text


async def test_a_plan_at_asaas_changes_what_the_coming_payments_cost(start: Start, tenant: UUID) -> None:
    async with FakeAsaas() as asaas:
        billing = await with_asaas(start, asaas)
        row, due = await at_asaas(billing, asaas, tenant)
        path = f"/subscriptions/{row.id}/change-plan"
        year = await billing.call("POST", path, tenant, json={"plan": "essencial", "interval": "year"})
        assert (year.status_code, year.json()["code"]) == (409, "same_interval")
        asked = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
        assert (asked.status_code, asked.json()["plan_slug"]) == (200, "essencial"), asked.text
        assert asaas.payment(due)["value"] == 580.0
        async with transaction(billing.db, tenant) as conn:
            invoices = await store.invoices.list_invoices(conn, tenant, before=None, limit=9, status="pending")
            payments = await store.payments.list_payments(conn, tenant, before=None, limit=9)
        amounts = {invoice.external_id: invoice.amount_cents for invoice in invoices}
        assert amounts == {due: 58000, None: (58000 - 24700) // 2}
        assert [payment.amount_cents for payment in payments] == [58000], "what Asaas will report fits"
        unpaid = (await billing.call("POST", path, tenant, json={"plan": "essencial"})).json()
        assert (unpaid["next_plan_id"], asaas.payment(due)["value"]) == (None, 247.0)
        asked = await billing.call("POST", path, tenant, json={"plan": PROFISSIONAL})
        await pay(billing, tenant, asked.json()["invoice_id"])
        after = await read(billing, tenant, row.id)
        assert (after.plan_slug, after.next_plan_id, after.current_period_end) == (
            PROFISSIONAL,
            None,
            row.current_period_end,
        )
        lower = await billing.call("POST", path, tenant, json={"plan": "essencial"})
        assert (lower.json()["plan_slug"], lower.json()["next_plan_id"]) == (PROFISSIONAL, str(ESSENCIAL))
        assert asaas.payment(due)["value"] == 247.0


async def test_the_next_period_at_asaas_brings_a_plan_that_was_not_paid_before(start: Start, tenant: UUID) -> None:
    async with FakeAsaas() as asaas:
        billing = await with_asaas(start, asaas)
        row, _ = await at_asaas(billing, asaas, tenant)
        asked = await billing.call("POST", f"/subscriptions/{row.id}/change-plan", tenant, json={"plan": PROFISSIONAL})
        async with transaction(billing.db, tenant) as conn:
            before = await hold_subscription(conn, tenant, row.id)
            turned = msgspec.structs.replace(before, current_period_start=before.current_period_end)
            after = await save_subscription(conn, before, turned, now=just_now())
            invoice = await store.invoices.get_invoice(conn, tenant, UUID(asked.json()["invoice_id"]))
        assert (after.plan_slug, after.next_plan_id) == (PROFISSIONAL, None)
        assert invoice.status is InvoiceStatus.VOID, "the days before are over"
