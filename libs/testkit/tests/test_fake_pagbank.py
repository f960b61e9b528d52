"""The fake PagBank over its sockets: the shapes, status codes and signatures that PagBank publishes."""

import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from testkit.fake_http import Answer, FakeServer, Fault, Request
from testkit.fake_pagbank import FakePagBank
from testkit.fake_pagbank.refusals import Refusal

NOW = datetime(2026, 3, 10, 15, tzinfo=UTC)
CUSTOMER = {"name": "Jose da Silva", "email": "jose@example.com", "tax_id": "12345678909"}


class Seller:
    """Where webhooks arrive: keeps them as they came."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.server = FakeServer(self._respond)
        self.requests: list[Request] = []

    async def _respond(self, request: Request) -> Answer:
        self.requests.append(request)
        return Answer(self.statuses.pop(0) if self.statuses else 201, {})

    @property
    def url(self) -> str:
        return f"{self.server.url}/hook"

    @property
    def states(self) -> list[str]:
        bodies = [request.json() for request in self.requests]
        return [body["charges"][-1]["status"] if body.get("charges") else body["status"] for body in bodies]


@pytest_asyncio.fixture
async def seller() -> AsyncIterator[Seller]:
    seller = Seller()
    async with seller.server.serving():
        yield seller


@pytest_asyncio.fixture
async def pagbank() -> AsyncIterator[FakePagBank]:
    async with FakePagBank(retry_s=0.005, now=lambda: NOW, hang_s=1.0) as fake:
        yield fake


@pytest_asyncio.fixture
async def api(pagbank: FakePagBank) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {pagbank.token}"}
    async with httpx.AsyncClient(base_url=pagbank.url, headers=headers, timeout=5, trust_env=False) as client:
        yield client


def pix_order(**changes: object) -> dict[str, Any]:
    return {
        "reference_id": "ref",
        "customer": CUSTOMER,
        "items": [{"name": "Plano", "quantity": 1, "unit_amount": 24700}],
        "qr_codes": [{"amount": {"value": 24700}}],
        **changes,
    }


async def made(api: httpx.AsyncClient, path: str, body: dict[str, Any], key: str = "") -> dict[str, Any]:
    answer = await api.post(path, json=body, headers={"x-idempotency-key": key} if key else {})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def link(found: dict[str, Any], rel: str) -> str:
    return next(str(one["href"]) for one in found["links"] if one["rel"] == rel)


async def test_only_its_token_is_let_in(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    async with httpx.AsyncClient(base_url=pagbank.url, trust_env=False) as stranger:
        answer = await stranger.post("/orders", json=pix_order(), headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401
    assert answer.json()["error_messages"][0]["code"] == "UNAUTHORIZED"


async def test_an_account_that_is_not_released_is_told(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    pagbank.release_account(is_released=False)
    answer = await api.post("/orders", json=pix_order())
    assert answer.status_code == 403
    [message] = answer.json()["error_messages"]
    assert message["code"] == "ACCESS_DENIED"
    assert "whitelist access required" in message["description"]
    assert (await api.get("/public-keys", params={"type": "webhook"})).status_code == 200
    assert pagbank.effects == {}


async def test_a_pix_order_has_pagbanks_shape(api: httpx.AsyncClient) -> None:
    order = await made(api, "/orders", pix_order())
    assert order["id"].startswith("ORDE_")
    assert "charges" not in order
    [code] = order["qr_codes"]
    assert code["text"].startswith("00020101021226")
    assert "5406247.00" in code["text"]
    assert code["expiration_date"] == "2026-03-11T12:00:00.000-03:00"  # a day, when nothing is said
    assert [one["rel"] for one in code["links"]] == ["QRCODE.PNG", "QRCODE.BASE64"]
    assert [one["rel"] for one in order["links"]] == ["SELF", "PAY"]
    assert (await api.get(f"/orders/{order['id']}")).json() == order


async def test_the_newer_shape_is_a_waiting_charge(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    pagbank.world.newer_shape = True
    order = await made(api, "/orders", pix_order())
    assert "qr_codes" not in order
    [charge] = order["charges"]
    assert (charge["status"], charge["payment_method"]["type"]) == ("WAITING", "PIX")
    assert charge["qr_code"]["text"].startswith("000201")
    pagbank.pay(order["id"])
    [charge] = (await api.get(f"/orders/{order['id']}")).json()["charges"]
    assert charge["status"] == "PAID"


@pytest.mark.parametrize(
    ("changes", "code", "parameter"),
    [
        ({"customer": None}, "40001", "customer"),
        ({"customer": {**CUSTOMER, "tax_id": None}}, "40001", "customer.tax_id"),
        ({"customer": {**CUSTOMER, "tax_id": "123"}}, "40002", "customer.tax_id"),
        ({"customer": {**CUSTOMER, "email": "x"}}, "40002", "customer.email"),
        ({"reference_id": "r" * 65}, "40002", "reference_id"),
        ({"items": [{"quantity": 1, "unit_amount": 5}]}, "40001", "items[0].name"),
        ({"qr_codes": [{}]}, "40001", "qr_codes[0].amount.value"),
        ({"qr_codes": [{"amount": {"value": 1.5}}]}, "40002", "qr_codes[0].amount.value"),
        ({"qr_codes": [{"amount": {"value": 1}}] * 2}, "40002", "qr_codes"),
        ({"qr_codes": [{"amount": {"value": 1}, "expiration_date": "soon"}]}, "40002", "qr_codes[0].expiration_date"),
        ({"charges": [{"amount": {"value": 1}, "payment_method": {"type": "GOLD"}}]}, "40002", None),
        ({"charges": [{"amount": {"value": 1}, "payment_method": {"type": "CREDIT_CARD"}}]}, "40001", None),
    ],
)
async def test_a_wrong_order_is_400(
    api: httpx.AsyncClient, changes: dict[str, object], code: str, parameter: str | None
) -> None:
    answer = await api.post("/orders", json=pix_order(**changes))
    assert answer.status_code == 400
    [message] = answer.json()["error_messages"]
    assert message["code"] == code
    assert parameter is None or message["parameter_name"] == parameter


async def test_what_is_not_there_is_404_and_what_is_no_json_400(api: httpx.AsyncClient) -> None:
    for path in ("/orders/ORDE_1", "/charges/CHAR_1", "/checkouts/CHEC_1", "/orders?charge_id=CHAR_1", "/nothing"):
        assert (await api.get(path)).status_code == 404
    assert (await api.get("/orders")).status_code == 400
    assert (await api.post("/orders", content=b"{")).status_code == 400
    assert (await api.post("/checkouts", json={"items": []})).status_code == 400
    item = {"name": "P", "quantity": 1, "unit_amount": 5}
    body = {"items": [item], "payment_methods": [{"type": "GOLD"}]}
    assert (await api.post("/checkouts", json=body)).status_code == 400


async def test_a_key_makes_a_repeat_the_same_order(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    first = await made(api, "/orders", pix_order(), "k1")
    assert await made(api, "/orders", pix_order(), "k1") == first
    assert await made(api, "/orders", pix_order(), "k2") != first
    assert pagbank.effects["order"]["ref"] == 2
    pagbank.pay(first["id"])
    assert await made(api, "/orders", pix_order(), "k1") == first  # as it was answered then


async def test_webhooks_carry_both_signatures(pagbank: FakePagBank, api: httpx.AsyncClient, seller: Seller) -> None:
    order = await made(api, "/orders", pix_order(notification_urls=[seller.url]))
    charge_id = pagbank.pay(order["id"])
    await pagbank.settle()
    [request] = seller.requests
    assert request.json()["charges"][0]["id"] == charge_id
    assert request.json() == (await api.get(f"/orders/{order['id']}")).json()
    expected = hashlib.sha256(f"{pagbank.token}-".encode() + request.body).hexdigest()
    assert request.headers["x-authenticity-token"] == expected
    found = (await api.get("/public-keys", params={"type": "webhook"})).json()
    key = load_der_public_key(base64.b64decode(found["public_key"]))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(base64.b64decode(request.headers["x-payload-signature"]), request.body, ec.ECDSA(SHA256()))
    assert (await api.get("/public-keys")).status_code == 400
    pagbank.move_public_keys("/public-keys/webhook")
    assert (await api.get("/public-keys", params={"type": "webhook"})).status_code == 404
    assert (await api.get("/public-keys/webhook")).json() == found


async def test_the_sandbox_signs_nothing(seller: Seller) -> None:
    async with FakePagBank(sandbox=True) as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        async with httpx.AsyncClient(base_url=sandbox.url, headers=headers, trust_env=False) as api:
            order = await made(api, "/orders", pix_order(notification_urls=[seller.url]))
        sandbox.pay(order["id"])
        await sandbox.settle()
    assert not {"x-authenticity-token", "x-payload-signature"} & seller.requests[0].headers.keys()


async def test_charges_are_found_refunded_and_withdrawn(
    pagbank: FakePagBank, api: httpx.AsyncClient, seller: Seller
) -> None:
    order = await made(api, "/orders", pix_order(notification_urls=[seller.url]))
    charge_id = pagbank.pay(order["id"])
    where = f"/charges/{charge_id}"
    assert (await api.get(where)).json()["amount"]["summary"] == {"total": 24700, "paid": 24700, "refunded": 0}
    assert (await api.get("/orders", params={"charge_id": charge_id})).json()["id"] == order["id"]

    async def cancel(value: object, key: str) -> httpx.Response:
        return await api.post(f"{where}/cancel", json={"amount": {"value": value}}, headers={"x-idempotency-key": key})

    partly = await cancel(700, "r1")
    assert (partly.status_code, partly.json()["status"]) == (200, "PAID")
    assert (await cancel(700, "r1")).json() == partly.json()
    assert (await cancel(24001, "r2")).status_code == 400
    assert (await cancel(None, "r3")).status_code == 400
    whole = (await cancel(24000, "r4")).json()
    assert (whole["status"], whole["amount"]["summary"]["refunded"]) == ("CANCELED", 24700)
    assert (await cancel(1, "r5")).status_code == 400
    assert pagbank.effects["refund"] == {"r1": 1, "r4": 1}
    await pagbank.settle()
    assert seller.states == ["PAID", "PAID", "CANCELED"]


async def test_a_boleto_waits_with_a_slip(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    charge = {"amount": {"value": 500, "currency": "BRL"}, "payment_method": {"type": "BOLETO"}}
    order = await made(api, "/orders", pix_order(qr_codes=[], charges=[charge]))
    [found] = order["charges"]
    assert (found["status"], found["reference_id"], found["links"][0]["media"]) == ("WAITING", "ref", "application/pdf")
    answer = await api.post(f"/charges/{found['id']}/cancel", json={"amount": {"value": 500}})
    assert answer.json()["status"] == "CANCELED"
    assert pagbank.effects.get("refund") is None


async def test_a_declined_card_may_be_followed_by_a_paid_one(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    order = await made(api, "/orders", pix_order())
    pagbank.decline(order["id"])
    pagbank.pay(order["id"], "CREDIT_CARD", amount_cents=100)
    found = pagbank.order(order["id"])
    assert [(one["status"], one["amount"]["value"]) for one in found["charges"]] == [("DECLINED", 24700), ("PAID", 100)]
    pagbank.refund(order["id"])
    assert found["charges"][1]["status"] == "CANCELED"


async def test_deliveries_can_be_doubled_reversed_repeated_and_forged(
    pagbank: FakePagBank, api: httpx.AsyncClient, seller: Seller
) -> None:
    order = await made(api, "/orders", pix_order(notification_urls=[seller.url]))
    pagbank.hold()
    pagbank.hook_faults.duplicates = 1
    pagbank.hook_faults.newest_first = True
    pagbank.decline(order["id"])
    pagbank.forge(lambda found: found | {"reference_id": "another"})
    pagbank.pay(order["id"])
    pagbank.forge(None)
    pagbank.release()
    await pagbank.settle()
    assert seller.states == ["PAID", "PAID", "DECLINED", "DECLINED"]
    assert [request.json()["reference_id"] for request in seller.requests] == ["another", "another", "ref", "ref"]
    assert pagbank.order(order["id"])["reference_id"] == "ref"
    pagbank.hook_faults.duplicates = 0
    seller.statuses = [500, 400]
    pagbank.send(seller.url, {"id": "ORDE_other", "status": "x"})
    await pagbank.settle()
    assert seller.states[4:] == ["x"] * 3
    assert [one.status for one in pagbank.deliveries][-3:] == [500, 400, 201]


async def test_an_event_that_is_always_refused_is_given_up(pagbank: FakePagBank, seller: Seller) -> None:
    seller.statuses = [401] * 50
    pagbank.send(seller.url, {"id": "ORDE_1", "status": "first"})
    pagbank.send(seller.url, {"id": "ORDE_2", "status": "second"})
    await pagbank.settle()
    assert seller.states == ["first"] * 50 + ["second"]


async def test_a_person_pays_on_the_checkout_page(pagbank: FakePagBank, api: httpx.AsyncClient, seller: Seller) -> None:
    body = {
        "reference_id": "ref",
        "items": [{"name": "Plano <b>", "quantity": 2, "unit_amount": 12350}],
        "payment_methods": [{"type": "CREDIT_CARD"}, {"type": "PIX"}],
        "redirect_url": "https://example.com/success?a=1&b=2",
        "return_url": "https://example.com/cancel",
        "payment_notification_urls": [seller.url],
    }
    checkout = await made(api, "/checkouts", body)
    assert (checkout["status"], checkout["expiration_date"]) == ("ACTIVE", "2026-03-10T14:00:00.000-03:00")
    page_url = link(checkout, "PAY")
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as browser:
        page = await browser.get(page_url)
        assert page.headers["content-type"].startswith("text/html")
        assert "Plano &lt;b&gt;" in page.text
        assert "R$ 247,00" in page.text
        assert page.text.count("<button") == 2
        paid = await browser.post(page_url, data={"method": "PIX"})
        assert "PAID" in paid.text
        assert 'href="https://example.com/success?a=1&amp;b=2"' in paid.text
        assert (await browser.post(page_url, data={"method": "PIX"})).status_code == 409
        assert (await browser.get(f"{pagbank.url}/pagamento?code=CHEC_1")).status_code == 404
    await pagbank.settle()
    [order] = pagbank.orders_of("ref")
    assert (order["charges"][0]["amount"]["value"], seller.states) == (24700, ["PAID"])
    assert (await api.get(f"/checkouts/{checkout['id']}")).json()["orders"] == [{"id": order["id"]}]


async def test_a_checkout_that_expires_tells_the_other_address(
    pagbank: FakePagBank, api: httpx.AsyncClient, seller: Seller
) -> None:
    item = {"name": "P", "quantity": 1, "unit_amount": 500}
    checkout = await made(api, "/checkouts", {"items": [item], "notification_urls": [seller.url]})
    pagbank.expire_checkout(checkout["id"])
    await pagbank.settle()
    assert seller.states == ["EXPIRED"]
    async with httpx.AsyncClient(trust_env=False) as browser:
        page = await browser.get(link(checkout, "PAY"))
    assert "EXPIRED" in page.text
    assert "<button" not in page.text


async def test_a_checkout_that_the_seller_closes_takes_nobody(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    checkout = await made(api, "/checkouts", {"items": [{"name": "P", "quantity": 1, "unit_amount": 500}]})
    tried = pagbank.analyse_checkout(checkout["id"])
    assert pagbank.order(tried)["charges"][0]["status"] == "IN_ANALYSIS"
    closed = await api.post(f"/checkouts/{checkout['id']}/inactivate", json={})
    assert closed.json()["status"] == "INACTIVE"
    assert (await api.post(f"/checkouts/{checkout['id']}/inactivate", json={})).status_code == 400
    with pytest.raises(Refusal):
        pagbank.pay_checkout(checkout["id"])
    pagbank.pay(tried)  # what was begun in time
    assert [charge["status"] for charge in pagbank.order(tried)["charges"]] == ["PAID"]


async def test_a_refund_may_come_back(pagbank: FakePagBank, api: httpx.AsyncClient, seller: Seller) -> None:
    order = await made(api, "/orders", pix_order(notification_urls=[seller.url]))
    pagbank.pay(order["id"])
    pagbank.refund(order["id"])
    pagbank.fail_refund(order["id"], 700)
    await pagbank.settle()
    assert seller.states == ["PAID", "CANCELED", "PAID"]
    [charge] = pagbank.order(order["id"])["charges"]
    assert charge["amount"]["summary"] == {"total": 24700, "paid": 24700, "refunded": 24000}


async def test_a_dropped_reply_has_had_its_effect(pagbank: FakePagBank, api: httpx.AsyncClient) -> None:
    pagbank.server.faults = [Fault.DROP_REPLY]
    with pytest.raises(httpx.RemoteProtocolError):
        await api.post("/orders", json=pix_order())
    assert pagbank.effects["order"]["ref"] == 1
