"""Charges of a tenant's own customers: made once, linked before the provider hears of them, shown in both dialects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from billing import store
from billing.asaas_api import AsaasApi
from billing.domain.brazil_days import day_in_brazil
from billing.domain.payments import Payment
from chassis.clock import utc_now
from chassis.db import transaction
from testkit.fake_asaas import FakeAsaas
from testkit.fake_asaas.fake import API_KEY as ASAAS_KEY
from testkit.fake_http import Fault, Request
from testkit.fake_pagbank import FakePagBank
from testkit.fake_stripe import FakeStripe
from testkit.service import RunningService

Start = Callable[..., Awaitable[RunningService]]
ANA = {"name": "Ana Souza", "email": "Ana@Example.com", "cpfCnpj": "529.982.247-25", "mobilePhone": "11987654321"}
CHARGES = "/payment-gateway/charges"


@pytest_asyncio.fixture
async def asaas() -> AsyncIterator[FakeAsaas]:
    async with FakeAsaas() as fake:
        yield fake


@pytest_asyncio.fixture
async def pagbank() -> AsyncIterator[FakePagBank]:
    async with FakePagBank() as fake:
        yield fake


@pytest_asyncio.fixture
async def billing(start: Start, asaas: FakeAsaas, pagbank: FakePagBank, tenant: UUID) -> RunningService:
    """Billing with the tenant's accounts at both providers."""
    running = await start(ASAAS_API_BASE=asaas.url, PAGBANK_API_BASE=pagbank.url, ROLE="api")
    for gateway, key in (("asaas", ASAAS_KEY), ("pagbank", pagbank.token)):
        body = {"gateway": gateway, "environment": "sandbox", "apiKey": key, "webhookSecret": f"{gateway}-{'s' * 32}"}
        saved = await running.call("POST", "/payment-gateway/config", tenant, json=body)
        assert saved.status_code == 200, saved.text
    return running


def due(days: int = 3) -> str:
    return (day_in_brazil(utc_now()) + timedelta(days=days)).isoformat()


async def customer(billing: RunningService, tenant: UUID, gateway: str = "asaas", **fields: Any) -> dict[str, Any]:
    answer = await billing.call(
        "POST", "/payment-gateway/customers", tenant, json={"gateway": gateway, **ANA, **fields}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def charge(billing: RunningService, tenant: UUID, name: str, gateway: str = "asaas", **fields: Any) -> Any:
    body = {
        "gateway": gateway,
        "customer": name,
        "billingType": "PIX",
        "value": 123.45,
        "dueDate": due(),
        "description": "Consulta",
        "externalReference": "order-77",
    }
    headers = fields.pop("headers", {})
    return await billing.call("POST", CHARGES, tenant, json=body | fields, headers=headers)


async def payments(billing: RunningService, tenant: UUID) -> list[Payment]:
    async with transaction(billing.db, tenant) as conn:
        return await store.payments.list_payments(conn, tenant, before=None, limit=100)


async def test_a_charge_is_asaas_own_object_and_linked(billing: RunningService, tenant: UUID, asaas: FakeAsaas) -> None:
    ana = await customer(billing, tenant, leadId="lead-1")
    assert ana["gatewayCustomerId"].startswith("cus_")
    assert (ana["leadId"], ana["email"], ana["cpfCnpj"]) == ("lead-1", "ana@example.com", "52998224725")
    answer = await charge(billing, tenant, ana["gatewayCustomerId"])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["object"], body["value"], body["billingType"]) == ("payment", 123.45, "PIX")
    assert body["externalReference"] == "order-77"  # the caller's own word; at Asaas it is our id
    assert body["customer"] == ana["gatewayCustomerId"]
    [payment] = await payments(billing, tenant)
    assert (payment.amount_cents, payment.currency, payment.status.value) == (12345, "BRL", "pending")
    assert (payment.external_id, payment.reference) == (body["id"], "order-77")
    assert asaas.payment(body["id"])["externalReference"] == str(payment.id)
    async with transaction(billing.db, tenant) as conn:
        invoice = await store.invoices.get_invoice(conn, tenant, payment.invoice_id)
        assert (invoice.sold_by.value, invoice.amount_cents, invoice.number) == ("tenant", 12345, 1)
        for kind, name in (("reference", str(payment.id)), ("payment", body["id"])):
            found = await store.directory.find_object(
                conn, provider="asaas", account_id=payment.account_id, kind=kind, external_id=name
            )
            assert found is not None
            assert found.object_id == payment.id
    assert [one["_type"] for one in await billing.told("billing.invoice.issued.v1")] == ["billing.invoice.issued.v1"]


async def test_one_key_is_one_charge(billing: RunningService, tenant: UUID, asaas: FakeAsaas) -> None:
    """Sent again, and by four at once, it is made once; with another body the key is refused."""
    ana = await customer(billing, tenant)
    headers = {"Idempotency-Key": "k-1"}
    answers = await asyncio.gather(
        *(charge(billing, tenant, ana["gatewayCustomerId"], headers=headers) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 3
    assert len(await payments(billing, tenant)) == 1
    assert len(asaas.world.payments) == 1
    other = await charge(billing, tenant, ana["gatewayCustomerId"], headers=headers, value=1)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.FAIL_500_AFTER])
async def test_a_lost_answer_makes_no_second_charge(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas, fault: Fault
) -> None:
    ana = await customer(billing, tenant)

    def makes_a_payment(request: Request) -> bool:
        return request.method == "POST" and request.path.endswith("/payments")

    asaas.server.faulty = makes_a_payment
    asaas.server.faults = [fault]
    answer = await charge(billing, tenant, ana["gatewayCustomerId"])
    assert answer.status_code == 200, answer.text
    [payment] = await payments(billing, tenant)
    assert payment.external_id == answer.json()["id"]
    assert asaas.effects["payment"][str(payment.id)] == 1


async def test_an_unknown_result_is_gone_on_with_under_the_same_key(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    ana = await customer(billing, tenant)
    asaas.server.faults = [Fault.FAIL_500] * 3
    headers = {"Idempotency-Key": "k-2"}
    lost = await charge(billing, tenant, ana["gatewayCustomerId"], headers=headers)
    assert lost.status_code == 503, lost.text
    assert lost.json()["error"]
    [pending] = await payments(billing, tenant)
    assert pending.external_id is None
    asaas.server.faults = []
    made = await charge(billing, tenant, ana["gatewayCustomerId"], headers=headers)
    assert (made.status_code, made.headers["idempotency-replayed"]) == (200, "true"), made.text
    assert len(await payments(billing, tenant)) == 1
    assert asaas.effects["payment"] == {str(pending.id): 1}


async def test_what_the_provider_refuses_is_owed_by_nobody(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    ana = await customer(billing, tenant)
    headers = {"Idempotency-Key": "k-3"}
    for _ in range(2):  # the same key is refused again, and asks nobody
        answer = await charge(billing, tenant, ana["gatewayCustomerId"], headers=headers, value=1)
        assert (answer.status_code, answer.json()["code"]) == (422, "provider_refused"), answer.text
        assert "R$ 5,00" in answer.json()["error"]
    [payment] = await payments(billing, tenant)
    assert payment.status.value == "cancelled"
    async with transaction(billing.db, tenant) as conn:
        assert (await store.invoices.get_invoice(conn, tenant, payment.invoice_id)).status.value == "void"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "must be more than zero"),
        ("-1", "must be more than zero"),
        ("0.001", "has more than two decimals"),
        ("10.005", "has more than two decimals"),
        ("10000000.01", "is more than can be charged at once"),
        ("1e300", "is more than can be charged at once"),
        ('"NaN"', "must be more than zero"),
        ('"-Infinity"', "must be more than zero"),
    ],
)
async def test_amounts_that_nobody_is_charged(billing: RunningService, tenant: UUID, value: str, message: str) -> None:
    body = f"""{{"gateway":"asaas","customer":"cus_1","billingType":"PIX","dueDate":"{due()}","value":{value}}}"""
    answer = await billing.call("POST", CHARGES, tenant, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"] == [{"field": "$.value", "message": message}]
    assert await payments(billing, tenant) == []


@pytest.mark.parametrize(
    "change",
    [
        {"value": "x"},
        {"value": True},
        {"value": None},
        {"billingType": "CASH"},
        {"dueDate": "tomorrow"},
        {"dueDate": "2020-01-01"},
        {"customer": ""},
        {"customer": "cus_unknown"},
        {"customer": str(UUID(int=7))},
        {"customer": "../payments"},
        {"discount": {"value": "NaN"}},
        {"fine": {"value": -1}},
        {"interest": {"value": 1.234}},
    ],
)
async def test_bad_bodies_are_refused(billing: RunningService, tenant: UUID, change: dict[str, Any]) -> None:
    ana = await customer(billing, tenant)
    answer = await charge(billing, tenant, ana["gatewayCustomerId"], **change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]
    assert await payments(billing, tenant) == []


async def test_discount_fine_and_interest_are_passed_on(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    ana = await customer(billing, tenant)
    answer = await charge(
        billing,
        tenant,
        ana["gatewayCustomerId"],
        billingType="BOLETO",
        discount={"value": 10, "dueDateLimitDays": 2, "type": "PERCENTAGE"},
        fine={"value": 2.5},
        interest={"value": 1},
    )
    assert answer.status_code == 200, answer.text
    sent = next(one for one in asaas.server.requests if one.method == "POST" and one.path.endswith("/payments")).json()
    assert sent["discount"] == {"value": 10, "type": "PERCENTAGE", "dueDateLimitDays": 2}
    assert (sent["fine"], sent["interest"], sent["value"]) == ({"value": 2.5}, {"value": 1}, 123.45)


async def test_a_charge_that_is_paid_late_with_its_fine_is_paid(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    """Asaas then says the larger sum, and the one that was asked for beside it: that one settles the invoice."""
    ana = await customer(billing, tenant)
    made = (await charge(billing, tenant, ana["gatewayCustomerId"], billingType="BOLETO", fine={"value": 2})).json()
    asaas.overdue(made["id"])
    await billing.call("GET", f"{CHARGES}/asaas/{made['id']}", tenant)
    asaas.pay(made["id"])
    asaas.world.payments[made["id"]] |= {"originalValue": 12345, "value": 12592}
    read = await billing.call("GET", f"{CHARGES}/asaas/{made['id']}", tenant)
    assert (read.json()["value"], read.json()["originalValue"]) == (125.92, 123.45)
    [payment] = await payments(billing, tenant)
    assert (payment.status.value, payment.amount_cents, payment.review_reason) == ("paid", 12345, None)
    async with transaction(billing.db, tenant) as conn:
        assert (await store.invoices.get_invoice(conn, tenant, payment.invoice_id)).status.value == "paid"


async def test_one_person_is_one_customer(billing: RunningService, tenant: UUID, asaas: FakeAsaas) -> None:
    first = await customer(billing, tenant, leadId="lead-1")
    renamed = await customer(billing, tenant, leadId="lead-1", name="Ana S. Souza")
    assert (renamed["id"], renamed["gatewayCustomerId"]) == (first["id"], first["gatewayCustomerId"])
    assert renamed["name"] == "Ana S. Souza"
    without_lead = await customer(billing, tenant)
    assert without_lead["id"] == first["id"]
    assert len(asaas.world.customers) == 1
    for dialect in ("customers/lead/lead-1?gateway=asaas", "asaas/customers/lead/lead-1"):
        path = f"/payment-gateway/{dialect}"
        found = (await billing.call("GET", path, tenant)).json()
        assert found.get("data", found)["gatewayCustomerId"] == first["gatewayCustomerId"]
    missing = await billing.call("GET", "/payment-gateway/customers/lead/lead-2?gateway=asaas", tenant)
    assert (missing.status_code, missing.json()["error"]) == (404, "Customer not found")
    refused = await billing.call(
        "POST", "/payment-gateway/customers", tenant, json={"gateway": "asaas", **ANA, "cpfCnpj": "123"}
    )
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "$.cpfCnpj")


async def test_a_customer_that_asaas_had_before_is_charged(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    """Customers made by the system that this one takes over from are known at Asaas only."""
    async with AsaasApi(ASAAS_KEY, base_url=asaas.url) as api:
        made = await api.register_customer({"name": "Rui", "cpfCnpj": "52998224725"}, reference="lead-9")
    answer = await charge(billing, tenant, made["id"])
    assert answer.status_code == 200, answer.text
    [payment] = await payments(billing, tenant)
    async with transaction(billing.db, tenant) as conn:
        adopted = await store.customers.get_customer(conn, tenant, payment.customer_id)
    assert (adopted.name, adopted.sold_by.value, adopted.tax_id is not None) == ("Rui", "tenant", True)
    await charge(billing, tenant, made["id"])
    assert {one.customer_id for one in await payments(billing, tenant)} == {adopted.id}


async def test_a_charge_is_read_as_it_stands_now(billing: RunningService, tenant: UUID, asaas: FakeAsaas) -> None:
    """Reading it takes the news in: the hint may have been lost."""
    ana = await customer(billing, tenant)
    made = (await charge(billing, tenant, ana["gatewayCustomerId"])).json()
    asaas.pay(made["id"])
    read = await billing.call("GET", f"{CHARGES}/asaas/{made['id']}", tenant)
    assert (read.json()["status"], read.json()["externalReference"]) == ("RECEIVED", "order-77")
    [payment] = await payments(billing, tenant)
    assert payment.status.value == "paid"
    second = await billing.call("GET", f"/payment-gateway/asaas/charges/{payment.id}", tenant)
    view = second.json()["data"]
    assert (view["gatewayChargeId"], view["status"], view["value"]) == (made["id"], "RECEIVED", 123.45)
    assert (view["gatewayCustomerId"], view["paymentDate"]) == (
        ana["gatewayCustomerId"],
        day_in_brazil(utc_now()).isoformat(),
    )
    told = await billing.told("billing.invoice.paid.v1", "billing.payment.received.v1", "billing.pix.received.v1")
    assert sorted(one["_type"] for one in told) == [
        "billing.invoice.paid.v1",
        "billing.payment.received.v1",
        "billing.pix.received.v1",
    ]


async def test_pix_codes(billing: RunningService, tenant: UUID) -> None:
    ana = await customer(billing, tenant)
    made = (await charge(billing, tenant, ana["gatewayCustomerId"])).json()
    first = (await billing.call("GET", f"{CHARGES}/asaas/{made['id']}/pix", tenant)).json()
    assert first["payload"].startswith("000201")
    assert first["encodedImage"].startswith("iVBOR")  # a PNG
    second = (await billing.call("GET", f"/payment-gateway/asaas/charges/{made['id']}/pix-qrcode", tenant)).json()
    assert second["data"] == {"qrCode": first["encodedImage"], "copyPaste": first["payload"]}
    none = await billing.call("GET", f"{CHARGES}/asaas/pay_unknown/pix", tenant)
    assert none.status_code == 404, none.text


async def test_lists(billing: RunningService, tenant: UUID, asaas: FakeAsaas) -> None:
    ana = await customer(billing, tenant, leadId="lead-1")
    name = ana["gatewayCustomerId"]
    made = [(await charge(billing, tenant, name, externalReference=f"o-{i}")).json() for i in (1, 2)]
    asaas.pay(made[0]["id"])
    listed = (await billing.call("GET", f"{CHARGES}/asaas?limit=1&status=PENDING", tenant)).json()
    assert (listed["object"], [one["externalReference"] for one in listed["data"]]) == ("list", ["o-2"])
    dated = await billing.call("GET", f"{CHARGES}/asaas?dateCreated_ge=2020-01-01&billingType=PIX", tenant)
    assert sorted(one["id"] for one in dated.json()["data"]) == sorted(one["id"] for one in made)
    named = (await billing.call("GET", f"{CHARGES}/asaas?externalReference=o-1", tenant)).json()
    assert [one["id"] for one in named["data"]] == [made[0]["id"]]
    second = "/payment-gateway/asaas/charges"
    assert len((await billing.call("GET", second, tenant)).json()["data"]) == 2
    assert len((await billing.call("GET", f"{second}?leadId=lead-1&status=PENDING", tenant)).json()["data"]) == 2
    assert (await billing.call("GET", f"{second}?leadId=lead-2", tenant)).json()["data"] == []
    assert (await billing.call("GET", f"{second}?endDate=2020-01-01", tenant)).json()["data"] == []
    today = day_in_brazil(utc_now()).isoformat()
    assert len((await billing.call("GET", f"{second}?startDate={today}&endDate={today}", tenant)).json()["data"]) == 2
    assert (await billing.call("GET", f"{CHARGES}/asaas?unknown=1", tenant)).status_code == 400


async def test_a_charge_is_withdrawn(billing: RunningService, tenant: UUID, asaas: FakeAsaas) -> None:
    ana = await customer(billing, tenant)
    made = (await charge(billing, tenant, ana["gatewayCustomerId"], billingType="BOLETO")).json()
    path = f"/payment-gateway/asaas/charges/{made['id']}/cancel"
    for _ in range(2):
        answer = await billing.call("POST", path, tenant)
        assert answer.status_code == 200, answer.text
    assert asaas.payment(made["id"])["deleted"] is True
    [payment] = await payments(billing, tenant)
    assert payment.status.value == "cancelled"
    assert len(await billing.told("billing.invoice.voided.v1")) == 1
    paid = (await charge(billing, tenant, ana["gatewayCustomerId"])).json()
    asaas.pay(paid["id"])
    refused = await billing.call("POST", f"/payment-gateway/asaas/charges/{paid['id']}/cancel", tenant)
    assert refused.status_code in (409, 422), refused.text
    assert asaas.payment(paid["id"])["deleted"] is False


@pytest.mark.parametrize("gateway", ["asaas", "pagbank"])
async def test_refunds(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas, pagbank: FakePagBank, gateway: str
) -> None:
    """Part of it, once for its key, by either dialect; then what is left; never more than was paid."""
    ana = await customer(billing, tenant, gateway)
    made = (await charge(billing, tenant, ana["gatewayCustomerId"], gateway)).json()
    first, second = (
        f"{CHARGES}/{gateway}/{made['id']}/refund",
        f"/payment-gateway/{gateway}/charges/{made['id']}/refund",
    )
    early = await billing.call("POST", first, tenant, json={})
    assert (early.status_code, early.json()["code"]) == (409, "not_refundable"), early.text
    (asaas if gateway == "asaas" else pagbank).pay(made["id"])
    headers = {"Idempotency-Key": "r-1", "x-forwarded-for": "203.0.113.7"}
    body = {"value": 23.45, "description": "half"}
    answers = await asyncio.gather(*(billing.call("POST", first, tenant, json=body, headers=headers) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    [payment] = await payments(billing, tenant)
    assert (payment.refunded_cents, payment.status.value) == (2345, "partially_refunded")
    for value, status in ((0, 422), (0.001, 422), (100.01, 409)):
        assert (await billing.call("POST", second, tenant, json={"value": value})).status_code == status, value
    rest = await billing.call("POST", second, tenant, json={})
    assert rest.status_code == 200, rest.text
    assert rest.json()["data"]["refundedValue"] == 123.45
    [payment] = await payments(billing, tenant)
    assert (payment.refunded_cents, payment.status.value) == (12345, "refunded")
    told = await billing.told("billing.payment.refunded.v1")
    assert [one["amount_refunded_cents"] for one in told] == [2345, 10000]
    records = await billing.told("billing.audit.recorded.v1")
    asked = [one["context"]["location"] for one in records if one["action"] == "payment.refund_requested"]
    assert asked == ["203.0.113.7", None], "once for its key, and from where"
    unknown = await billing.call("POST", f"{CHARGES}/{gateway}/pay_unknown/refund", tenant, json={})
    assert unknown.status_code == 404


async def test_a_refund_that_failed_at_asaas_may_be_asked_for_again(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    ana = await customer(billing, tenant)
    made = (await charge(billing, tenant, ana["gatewayCustomerId"])).json()
    asaas.pay(made["id"])
    asaas.world.refunds_wait = True
    path = f"{CHARGES}/asaas/{made['id']}/refund"
    assert (await billing.call("POST", path, tenant, json={})).status_code == 200
    asaas.fail_refunds(made["id"])
    asaas.world.refunds_wait = False
    again = await billing.call("POST", path, tenant, json={"value": 123.45})
    assert again.status_code == 200, again.text
    [payment] = await payments(billing, tenant)
    assert (payment.refunded_cents, payment.status.value) == (12345, "refunded")
    assert len(await billing.told("billing.payment.refund_failed.v1")) == 1


async def test_a_charge_that_was_made_elsewhere_is_read_but_not_refunded(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    ana = await customer(billing, tenant)
    async with AsaasApi(ASAAS_KEY, base_url=asaas.url) as api:
        await api._http.ask(
            "POST",
            "/payments",
            json={"customer": ana["gatewayCustomerId"], "billingType": "PIX", "value": 10, "dueDate": due()},
        )
    [foreign] = asaas.world.payments
    asaas.pay(foreign)
    read = await billing.call("GET", f"{CHARGES}/asaas/{foreign}", tenant)
    assert (read.status_code, read.json()["status"]) == (200, "RECEIVED")
    pix = await billing.call("GET", f"{CHARGES}/asaas/{foreign}/pix", tenant)
    assert pix.status_code == 200, pix.text
    refused = await billing.call("POST", f"{CHARGES}/asaas/{foreign}/refund", tenant, json={})
    assert refused.status_code == 404
    assert asaas.payment(foreign)["status"] == "RECEIVED"
    assert await payments(billing, tenant) == []
    assert (await billing.call("GET", f"/payment-gateway/asaas/charges/{foreign}", tenant)).status_code == 404


async def test_pagbank_charges_too(billing: RunningService, tenant: UUID, pagbank: FakePagBank) -> None:
    """Seed 002 answered 400 to all of these."""
    ana = await customer(billing, tenant, "pagbank", leadId="lead-1")
    answer = await charge(billing, tenant, ana["gatewayCustomerId"], "pagbank")
    assert answer.status_code == 200, answer.text
    order = answer.json()
    assert (order["id"][:5], order["reference_id"]) == ("ORDE_", "order-77")
    assert order["qr_codes"][0]["amount"]["value"] == 12345
    [payment] = await payments(billing, tenant)
    assert payment.external_id == order["id"]
    pix = (await billing.call("GET", f"{CHARGES}/pagbank/{order['id']}/pix", tenant)).json()
    assert pix["payload"] == order["qr_codes"][0]["text"]
    assert len((await billing.call("GET", f"{CHARGES}/pagbank", tenant)).json()["data"]) == 1
    kept = await billing.call("POST", f"/payment-gateway/pagbank/charges/{order['id']}/cancel", tenant)
    assert (kept.status_code, kept.json()["code"]) == (409, "charge_not_withdrawn"), kept.text
    pagbank.pay(order["id"])
    read = await billing.call("GET", f"{CHARGES}/pagbank/{order['id']}", tenant)
    charge_id = read.json()["charges"][0]["id"]
    by_charge = await billing.call("GET", f"/payment-gateway/pagbank/charges/{charge_id}", tenant)
    assert by_charge.json()["data"]["gatewayChargeId"] == order["id"]
    assert (await payments(billing, tenant))[0].status.value == "paid"
    card = await charge(billing, tenant, ana["gatewayCustomerId"], "pagbank", billingType="CREDIT_CARD")
    assert (card.status_code, card.json()["code"]) == (422, "provider_refused")


async def test_stripe_charges_by_pix(start: Start, tenant: UUID) -> None:
    """Stripe's objects are nobody's dialect here: what is answered has Asaas' shape."""
    async with FakeStripe(api_key="sk_test_0123456789").serving() as stripe:
        billing = await start(STRIPE_API_BASE=stripe.url, ROLE="api")
        account = {"gateway": "stripe", "environment": "sandbox", "apiKey": "sk_test_0123456789"}
        assert (await billing.call("POST", "/payment-gateway/config", tenant, json=account)).status_code == 200
        tried = await billing.call("POST", "/payment-gateway/test/stripe", tenant)
        assert tried.json()["success"] is True
        hooks = await billing.call("POST", "/payment-gateway/stripe/webhook/test", tenant)
        assert hooks.json()["data"]["success"] is False  # no signing secret is stored
        ana = await customer(billing, tenant, "stripe")
        made = (await charge(billing, tenant, ana["gatewayCustomerId"], "stripe")).json()
        assert (made["object"], made["id"][:3], made["value"]) == ("payment", "pi_", 123.45)
        assert (made["externalReference"], made["status"]) == ("order-77", "PENDING")
        pix = (await billing.call("GET", f"{CHARGES}/stripe/{made['id']}/pix", tenant)).json()
        assert pix["payload"] == made["pixCopyPaste"]
        stripe.pay_pix(made["id"])
        read = await billing.call("GET", f"{CHARGES}/stripe/{made['id']}", tenant)
        assert read.json()["status"] == "PAID"
        back = await billing.call("POST", f"{CHARGES}/stripe/{made['id']}/refund", tenant, json={"value": 0.45})
        assert back.status_code == 200, back.text
        assert (await payments(billing, tenant))[0].refunded_cents == 45
        card = await charge(billing, tenant, ana["gatewayCustomerId"], "stripe", billingType="CREDIT_CARD")
        assert (card.status_code, card.json()["code"]) == (422, "provider_refused")


async def test_trials_of_pagbank(billing: RunningService, tenant: UUID, pagbank: FakePagBank) -> None:
    made = await billing.call("POST", "/payment-gateway/test/pagbank/pix", tenant, json={"amount": 2500})
    assert made.status_code == 200, made.text
    assert (made.json()["success"], made.json()["amount"]) == (True, 2500)
    assert made.json()["qrCode"]["payload"] == made.json()["order"]["qr_codes"][0]["text"]
    report = (await billing.call("POST", "/payment-gateway/test/pagbank/full", tenant)).json()
    assert report["summary"] == {"total": 2, "passed": 2, "failed": 0, "successRate": "100.0%"}
    orders = (await billing.call("GET", "/payment-gateway/test/pagbank/orders", tenant)).json()["orders"]
    assert [order["value"] for order in orders] == [100.0, 25.0]
    pagbank.server.faults = [Fault.FAIL_500] * 3
    failing = (await billing.call("POST", "/payment-gateway/test/pagbank/full", tenant)).json()
    assert failing["summary"]["failed"] == 1
    other = await billing.call("POST", "/payment-gateway/test/pagbank/full", uuid4())
    assert (other.status_code, other.json()["code"]) == (409, "provider_not_configured")


async def test_a_card_token_of_asaas_is_shown_to_nobody(
    billing: RunningService, tenant: UUID, asaas: FakeAsaas
) -> None:
    ana = await customer(billing, tenant)
    made = (await charge(billing, tenant, ana["gatewayCustomerId"], billingType="CREDIT_CARD")).json()
    asaas.world.payments[made["id"]]["creditCard"] = {"creditCardNumber": "8829", "creditCardToken": "tok-that-pays"}
    for path in (f"{CHARGES}/asaas/{made['id']}", f"{CHARGES}/asaas", f"/payment-gateway/asaas/charges/{made['id']}"):
        answer = await billing.call("GET", path, tenant)
        assert answer.status_code == 200
        assert "tok-that-pays" not in answer.text
        assert "8829" in answer.text
