"""The fake Asaas over its sockets: the shapes, status codes and webhook rules that Asaas publishes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from testkit.clock import MovableClock
from testkit.fake_asaas import FakeAsaas
from testkit.fake_http import Answer, FakeServer, Fault, Request

TOKEN = "whk_0123456789abcdef0123456789abcdef"
CLOCK = MovableClock(datetime(2026, 3, 10, 15, tzinfo=UTC))
TODAY = "2026-03-10"


class Seller:
    """Where webhooks arrive: answers with `statuses` in turn, then 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.server = FakeServer(self._respond)
        self.bodies: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []

    async def _respond(self, request: Request) -> Answer:
        self.bodies.append(request.json())
        self.tokens.append(request.headers.get("asaas-access-token"))
        return Answer(self.statuses.pop(0) if self.statuses else 200, {"received": True})

    @property
    def events(self) -> list[str]:
        return [body["event"] for body in self.bodies]


@pytest_asyncio.fixture
async def seller() -> AsyncIterator[Seller]:
    seller = Seller()
    async with seller.server.serving():
        yield seller


@pytest_asyncio.fixture
async def asaas() -> AsyncIterator[FakeAsaas]:
    async with FakeAsaas(retry_s=0.005, now=CLOCK, hang_s=1.0) as fake:
        yield fake


@pytest_asyncio.fixture
async def api(asaas: FakeAsaas) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"access_token": asaas.api_key}
    async with httpx.AsyncClient(base_url=asaas.url, headers=headers, timeout=5, trust_env=False) as client:
        yield client


async def new_customer(api: httpx.AsyncClient, **fields: object) -> str:
    body = {"name": "Ana", "email": "ana@example.com", "cpfCnpj": "529.982.247-25", **fields}
    answer = await api.post("/customers", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def new_payment(api: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    body = {"customer": await new_customer(api), "billingType": "PIX", "value": 247.1, "dueDate": TODAY, **fields}
    answer = await api.post("/payments", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def description(answer: httpx.Response) -> str:
    [error] = answer.json()["errors"]
    assert set(error) == {"code", "description"}
    return str(error["description"])


async def test_only_its_key_is_let_in(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    async with httpx.AsyncClient(base_url=asaas.url, trust_env=False) as stranger:
        assert (await stranger.get("/payments")).status_code == 401
        wrong = await stranger.get("/payments", headers={"access_token": "wrong"})
    assert (wrong.status_code, description(wrong)) == (401, "A chave de API fornecida é inválida")
    assert (await api.get("/payments")).json() == {
        "object": "list",
        "hasMore": False,
        "totalCount": 0,
        "limit": 10,
        "offset": 0,
        "data": [],
    }


async def test_a_get_with_a_body_is_forbidden(api: httpx.AsyncClient) -> None:
    assert (await api.request("GET", "/payments", content=b"{}")).status_code == 403


async def test_a_payment_has_asaas_shape(api: httpx.AsyncClient) -> None:
    payment = await new_payment(api, externalReference="ref", description="Plano")
    assert payment["value"] == 247.1
    assert payment["id"].startswith("pay_")
    assert (payment["status"], payment["dueDate"], payment["externalReference"]) == ("PENDING", TODAY, "ref")
    assert "subscription" not in payment  # left out, not null
    assert payment["refunds"] is None
    assert (await api.get(f"/payments/{payment['id']}")).json() == payment
    code = (await api.get(f"/payments/{payment['id']}/pixQrCode")).json()
    assert code["payload"].startswith("00020101021226")
    assert "5406247.10" in code["payload"]
    assert code["expirationDate"] == "2027-03-10 23:59:59"
    assert base64.b64decode(code["encodedImage"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"billingType": "GOLD"}, "invalid_billingType"),
        ({"value": None}, "invalid_value"),
        ({"value": 4.99}, "invalid_value"),
        ({"value": 5.001}, "invalid_value"),
        ({"value": "x"}, "invalid_value"),
        ({"dueDate": "2026-03-09"}, "invalid_dueDate"),
        ({"dueDate": "soon"}, "invalid_dueDate"),
    ],
)
async def test_a_wrong_payment_is_400(api: httpx.AsyncClient, changes: dict[str, object], code: str) -> None:
    body = {"customer": await new_customer(api), "billingType": "PIX", "value": 5, "dueDate": TODAY, **changes}
    answer = await api.post("/payments", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)


async def test_what_is_not_there_is_404_and_what_is_no_json_400(api: httpx.AsyncClient) -> None:
    for path in ("/payments/pay_1", "/customers/cus_1", "/subscriptions/sub_1", "/webhooks/1", "/nothing"):
        assert (await api.get(path)).status_code == 404
    body = {"customer": "cus_none", "billingType": "PIX", "value": 5, "dueDate": TODAY}
    assert (await api.post("/payments", json=body)).status_code == 404
    assert (await api.post("/customers", content=b"{")).status_code == 400


async def test_nobody_is_charged_without_a_tax_id(api: httpx.AsyncClient) -> None:
    assert (await api.post("/customers", json={"name": "A", "cpfCnpj": "52998224726"})).status_code == 400
    assert (await api.post("/customers", json={"email": "a@example.com"})).status_code == 400
    customer_id = await new_customer(api, cpfCnpj=None)
    body = {"customer": customer_id, "billingType": "PIX", "value": 5, "dueDate": TODAY}
    refused = await api.post("/payments", json=body)
    assert (refused.status_code, "CPF" in description(refused)) == (400, True)
    await api.put(f"/customers/{customer_id}", json={"cpfCnpj": "12.ABC.345/01DE-35"})
    assert (await api.post("/payments", json=body)).status_code == 200


async def test_listings_filter_and_page(api: httpx.AsyncClient) -> None:
    customer_id = await new_customer(api, externalReference="lead")
    body = {"customer": customer_id, "billingType": "BOLETO", "value": 5, "dueDate": TODAY}
    ids = [(await api.post("/payments", json=body | {"externalReference": str(n)})).json()["id"] for n in range(12)]
    first = (await api.get("/payments")).json()
    assert (len(first["data"]), first["hasMore"], first["totalCount"]) == (10, True, 12)
    assert first["data"][0]["id"] == ids[-1]  # newest first
    rest = (await api.get("/payments", params={"offset": 10, "limit": 100})).json()
    assert [one["id"] for one in rest["data"]] == ids[1::-1]
    assert not rest["hasMore"]
    [found] = (await api.get("/payments", params={"externalReference": "7"})).json()["data"]
    assert found["id"] == ids[7]
    assert (await api.get("/payments", params={"limit": 101})).status_code == 400
    for filters, count in (
        ({"dateCreated[ge]": TODAY}, 12),
        ({"dateCreated[ge]": "2026-03-11"}, 0),
        ({"dueDate[le]": "2026-03-09"}, 0),
        ({"paymentDate[ge]": TODAY}, 0),
        ({"customer": customer_id}, 12),
        ({"status": "RECEIVED"}, 0),
    ):
        assert (await api.get("/payments", params=filters)).json()["totalCount"] == count, filters
    assert (await api.get("/customers", params={"externalReference": "lead"})).json()["totalCount"] == 1
    assert (await api.get("/customers", params={"cpfCnpj": "52998224725"})).json()["totalCount"] == 1


async def test_a_subscription_makes_its_first_payment_at_once(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    customer_id = await new_customer(api)
    body = {
        "customer": customer_id,
        "billingType": "CREDIT_CARD",
        "value": 247,
        "cycle": "MONTHLY",
        "nextDueDate": "2026-03-31",
        "externalReference": "order",
    }
    subscription = (await api.post("/subscriptions", json=body)).json()
    assert (subscription["status"], subscription["nextDueDate"]) == ("ACTIVE", "2026-04-30")
    assert "invoiceUrl" not in subscription
    where = f"/subscriptions/{subscription['id']}"
    [payment] = (await api.get(f"{where}/payments")).json()["data"]
    assert (payment["dueDate"], payment["externalReference"]) == ("2026-03-31", "order")
    assert payment["subscription"] == subscription["id"]
    asaas.renew(subscription["id"])
    assert len((await api.get(f"{where}/payments")).json()["data"]) == 2
    changed = (await api.put(where, json={"value": 300, "updatePendingPayments": True})).json()
    assert changed["value"] == 300
    assert {one["value"] for one in (await api.get(f"{where}/payments")).json()["data"]} == {300}
    assert (await api.delete(where)).json() == {"deleted": True, "id": subscription["id"]}
    assert (await api.get(where)).json()["deleted"]
    assert (await api.get(f"{where}/payments")).json()["data"] == []
    assert (await api.delete(where)).status_code == 400
    assert (await api.post("/subscriptions", json=body | {"cycle": "DAILY"})).status_code == 400
    assert asaas.effects["payment"]["order"] == 2


async def test_refunds_end_at_the_amount(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    payment = await new_payment(api)
    where = f"/payments/{payment['id']}"
    assert (await api.post(f"{where}/refund", json={})).status_code == 400
    asaas.pay(payment["id"])
    assert (await api.delete(where)).status_code == 400
    partly = (await api.post(f"{where}/refund", json={"value": 47.1, "description": "a"})).json()
    assert partly["status"] == "RECEIVED"
    assert [(one["value"], one["status"], one["description"]) for one in partly["refunds"]] == [(47.1, "DONE", "a")]
    assert (await api.post(f"{where}/refund", json={"value": 200.01})).status_code == 400
    asaas.world.refunds_wait = True
    waiting = (await api.post(f"{where}/refund", json={})).json()
    assert (waiting["status"], waiting["refunds"][1]["status"]) == ("RECEIVED", "PENDING")
    asaas.finish_refunds(payment["id"])
    assert asaas.payment(payment["id"])["status"] == "REFUNDED"


async def test_a_webhook_carries_its_token_and_asaas_body(
    asaas: FakeAsaas, api: httpx.AsyncClient, seller: Seller
) -> None:
    asaas.add_webhook(f"{seller.server.url}/hook", TOKEN)
    payment = await new_payment(api, externalReference="ref")
    asaas.pay(payment["id"])
    await asaas.settle()
    assert seller.events == ["PAYMENT_CREATED", "PAYMENT_RECEIVED"]  # PIX is never CONFIRMED
    assert seller.tokens == [TOKEN, TOKEN]
    body = seller.bodies[1]
    assert body["id"].startswith("evt_")
    assert "&" in body["id"]
    assert body["dateCreated"] == "2026-03-10 12:00:00"
    assert (body["payment"]["status"], body["payment"]["paymentDate"]) == ("RECEIVED", TODAY)
    assert seller.bodies[0]["payment"]["status"] == "PENDING"  # as it was then


async def test_a_card_is_confirmed_before_it_is_received(
    asaas: FakeAsaas, api: httpx.AsyncClient, seller: Seller
) -> None:
    asaas.add_webhook(f"{seller.server.url}/hook", TOKEN, ["PAYMENT_CONFIRMED", "PAYMENT_RECEIVED"])
    payment = await new_payment(api, billingType="UNDEFINED")
    asaas.pay(payment["id"], "CREDIT_CARD")
    asaas.credit(payment["id"])
    await asaas.settle()
    assert seller.events == ["PAYMENT_CONFIRMED", "PAYMENT_RECEIVED"]
    assert asaas.payment(payment["id"])["billingType"] == "CREDIT_CARD"


async def test_every_turn_of_a_payment_is_told(asaas: FakeAsaas, api: httpx.AsyncClient, seller: Seller) -> None:
    asaas.add_webhook(f"{seller.server.url}/hook", TOKEN)
    late, lost, won = [(await new_payment(api))["id"] for _ in range(3)]
    asaas.overdue(late)
    asaas.delete(late)
    for payment_id in (lost, won):
        asaas.pay(payment_id)
        asaas.chargeback(payment_id)
    asaas.dispute(lost)
    asaas.end_dispute(lost, won=False)
    asaas.end_dispute(won, won=True)
    asaas.refund(won, 100)
    await asaas.settle()
    assert [event.removeprefix("PAYMENT_") for event in seller.events[3:]] == [
        *("OVERDUE", "DELETED", "RECEIVED", "CHARGEBACK_REQUESTED", "RECEIVED", "CHARGEBACK_REQUESTED"),
        *("CHARGEBACK_DISPUTE", "UPDATED", "AWAITING_CHARGEBACK_REVERSAL", "RECEIVED", "PARTIALLY_REFUNDED"),
    ]
    assert asaas.payment(late)["deleted"]
    assert asaas.payment(lost)["chargeback"]["status"] == "DISPUTE_LOST"


@pytest.mark.parametrize("is_under_way", [True, False])
async def test_refunds_may_fail_after_they_were_done_too(
    asaas: FakeAsaas, api: httpx.AsyncClient, seller: Seller, is_under_way: bool
) -> None:
    payment_id = (await new_payment(api))["id"]
    asaas.pay(payment_id)
    asaas.world.refunds_wait = is_under_way
    asaas.refund(payment_id)
    asaas.add_webhook(f"{seller.server.url}/hook", TOKEN)
    asaas.fail_refunds(payment_id)
    await asaas.settle()
    [body] = seller.bodies
    assert (body["event"], body["payment"]["status"]) == ("PAYMENT_UPDATED", "RECEIVED")
    assert [one["status"] for one in body["payment"]["refunds"]] == ["CANCELLED"]
    asaas.world.refunds_wait = False
    asaas.refund(payment_id)
    assert asaas.payment(payment_id)["status"] == "REFUNDED"


@pytest.mark.parametrize("status", [201, 202, 302, 401, 500])
async def test_anything_but_200_is_tried_again_before_the_next(
    asaas: FakeAsaas, api: httpx.AsyncClient, seller: Seller, status: int
) -> None:
    webhook_id = asaas.add_webhook(f"{seller.server.url}/hook", TOKEN)
    seller.statuses = [status, status]
    payment = await new_payment(api)
    asaas.pay(payment["id"])
    await asaas.settle()
    assert seller.events == ["PAYMENT_CREATED"] * 3 + ["PAYMENT_RECEIVED"]
    assert len({body["id"] for body in seller.bodies}) == 2  # a redelivery repeats its id
    assert not asaas.webhook(webhook_id)["interrupted"]


async def test_fifteen_failures_pause_the_queue_and_it_resumes_in_order(
    asaas: FakeAsaas, api: httpx.AsyncClient, seller: Seller
) -> None:
    webhook_id = asaas.add_webhook(f"{seller.server.url}/hook", TOKEN)
    seller.statuses = [500] * 15
    payment = await new_payment(api)
    asaas.pay(payment["id"])
    await asaas.settle()
    assert len(seller.bodies) == 15
    [queue] = (await api.get("/webhooks")).json()["data"]
    assert (queue["id"], queue["interrupted"], queue["hasAuthToken"]) == (webhook_id, True, True)
    assert TOKEN not in json.dumps(queue)
    await asyncio.sleep(0.05)
    assert len(seller.bodies) == 15
    resumed = await api.put(f"/webhooks/{webhook_id}", json={"interrupted": False})
    assert resumed.json()["interrupted"] is False
    await asaas.settle()
    assert seller.events[15:] == ["PAYMENT_CREATED", "PAYMENT_RECEIVED"]


async def test_deliveries_can_be_doubled_reversed_delayed_and_forged(
    asaas: FakeAsaas, api: httpx.AsyncClient, seller: Seller
) -> None:
    asaas.add_webhook(f"{seller.server.url}/hook", TOKEN)
    asaas.hold()
    asaas.hook_faults.duplicates = 1
    asaas.hook_faults.newest_first = True
    asaas.hook_faults.delay_s = 0.01
    payment = await new_payment(api)
    asaas.forge(lambda found: found | {"value": 0.01})
    asaas.pay(payment["id"])
    asaas.forge(None)
    await asaas.settle()
    assert seller.events == []
    asaas.release()
    await asaas.settle()
    assert seller.events == ["PAYMENT_RECEIVED"] * 2 + ["PAYMENT_CREATED"] * 2
    assert [body["payment"]["value"] for body in seller.bodies] == [0.01, 0.01, 247.1, 247.1]
    assert asaas.payment(payment["id"])["value"] == 247.1
    asaas.send({"id": "evt_forged", "event": "PAYMENT_RECEIVED", "payment": {"id": "pay_other"}})
    await asaas.settle()
    assert (seller.bodies[-1]["id"], seller.tokens[-1]) == ("evt_forged", TOKEN)
    assert {delivery.status for delivery in asaas.deliveries} == {200}


async def test_an_address_that_nobody_listens_on_fails_like_any_other(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    webhook_id = asaas.add_webhook("http://127.0.0.1:9/hook", TOKEN)
    await new_payment(api)
    await asaas.settle()
    assert asaas.webhook(webhook_id)["interrupted"]
    assert {delivery.status for delivery in asaas.deliveries} == {None}


async def test_webhooks_are_registered_changed_and_removed(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    body = {"name": "n", "url": "https://example.com/h", "email": "a@example.com", "authToken": TOKEN, "events": []}
    made = await api.post("/webhooks", json=body)
    where = f"/webhooks/{made.json()['id']}"
    assert made.status_code == 200
    assert (await api.put(where, json={"interrupted": True})).json()["interrupted"]
    assert not (await api.post(f"{where}/removeBackoff")).json()["interrupted"]
    assert (await api.get(where)).json()["url"] == "https://example.com/h"
    assert (await api.delete(where)).status_code == 200
    assert (await api.get(where)).status_code == 404
    assert (await api.post("/webhooks", json=body | {"authToken": "short"})).status_code == 400
    assert (await api.post("/webhooks", json=body | {"url": "ftp://x"})).status_code == 400
    for number in range(10):
        assert (await api.post("/webhooks", json=body | {"url": f"https://example.com/{number}"})).status_code == 200
    assert (await api.post("/webhooks", json=body)).status_code == 400


async def test_a_person_pays_on_the_invoice_page(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    payment = await new_payment(api, billingType="UNDEFINED", description="Plano <b>")
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as browser:
        page = await browser.get(payment["invoiceUrl"])
        assert page.headers["content-type"].startswith("text/html")
        assert "Plano &lt;b&gt;" in page.text
        assert "R$ 247,10" in page.text
        assert page.text.count("<button") == 3
        paid = await browser.post(payment["invoiceUrl"], data={"method": "PIX"})
        assert "RECEIVED" in paid.text
        assert "<button" not in paid.text
        assert (await browser.post(payment["invoiceUrl"], data={"method": "PIX"})).status_code == 409
        assert (await browser.get(f"{asaas.server.url}/i/none")).status_code == 404
    assert asaas.effects["paid"][payment["id"]] == 1
    removed = await new_payment(api, billingType="CREDIT_CARD")
    async with httpx.AsyncClient(trust_env=False) as browser:
        assert (await browser.get(removed["invoiceUrl"])).text.count("<button") == 1
        asaas.delete(removed["id"])
        assert "removida" in (await browser.get(removed["invoiceUrl"])).text


async def test_a_dropped_reply_has_had_its_effect(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    asaas.server.faults = [Fault.DROP_REPLY]
    with pytest.raises(httpx.RemoteProtocolError):
        await api.post("/customers", json={"name": "Ana", "externalReference": "ref"})
    assert asaas.effects["customer"]["ref"] == 1


async def test_the_balance_is_what_was_received(asaas: FakeAsaas, api: httpx.AsyncClient) -> None:
    assert (await api.get("/finance/balance")).json() == {"balance": 0}
    asaas.pay((await new_payment(api))["id"])
    assert (await api.get("/finance/balance")).json() == {"balance": 245.11}


async def test_days_are_those_of_sao_paulo() -> None:
    late = MovableClock(datetime(2026, 3, 11, 1, tzinfo=UTC))
    async with FakeAsaas(now=late) as fake:
        assert fake.world.today().isoformat() == TODAY
        late.advance(timedelta(hours=2))
        assert fake.world.today().isoformat() == "2026-03-11"
