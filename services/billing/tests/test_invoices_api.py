"""Invoices over HTTP: who sees which, and taking one back so that nobody can pay it any more."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.api.invoices import InvoiceView
from billing.asaas_api import AsaasApi
from billing.domain.customers import SoldBy
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import OrderStatus
from billing.domain.providers import ChargeRequest, CheckoutRequest, Interval, Method, Payer, PaymentStatus, Provider
from billing.stripe_api import StripeApi
from chassis.db import Database, transaction
from testkit.fake_asaas import FakeAsaas
from testkit.fake_http import Fault
from testkit.fake_stripe import FakeStripe, fake_stripe

from .records import a_customer, a_paid_invoice, a_payment, a_subscription, an_invoice, an_order

Start = Callable[..., Awaitable[Any]]


@pytest.fixture(name="start")
def without_schedulers(start: Start) -> Start:
    """Billing as its API alone: what happens is what a request did."""
    return functools.partial(start, ROLE="api")


OPERATIONS = [
    ("GET", "/invoices", "billing:read"),
    ("GET", "/invoices/{id}", "billing:read"),
    ("POST", "/invoices/{id}/void", "billing:write"),
]


def just_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


async def own(billing: Any, tenant: UUID, **fields: Any) -> Invoice:
    """An invoice that the tenant wrote to a customer of its own."""
    async with transaction(billing.db, tenant) as conn:
        customer = await a_customer(conn, tenant, sold_by=SoldBy.TENANT)
        return await an_invoice(conn, tenant, customer_id=customer.id, **{"sold_by": SoldBy.TENANT} | fields)


async def status_of(billing: Any, tenant: UUID, invoice_id: UUID) -> InvoiceStatus:
    async with transaction(billing.db, tenant) as conn:
        return (await store.invoices.get_invoice(conn, tenant, invoice_id)).status


async def test_nobody_passes_without_identity_permission_and_tenant(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    for method, template, permission in OPERATIONS:
        path = template.format(id=row.id)
        assert (await billing.http.request(method, path)).status_code == 401, (method, path)
        refused = await billing.call(method, path, tenant, "some:other")
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_permission"), (method, path)
        assert (await billing.call(method, path, None, permission)).status_code == 400, (method, path)
        if "{" in template:
            assert (await billing.call(method, path, uuid4(), permission)).status_code == 404, (method, path)
            assert (await billing.call(method, template.format(id=uuid4()), tenant, permission)).status_code == 404
        else:
            assert (await billing.call(method, path, uuid4(), permission)).json() == {"data": [], "next_cursor": None}
    assert await status_of(billing, tenant, row.id) is InvoiceStatus.PENDING


async def test_an_invoice_is_shown_as_the_document_says(start: Start, tenant: UUID) -> None:
    """The database writes the JSON; its columns are the described fields, and their types hold."""
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        subscription = await a_subscription(conn, tenant)
        row = await a_paid_invoice(
            conn,
            tenant,
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            plan_id=subscription.plan_id,
            plan_slug="essencial",
            interval="month",
            url='https://example.com/"quoted"',
            period_start=subscription.current_period_start,
            period_end=subscription.current_period_end,
            last_failure="cartão recusado",
        )
    one = (await billing.call("GET", f"/invoices/{row.id}", tenant, "billing:read")).json()
    [listed] = (await billing.call("GET", "/invoices", tenant, "billing:read")).json()["data"]
    assert one == listed
    assert set(one) == set(InvoiceView.__struct_fields__)
    fields = {name: getattr(row, name) for name in InvoiceView.__struct_fields__}
    assert msgspec.convert(one, InvoiceView) == InvoiceView(**fields)
    assert one["issued_at"].endswith("+00:00"), "in UTC, wherever the database lives"


async def test_invoices_are_read_page_by_page_newest_first(start: Start, tenant: UUID) -> None:
    billing = await start()
    async with transaction(billing.db, tenant) as conn:
        subscription = await a_subscription(conn, tenant)
        rows = [
            await an_invoice(
                conn,
                tenant,
                customer_id=subscription.customer_id,
                now=just_now() + timedelta(seconds=n),
                subscription_id=subscription.id if n == 2 else None,
            )
            for n in range(5)
        ]
        await a_paid_invoice(conn, tenant, customer_id=subscription.customer_id, now=just_now() - timedelta(days=1))
    seen: list[int] = []
    cursor = None
    for _ in range(3):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await billing.call("GET", "/invoices", tenant, params=params)).json()
        seen += [one["number"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == ([5, 4, 3, 2, 1, 6], None)
    paid = (await billing.call("GET", "/invoices?status=paid", tenant)).json()["data"]
    assert [one["number"] for one in paid] == [6]
    its = (await billing.call("GET", f"/invoices?subscription_id={subscription.id}", tenant)).json()["data"]
    assert [one["id"] for one in its] == [str(rows[2].id)]
    for query in ("status=odd", "limit=0", "limit=101", "limit=x", "unknown=1", "subscription_id=x"):
        assert (await billing.call("GET", f"/invoices?{query}", tenant)).status_code == 400, query
    assert (await billing.call("GET", "/invoices?cursor=forged", tenant)).status_code == 422


async def test_twenty_invoices_are_read_by_the_index(db: Database, tenant: UUID) -> None:
    """Not one row more than is shown, wherever in the list: the plan says so."""
    async with transaction(db, tenant) as conn:
        customer = await a_customer(conn, tenant)
        rows = [await an_invoice(conn, tenant, customer_id=customer.id) for _ in range(100)]
        middle = sorted(row.id for row in rows)[50]
        shown = await store.invoices.list_shown(conn, tenant, before=middle, limit=20)
        assert [invoice_id for invoice_id, _ in shown] == sorted((row.id for row in rows), reverse=True)[50:70]


async def test_an_invoice_is_taken_back_once(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant)
    path = f"/invoices/{row.id}/void"
    void = await billing.call("POST", path, tenant, "billing:write")
    assert (void.status_code, void.json()["status"]) == (200, "void"), void.text
    assert void.json()["voided_at"] is not None
    assert (await billing.call("POST", path, tenant)).json() == void.json()
    [told] = await billing.told("billing.invoice.voided.v1")
    assert (told["invoice_id"], told["amount_cents"]) == (str(row.id), 24700)
    [record] = await billing.told("billing.audit.recorded.v1")
    assert (record["action"], record["actor"]) == ("invoice.voided", {"type": "user", "id": "user-1", "name": None})


async def test_a_buyer_does_not_let_go_what_it_owes(start: Start, tenant: UUID) -> None:
    billing = await start()
    row = await own(billing, tenant, sold_by=SoldBy.PLATFORM)
    refused = await billing.call("POST", f"/invoices/{row.id}/void", tenant)
    assert (refused.status_code, refused.json()["code"]) == (403, "platform_sale")
    assert await status_of(billing, tenant, row.id) is InvoiceStatus.PENDING
    let_go = await billing.call("POST", f"/invoices/{row.id}/void", tenant, kind="platform_admin")
    assert (let_go.status_code, let_go.json()["status"]) == (200, "void")


async def test_what_is_paid_or_can_still_be_bought_stays(start: Start, tenant: UUID) -> None:
    billing = await start()
    paid = await own(billing, tenant, status=InvoiceStatus.PAID, paid_at=just_now())
    async with transaction(billing.db, tenant) as conn:
        order = await an_order(conn, tenant)
        first = await an_invoice(conn, tenant, order=order)
        lost = await an_order(conn, tenant, status=OrderStatus.CANCELLED)
        left = await an_invoice(conn, tenant, order=lost)
    for row, code in ((paid, "invoice_paid"), (first, "order_open")):
        refused = await billing.call("POST", f"/invoices/{row.id}/void", tenant, kind="platform_admin")
        assert (refused.status_code, refused.json()["code"]) == (409, code)
    void = await billing.call("POST", f"/invoices/{left.id}/void", tenant, kind="platform_admin")
    assert (void.status_code, void.json()["status"]) == (200, "void")


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as fake:
        yield fake


async def with_stripe(start: Start, stripe: FakeStripe) -> Any:
    return await start(STRIPE_SECRET_KEY="sk_test_fake", STRIPE_WEBHOOK_SECRET="whsec_fake", STRIPE_API_BASE=stripe.url)


async def renewal(billing: Any, stripe: FakeStripe, tenant: UUID) -> tuple[Invoice, str]:
    """An open invoice of Stripe's, as billing knows it, and Stripe's id of it."""
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
        page = await api.create_checkout(request, key="k")
        stripe.pay(page.external_id)
        found = await api.get_checkout(page.external_id)
    theirs = str(stripe.fail_renewal(found.subscription_external_id or "")["id"])
    async with transaction(billing.db, tenant) as conn:
        subscription = await a_subscription(conn, tenant, external_id=found.subscription_external_id)
        row = await an_invoice(
            conn, tenant, customer_id=subscription.customer_id, subscription_id=subscription.id, external_id=theirs
        )
    return row, theirs


async def test_stripes_own_invoice_is_void_there_too(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row, theirs = await renewal(billing, stripe, tenant)
    path = f"/invoices/{row.id}/void"
    stripe.server.faulty = lambda request: request.path.endswith("/void")
    stripe.server.faults = [Fault.REFUSE_429] * 3
    busy = await billing.call("POST", path, tenant, kind="platform_admin")
    assert (busy.status_code, busy.json()["code"]) == (503, "provider_unavailable")
    assert await status_of(billing, tenant, row.id) is InvoiceStatus.PENDING, "not before it is void there"
    stripe.server.faults = [Fault.DROP_REPLY]
    void = await billing.call("POST", path, tenant, kind="platform_admin")
    assert (void.status_code, void.json()["status"]) == (200, "void"), void.text
    assert stripe.world.get("invoice", theirs)["status"] == "void"
    assert len(await billing.told("billing.invoice.voided.v1")) == 1


async def test_an_invoice_that_stripe_has_voided_or_lost_is_void(
    start: Start, tenant: UUID, stripe: FakeStripe
) -> None:
    billing = await with_stripe(start, stripe)
    row, theirs = await renewal(billing, stripe, tenant)
    stripe.void(theirs)
    void = await billing.call("POST", f"/invoices/{row.id}/void", tenant, kind="platform_admin")
    assert (void.status_code, void.json()["status"]) == (200, "void"), void.text
    gone = await own(billing, tenant, sold_by=SoldBy.PLATFORM, external_id="in_gone")
    lost = await billing.call("POST", f"/invoices/{gone.id}/void", tenant, kind="platform_admin")
    assert (lost.status_code, lost.json()["status"]) == (200, "void"), lost.text


async def test_an_invoice_that_was_just_paid_at_stripe_stays(start: Start, tenant: UUID, stripe: FakeStripe) -> None:
    billing = await with_stripe(start, stripe)
    row, theirs = await renewal(billing, stripe, tenant)
    stripe.retry_invoice(theirs)
    late = await billing.call("POST", f"/invoices/{row.id}/void", tenant, kind="platform_admin")
    assert (late.status_code, late.json()["code"]) == (409, "invoice_paid"), late.text
    assert await status_of(billing, tenant, row.id) is InvoiceStatus.PENDING, "its payment is on its way to us"


async def test_an_open_charge_is_withdrawn_with_its_invoice(start: Start, tenant: UUID) -> None:
    async with FakeAsaas() as asaas:
        billing = await start(
            ASAAS_API_KEY=asaas.api_key,
            ASAAS_WEBHOOK_TOKEN="whk_0123456789abcdef0123456789abcdef",
            ASAAS_API_BASE=asaas.url,
        )
        async with AsaasApi(asaas.api_key, base_url=asaas.url) as api:
            request = ChargeRequest(
                reference=uuid4(),
                amount_cents=24700,
                currency="BRL",
                method=Method.BOLETO,
                payer=Payer(email="bia@example.com", name="Bia", tax_id="52998224725"),
                description="Consulta",
                due_on=(just_now() + timedelta(days=3)).date(),
            )
            charge = await api.create_charge(request, key="k")
        row = await own(billing, tenant, provider=Provider.ASAAS)
        async with transaction(billing.db, tenant) as conn:
            payment = await a_payment(
                conn, tenant, row, external_id=charge.external_id, status=PaymentStatus.PENDING, paid_at=None
            )
        void = await billing.call("POST", f"/invoices/{row.id}/void", tenant)
        assert (void.status_code, void.json()["status"]) == (200, "void"), void.text
        assert asaas.payment(charge.external_id)["deleted"]
        async with transaction(billing.db, tenant) as conn:
            after = await store.payments.get_payment(conn, tenant, payment.id)
        assert after.status is PaymentStatus.CANCELLED


@pytest.mark.parametrize("accept", ["text/html", "image/png"])
async def test_a_list_is_json_or_nothing(start: Start, tenant: UUID, accept: str) -> None:
    billing = await start()
    answer = await billing.call("GET", "/invoices", tenant, headers={"Accept": accept})
    assert answer.status_code == 406
    fine = await billing.call("GET", "/invoices", tenant)
    assert fine.headers["content-type"].startswith("application/json")
