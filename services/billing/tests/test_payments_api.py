"""Payments over HTTP, and refunds: however often it is asked, no more goes back than was paid, and all is known."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.asaas_api import AsaasApi
from billing.domain.customers import SoldBy
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import OrderStatus
from billing.domain.payments import Payment
from billing.domain.providers import ChargeRequest, CheckoutRequest, Method, Payer, PaymentStatus, Provider
from billing.domain.subscriptions import SubscriptionStatus
from billing.pagbank_api import PagBankApi
from billing.stripe_api import StripeApi
from billing.usecases.receive_payment import receive_payment
from chassis.db import transaction
from testkit.fake_asaas import FakeAsaas
from testkit.fake_http import Fault
from testkit.fake_pagbank import FakePagBank
from testkit.fake_stripe import Crash, FakeStripe, fake_stripe

from .records import a_customer, a_paid_invoice, a_payment, a_subscription, an_invoice, an_order

Start = Callable[..., Awaitable[Any]]


@pytest.fixture(name="start")
def without_schedulers(start: Start) -> Start:
    """Billing as its API alone: what happens is what a request did."""
    return functools.partial(start, ROLE="api")


OPERATIONS: list[tuple[str, str, Any, str]] = [
    ("GET", "/payments", None, "billing:read"),
    ("GET", "/payments/{id}", None, "billing:read"),
    ("POST", "/payments/{id}/refund", {}, "payments:refund"),
]


def just_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as fake:
        yield fake


async def refresh(billing: Any, tenant: UUID, row: Payment, stripe: FakeStripe) -> None:
    """Takes in how Stripe has the payment now, as one of its webhooks makes us."""
    async with StripeApi("sk_test_fake", base_url=stripe.url) as api:
        asked_at = datetime.now(UTC)
        seen = await api.get_payment(row.external_id or "")
    async with transaction(billing.db, tenant) as conn:
        await receive_payment(conn, tenant, row.id, seen, asked_at=asked_at, now=asked_at)


async def with_stripe(start: Start, stripe: FakeStripe) -> Any:
    return await start(STRIPE_SECRET_KEY="sk_test_fake", STRIPE_WEBHOOK_SECRET="whsec_fake", STRIPE_API_BASE=stripe.url)


async def bought(billing: Any, tenant: UUID, external_id: str, **fields: Any) -> Payment:
    """A paid order with its invoice, and the payment under that id, of what the tenant sold (or, so said, bought)."""
    now = just_now()
    sold_by = fields.pop("sold_by", SoldBy.TENANT)
    provider = fields.pop("provider", Provider.STRIPE)
    async with transaction(billing.db, tenant) as conn:
        order = await an_order(
            conn, tenant, now=now, status=OrderStatus.PAID, paid_at=now, sold_by=sold_by, provider=provider
        )
        invoice = await a_paid_invoice(conn, tenant, now=now, order=order)
        return await a_payment(conn, tenant, invoice, now=now, external_id=external_id, **fields)


async def paid_at_stripe(stripe: FakeStripe, amount_cents: int = 24700) -> str:
    """Stripe's id of a payment that somebody made there."""
    request = CheckoutRequest(
        reference=uuid4(),
        plan_slug="essencial",
        title="Essencial",
        description="",
        amount_cents=amount_cents,
        currency="BRL",
        interval=None,
        trial_days=0,
        payer=Payer(email="ana@example.com"),
        success_url="https://example.com/ok",
        cancel_url="https://example.com/no",
    )
    async with StripeApi("sk_test_fake", base_url=stripe.url) as api:
        page = await api.create_checkout(request, key=f"checkout-{request.reference}")
        stripe.pay(page.external_id)
        found = await api.get_checkout(page.external_id)
    assert found.payment_external_id is not None
    return found.payment_external_id


async def sale(billing: Any, stripe: FakeStripe, tenant: UUID, **fields: Any) -> Payment:
    return await bought(billing, tenant, await paid_at_stripe(stripe), **fields)


async def refunds_of(billing: Any, tenant: UUID, payment: Payment) -> list[tuple[str, int]]:
    async with transaction(billing.db, tenant) as conn:
        rows = await store.refunds.list_refunds(conn, tenant, payment.id)
    return [(row.status.value, row.amount_cents) for row in rows]


def refunded(stripe: FakeStripe) -> list[int]:
    """What went back at Stripe, the oldest first."""
    return [refund["amount"] for refund in reversed(list(stripe.world.all("refund")))]


async def test_nobody_passes_without_identity_permission_and_tenant(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await bought(billing, tenant, "pi_1")
    for method, template, body, permission in OPERATIONS:
        path = template.format(id=row.id)
        options = {} if body is None else {"json": body}
        assert (await billing.http.request(method, path, **options)).status_code == 401, (method, path)
        refused = await billing.call(method, path, tenant, "billing:write", **options)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_permission"), (method, path)
        assert (await billing.call(method, path, None, permission, **options)).status_code == 400, (method, path)
        if "{" in template:
            assert (await billing.call(method, path, uuid4(), permission, **options)).status_code == 404, (method, path)
            unknown = template.format(id=uuid4())
            assert (await billing.call(method, unknown, tenant, permission, **options)).status_code == 404
        else:
            assert (await billing.call(method, path, uuid4(), permission)).json() == {"data": [], "next_cursor": None}
    assert await refunds_of(billing, tenant, row) == []


async def test_payments_are_listed_newest_first(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        invoice = await an_invoice(conn, tenant)
        other = await an_invoice(conn, tenant)
        tries = [
            await a_payment(
                conn, tenant, invoice, now=just_now() + timedelta(seconds=n), status=PaymentStatus.FAILED, paid_at=None
            )
            for n in range(3)
        ]
        paid = await a_payment(conn, tenant, other, now=just_now() - timedelta(days=1), raw={"secret": "x"})
    first = (await billing.call("GET", "/payments?limit=2", tenant, "billing:read")).json()
    assert [one["id"] for one in first["data"]] == [str(tries[2].id), str(tries[1].id)]
    rest = (await billing.call("GET", f"/payments?cursor={first['next_cursor']}", tenant)).json()
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == ([str(tries[0].id), str(paid.id)], None)
    found = await billing.call("GET", f"/payments?status=paid&invoice_id={other.id}", tenant)
    assert [one["id"] for one in found.json()["data"]] == [str(paid.id)]
    assert "secret" not in found.text, "the provider's own object stays here"
    for query in ("status=odd", "limit=0", "invoice_id=x", "unknown=1"):
        assert (await billing.call("GET", f"/payments?{query}", tenant)).status_code == 400, query
    one = (await billing.call("GET", f"/payments/{paid.id}", tenant)).json()
    assert (one["status"], one["method"], one["refunds"]) == ("paid", "card", [])


async def test_a_whole_refund_is_known_everywhere(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    path = f"/payments/{row.id}/refund"
    given = await billing.call("POST", path, tenant, "payments:refund", json={"reason": "arrependimento"})
    assert given.status_code == 201, given.text
    answer = given.json()
    assert (answer["status"], answer["amount_cents"], answer["reason"]) == ("done", 24700, "arrependimento")
    assert (answer["payment"]["status"], answer["payment"]["refunded_cents"]) == ("refunded", 24700)
    assert answer["external_id"].startswith("re_")
    again = await billing.call("POST", path, tenant, json={"reason": "arrependimento"})
    assert again.json() == answer, "all that was left is back already"
    more = await billing.call("POST", path, tenant, json={"amount_cents": 1})
    assert (more.status_code, more.json()["code"]) == (409, "already_refunded")
    assert refunded(stripe) == [24700]
    async with transaction(billing.db, tenant) as conn:
        invoice = await store.invoices.get_invoice(conn, tenant, row.invoice_id)
        assert row.order_id is not None
        order = await store.orders.get_order(conn, tenant, row.order_id)
        timeline = [entry.kind for entry in await store.orders.list_entries(conn, tenant, order.id)]
    assert (invoice.status, invoice.refunded_cents) == (InvoiceStatus.REFUNDED, 24700)
    assert order.status is OrderStatus.REFUNDED
    assert {"refund_requested", "refunded"} <= set(timeline)
    [told] = await billing.told("billing.payment.refunded.v1")
    assert (told["amount_refunded_cents"], told["refunded_cents"]) == (24700, 24700)
    assert len(await billing.told("billing.order.refunded.v1")) == 1
    [record] = await billing.told("billing.audit.recorded.v1")
    assert (record["action"], record["metadata"]["amount_cents"]) == ("payment.refund_requested", 24700)
    detail = (await billing.call("GET", f"/payments/{row.id}", tenant)).json()
    assert [one["status"] for one in detail["refunds"]] == ["done"]


async def test_refunds_in_parts_never_pass_the_whole(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    path = f"/payments/{row.id}/refund"
    part = await billing.call("POST", path, tenant, json={"amount_cents": 700})
    assert (part.status_code, part.json()["payment"]["status"]) == (201, "partially_refunded")
    second = await billing.call("POST", path, tenant, json={"amount_cents": 700})
    assert second.json()["id"] != part.json()["id"], "the first was over: this is another one"
    over = await billing.call("POST", path, tenant, json={"amount_cents": 24700})
    assert (over.status_code, over.json()["code"]) == (409, "refund_exceeds_payment")
    stripe.refund(row.external_id or "", 3300)  # somebody in Stripe's own pages
    await refresh(billing, tenant, row, stripe)
    rest = await billing.call("POST", path, tenant, json={})
    assert (rest.json()["amount_cents"], rest.json()["payment"]["status"]) == (20000, "refunded")
    assert refunded(stripe) == [700, 700, 3300, 20000]
    told = await billing.told("billing.payment.refunded.v1")
    assert [event["amount_refunded_cents"] for event in told] == [700, 700, 3300, 20000]


async def test_many_at_once_refund_no_more_than_was_paid(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    path = f"/payments/{row.id}/refund"
    answers = await asyncio.gather(
        *(
            billing.call(
                "POST", path, tenant, json={"amount_cents": 10000}, headers={"Idempotency-Key": f"operator-{n}"}
            )
            for n in range(6)
        )
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201, 201, 409, 409, 409, 409], [answer.text for answer in answers]
    assert refunded(stripe) == [10000, 10000]
    assert await refunds_of(billing, tenant, row) == [("done", 10000)] * 2


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "click"}])
async def test_a_double_click_refunds_once(
    start: Start, tenant: UUID, stripe: FakeStripe, headers: dict[str, str]
) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    stripe.front.latency_s = 0.2
    path = f"/payments/{row.id}/refund"
    answers = await asyncio.gather(
        *(billing.call("POST", path, tenant, json={"amount_cents": 700}, headers=headers) for _ in range(8))
    )
    assert [answer.status_code for answer in answers] == [201] * 8, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert refunded(stripe) == [700]
    if headers:
        late = await billing.call("POST", path, tenant, json={"amount_cents": 700}, headers=headers)
        assert late.headers["idempotency-replayed"] == "true"
        assert late.json()["id"] == answers[0].json()["id"]
        other = await billing.call("POST", path, tenant, json={"amount_cents": 701}, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert refunded(stripe) == [700]


def at_refunds(request: Any) -> bool:
    return bool(request.path == "/v1/refunds" and request.method == "POST")


async def test_a_lost_answer_stays_requested_and_is_looked_up(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    path = f"/payments/{row.id}/refund"
    stripe.server.faulty = lambda request: request.path == "/v1/refunds"
    stripe.server.faults = [Fault.DROP_REPLY] * 50
    lost = await billing.call("POST", path, tenant, json={"amount_cents": 700})
    stripe.server.faults = []
    assert (lost.status_code, lost.json()["code"]) == (503, "provider_result_unknown")
    assert await refunds_of(billing, tenant, row) == [("requested", 700)]
    detail = (await billing.call("GET", f"/payments/{row.id}", tenant)).json()
    assert [one["status"] for one in detail["refunds"]] == ["requested"]
    found = await billing.call("POST", path, tenant, json={"amount_cents": 700})
    assert (found.status_code, found.json()["status"]) == (201, "done"), found.text
    assert found.json()["id"] == detail["refunds"][0]["id"]
    assert refunded(stripe) == [700]


@pytest.mark.parametrize("crash", list(Crash))
async def test_a_failure_that_stripe_repeats_is_looked_up(
    start: Start, tenant: UUID, stripe: FakeStripe, crash: Crash
) -> None:
    """Stripe keeps a key's first answer, a 500 too: asking again with it would never end."""
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    path = f"/payments/{row.id}/refund"
    stripe.front.crashes = [crash]
    answer = await billing.call("POST", path, tenant, json={"amount_cents": 700})
    if crash is Crash.AFTER:
        assert (answer.status_code, answer.json()["status"]) == (201, "done"), answer.text
        assert refunded(stripe) == [700]
    else:
        assert answer.status_code == 503, answer.text
        assert refunded(stripe) == []
        assert await refunds_of(billing, tenant, row) == [("requested", 700)]


async def test_a_refused_refund_leaves_its_money(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await bought(billing, tenant, "pi_unknown")
    path = f"/payments/{row.id}/refund"
    options: dict[str, Any] = {"json": {}, "headers": {"Idempotency-Key": "k"}}
    for _ in range(2):
        refused = await billing.call("POST", path, tenant, **options)
        assert (refused.status_code, refused.json()["code"]) == (422, "provider_refused"), refused.text
    assert await refunds_of(billing, tenant, row) == [("failed", 24700)]
    again = await billing.call("POST", path, tenant, json={})
    assert again.status_code == 422
    assert await refunds_of(billing, tenant, row) == [("failed", 24700)] * 2


async def test_a_refund_under_way_is_done_when_stripe_says_so(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    path = f"/payments/{row.id}/refund"
    stripe.world.refunds_pend = True
    first = await billing.call("POST", path, tenant, json={"amount_cents": 700})
    second = await billing.call("POST", path, tenant, json={"amount_cents": 24000})
    assert (first.json()["status"], second.json()["status"]) == ("pending", "pending")
    assert second.json()["payment"]["status"] == "paid", "nothing is back yet"
    full = await billing.call("POST", path, tenant, json={"amount_cents": 1})
    assert (full.status_code, full.json()["code"]) == (409, "already_refunded"), "all of it is on its way"
    stripe.settle_refund(first.json()["external_id"])
    await refresh(billing, tenant, row, stripe)
    assert await refunds_of(billing, tenant, row) == [("done", 700), ("pending", 24000)]
    stripe.settle_refund(second.json()["external_id"], succeeded=False)
    stripe.world.refunds_pend = False
    again = await billing.call("POST", path, tenant, json={"amount_cents": 24000})
    assert (again.status_code, again.json()["status"]) == (201, "done"), again.text
    assert await refunds_of(billing, tenant, row) == [("done", 700), ("failed", 24000), ("done", 24000)]


async def test_a_buyer_does_not_give_itself_its_money_back(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant, sold_by=SoldBy.PLATFORM)
    path = f"/payments/{row.id}/refund"
    refused = await billing.call("POST", path, tenant, json={})
    assert (refused.status_code, refused.json()["code"]) == (403, "platform_sale")
    assert (refunded(stripe), await refunds_of(billing, tenant, row)) == ([], [])
    given = await billing.call("POST", path, tenant, kind="platform_admin", json={})
    assert (given.status_code, given.json()["requested_by"]) == (201, "user-1")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": PaymentStatus.PENDING, "paid_at": None}, "not_refundable"),
        ({"status": PaymentStatus.FAILED, "paid_at": None}, "not_refundable"),
        ({"status": PaymentStatus.DISPUTED}, "not_refundable"),
        ({"status": PaymentStatus.REFUNDED, "refunded_cents": 24700}, "already_refunded"),
    ],
)
async def test_what_has_no_money_is_not_refunded(start: Start, tenant: UUID, fields: dict[str, Any], code: str) -> None:
    billing = await start()
    row = await bought(billing, tenant, "pi_1", **fields)
    refused = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json={})
    assert (refused.status_code, refused.json()["code"]) == (409, code)


async def test_money_that_fits_nothing_can_go_back(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row = await sale(
        billing, stripe, tenant, status=PaymentStatus.PENDING, paid_at=None, review_reason="paid a second time"
    )
    given = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json={})
    assert (given.status_code, given.json()["status"]) == (201, "done"), given.text
    assert refunded(stripe) == [24700]


@pytest.mark.parametrize(
    "body",
    [{"amount_cents": 0}, {"amount_cents": -1}, {"amount_cents": 1.5}, {"amount_cents": 2**63}, {"amount": 1}, []],
)
async def test_a_refund_that_cannot_be_is_refused(start: Start, tenant: UUID, body: Any) -> None:
    billing = await start()
    row = await bought(billing, tenant, "pi_1")
    refused = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json=body)
    assert refused.status_code == 422, refused.text


async def test_a_refund_may_end_what_was_paid_for(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    external_id = await paid_at_stripe(stripe)
    async with transaction(billing.db, tenant) as conn:
        subscription = await a_subscription(conn, tenant, sold_by=SoldBy.TENANT)
        invoice = await a_paid_invoice(
            conn,
            tenant,
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            sold_by=SoldBy.TENANT,
        )
        row = await a_payment(conn, tenant, invoice, external_id=external_id)
    path = f"/payments/{row.id}/refund"
    kept = await billing.call("POST", path, tenant, json={"amount_cents": 700})
    assert kept.status_code == 201

    async def status() -> SubscriptionStatus:
        async with transaction(billing.db, tenant) as conn:
            return (await store.subscriptions.get_subscription(conn, tenant, subscription.id)).status

    assert await status() is SubscriptionStatus.ACTIVE
    ended = await billing.call("POST", path, tenant, json={"cancel_subscription": True})
    assert (ended.status_code, await status()) == (201, SubscriptionStatus.CANCELLED)
    [told] = await billing.told("billing.subscription.cancelled.v1")
    assert told["reason"] == "refunded"


def charge(amount_cents: int = 24700) -> ChargeRequest:
    return ChargeRequest(
        reference=uuid4(),
        amount_cents=amount_cents,
        currency="BRL",
        method=Method.PIX,
        payer=Payer(email="bia@example.com", name="Bia Lima", tax_id="52998224725"),
        description="Consulta",
        due_on=(just_now() + timedelta(days=3)).date(),
        expires_at=just_now() + timedelta(days=1),
    )


async def test_asaas_refunds_once(start: Start, tenant: UUID) -> None:
    async with FakeAsaas() as asaas:
        billing = await start(
            ASAAS_API_KEY=asaas.api_key,
            ASAAS_WEBHOOK_TOKEN="whk_0123456789abcdef0123456789abcdef",
            ASAAS_API_BASE=asaas.url,
        )
        async with AsaasApi(asaas.api_key, base_url=asaas.url) as api:
            made = await api.create_charge(charge(), key="k")
        asaas.pay(made.external_id)
        row = await bought(billing, tenant, made.external_id, provider=Provider.ASAAS)
        asaas.server.faulty = lambda request: request.path.endswith("/refund")
        asaas.server.faults = [Fault.DROP_REPLY]
        part = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json={"amount_cents": 700})
        assert (part.status_code, part.json()["status"]) == (201, "done"), part.text
        assert part.json()["payment"]["refunded_cents"] == 700
        rest = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json={})
        assert (rest.json()["amount_cents"], rest.json()["payment"]["status"]) == (24000, "refunded"), rest.text
        assert sum(asaas.effects["refund"].values()) == 2


async def test_a_refund_that_asaas_took_on_and_that_fails_may_be_asked_for_again(start: Start, tenant: UUID) -> None:
    async with FakeAsaas() as asaas:
        billing = await start(
            ASAAS_API_KEY=asaas.api_key,
            ASAAS_WEBHOOK_TOKEN="whk_0123456789abcdef0123456789abcdef",
            ASAAS_API_BASE=asaas.url,
        )
        async with AsaasApi(asaas.api_key, base_url=asaas.url) as api:
            made = await api.create_charge(charge(), key="k")
        asaas.pay(made.external_id)
        row = await bought(billing, tenant, made.external_id, provider=Provider.ASAAS)
        asaas.world.refunds_wait = True
        path = f"/payments/{row.id}/refund"
        taken_on = await billing.call("POST", path, tenant, json={})
        assert (taken_on.status_code, taken_on.json()["status"]) == (201, "pending"), taken_on.text
        asaas.fail_refunds(made.external_id)
        asaas.world.refunds_wait = False
        again = await billing.call("POST", path, tenant, json={})
        assert (again.status_code, again.json()["status"]) == (201, "done"), again.text
        assert await refunds_of(billing, tenant, row) == [("failed", 24700), ("done", 24700)]
        [failed] = await billing.told("billing.payment.refund_failed.v1")
        assert (failed["refund_id"], failed["amount_restored_cents"]) == (taken_on.json()["id"], 0)
        [audited] = [
            one for one in await billing.told("billing.audit.recorded.v1") if one["action"] == "payment.refund_failed"
        ]
        assert audited["metadata"]["refund"] == taken_on.json()["id"]


async def test_a_refund_that_stripe_says_failed_is_noticed_by_itself(
    start: Start, tenant: UUID, stripe: FakeStripe
) -> None:
    """As Stripe's `refund.failed` has the payment looked at: after it was done, and while it was under way."""
    billing = await with_stripe(start, stripe)
    row = await sale(billing, stripe, tenant)
    for is_pending in (False, True):
        stripe.world.refunds_pend = is_pending
        given = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json={})
        assert given.json()["payment"]["status"] == ("paid" if is_pending else "refunded"), given.text
        stripe.settle_refund(given.json()["external_id"], succeeded=False)
        await refresh(billing, tenant, row, stripe)
        detail = (await billing.call("GET", f"/payments/{row.id}", tenant)).json()
        assert (detail["status"], detail["refunded_cents"]) == ("paid", 0)
        assert {one["status"] for one in detail["refunds"]} == {"failed"}
    told = await billing.told("billing.payment.refund_failed.v1")
    assert [one["amount_restored_cents"] for one in told] == [24700, 0]


async def test_pagbank_refunds_once(start: Start, tenant: UUID) -> None:
    async with FakePagBank() as pagbank:
        billing = await start(PAGSEGURO_TOKEN=pagbank.token, PAGBANK_API_BASE=pagbank.url)
        async with PagBankApi(pagbank.token, base_url=pagbank.url) as api:
            made = await api.create_charge(charge(), key="k")
        pagbank.pay(made.external_id)
        row = await bought(billing, tenant, made.external_id, provider=Provider.PAGBANK)
        pagbank.server.faulty = lambda request: request.path.endswith("/cancel")
        pagbank.server.faults = [Fault.FAIL_500_AFTER]
        whole = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json={})
        assert (whole.status_code, whole.json()["status"]) == (201, "done"), whole.text
        assert whole.json()["payment"]["status"] == "refunded"
        assert sum(pagbank.effects["refund"].values()) == 1


async def test_an_account_that_is_gone_says_so(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        customer = await a_customer(conn, tenant, sold_by=SoldBy.TENANT)
        invoice = await a_paid_invoice(conn, tenant, customer_id=customer.id, sold_by=SoldBy.TENANT, account_id=uuid4())
        row = await a_payment(conn, tenant, invoice)
    refused = await billing.call("POST", f"/payments/{row.id}/refund", tenant, json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "provider_misconfigured")
    assert msgspec.json.decode(refused.content)["status"] == 409
