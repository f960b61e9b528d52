"""The fake Stripe over its socket: its protocol as Stripe's own library and as plain HTTP see it, and its webhooks."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import stripe

from testkit.fake_http import Answer, FakeServer, Request
from testkit.fake_stripe import Crash, FakeStripe, Object, Shape, fake_stripe
from testkit.fake_stripe.errors import Refusal
from testkit.fake_stripe.forms import read_form
from testkit.fake_stripe.periods import next_end

KEY = "sk_test_fake"
DAHLIA = "2026-03-25.dahlia"
SUCCESS = "https://shop.example/ok?session_id={CHECKOUT_SESSION_ID}"
SESSION: dict[str, str] = {
    "mode": "subscription",
    "line_items[0][price_data][currency]": "brl",
    "line_items[0][price_data][unit_amount]": "24700",
    "line_items[0][price_data][product_data][name]": "Essencial",
    "line_items[0][price_data][recurring][interval]": "month",
    "line_items[0][quantity]": "1",
    "success_url": SUCCESS,
    "cancel_url": "https://shop.example/no",
    "customer_email": "ana@example.com",
    "subscription_data[metadata][order_id]": "order-1",
    "metadata[order_id]": "order-1",
}
ONCE = {name: value for name, value in SESSION.items() if not re.search("subscription_data|recurring", name)} | {
    "mode": "payment",
    "payment_method_types[0]": "pix",
    "payment_method_types[1]": "card",
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as running:
        yield running


@pytest.fixture
async def http(fake: FakeStripe) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=fake.url, headers=headers, trust_env=False) as client:
        yield client


class Endpoint:
    """Somebody's webhook endpoint: keeps what it gets, and answers `statuses` in turn, then 200."""

    def __init__(self) -> None:
        self.got: list[Request] = []
        self.statuses: list[int] = []
        self.server = FakeServer(self._respond)

    async def _respond(self, request: Request) -> Answer:
        self.got.append(request)
        return Answer(self.statuses.pop(0) if self.statuses else 200, {"received": True})

    @property
    def types(self) -> list[str]:
        return [request.json()["type"] for request in self.got]

    @property
    def ids(self) -> list[str]:
        return [request.json()["id"] for request in self.got]


@pytest.fixture
async def endpoint(fake: FakeStripe) -> AsyncIterator[Endpoint]:
    found = Endpoint()
    async with found.server.serving():
        fake.webhook_urls.append(f"{found.server.url}/hook")
        yield found


async def made(http: httpx.AsyncClient, path: str, form: dict[str, str] | None = None, **headers: str) -> Object:
    answer = await http.post(f"/v1/{path}", data=form or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: Object = answer.json()
    return found


async def read(http: httpx.AsyncClient, path: str, **params: str) -> Object:
    answer = await http.get(f"/v1/{path}", params=params)
    assert answer.status_code == 200, answer.text
    found: Object = answer.json()
    return found


async def subscribed(fake: FakeStripe, http: httpx.AsyncClient, **more: str) -> Object:
    session = fake.pay((await made(http, "checkout/sessions", SESSION | more))["id"])
    return fake.world.get("subscription", session["subscription"])


# The protocol


async def test_stripes_own_library_is_served(fake: FakeStripe) -> None:
    library = stripe.HTTPXClient()
    client = stripe.StripeClient(KEY, base_addresses={"api": fake.url}, http_client=library)
    product = await client.v1.products.create_async({"name": "Essencial", "metadata": {"plan": "1"}})
    price = await client.v1.prices.create_async(
        {"product": product.id, "currency": "brl", "unit_amount": 24_700, "recurring": {"interval": "month"}}
    )
    session = await client.v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "line_items": [{"price": price.id, "quantity": 2}],
            "success_url": SUCCESS,
            "customer_email": "ana@example.com",
        }
    )
    assert (session.amount_total, session.status, session.payment_status) == (49_400, "open", "unpaid")
    fake.pay(session.id)
    session = await client.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["subscription", "customer"]})
    assert isinstance(session.subscription, stripe.Subscription)
    assert isinstance(session.customer, stripe.Customer)
    assert session.customer.email == "ana@example.com"
    item = session.subscription.items.data[0]
    assert (item.quantity, item.price.id) == (2, price.id)
    invoice = await client.v1.invoices.retrieve_async(str(session.invoice), {"expand": ["payments"]})
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == session.subscription.id
    assert invoice.payments is not None
    assert invoice.payments.data[0].payment.payment_intent is not None
    await client.v1.subscriptions.update_async(session.subscription.id, {"cancel_at_period_end": True})
    ended = await client.v1.subscriptions.cancel_async(session.subscription.id)
    assert (ended.status, ended.cancel_at_period_end) == ("canceled", True)
    listed = await client.v1.events.list_async({"limit": 3})
    seen = [event.id async for event in listed.auto_paging_iter()]
    assert seen == [event["id"] for event in reversed(fake.events)]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.prices.retrieve_async("price_gone")
    assert (caught.value.code, caught.value.http_status) == ("resource_missing", 404)
    await library.close_async()  # type: ignore[no-untyped-call]  # not annotated


async def test_a_version_without_the_list_of_methods_refuses_it(http: httpx.AsyncClient) -> None:
    for path, form in [
        ("checkout/sessions", ONCE),
        ("payment_intents", {"amount": "100", "currency": "brl", "payment_method_types[]": "pix"}),
    ]:
        refused = await http.post(f"/v1/{path}", data=form, headers={"Stripe-Version": "2026-10-28.endive"})
        assert refused.json()["error"]["code"] == "payment_method_types_no_longer_supported"
        answer = await http.post(f"/v1/{path}", data=form, headers={"Stripe-Version": DAHLIA})
        assert (answer.status_code, answer.headers["stripe-version"]) == (200, DAHLIA)
        assert answer.headers["request-id"].startswith("req_")


async def test_only_the_key_opens_the_account(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    async def error(**options: Any) -> tuple[int, str]:
        answer = await http.get("/v1/account", **options)
        return answer.status_code, answer.json().get("error", {}).get("message", "")

    assert (await error())[0] == 200
    assert (await error(auth=(KEY, "")))[0] == 200  # curl -u
    status, message = await error(headers={"Authorization": ""})
    assert (status, "did not provide an API key" in message) == (401, True)
    status, message = await error(headers={"Authorization": "Bearer sk_test_somebody_elses_1234"})
    assert status == 401
    assert "Invalid API Key provided: sk_test_" in message
    assert "somebody" not in message
    fake.front.permits = lambda _: False
    assert (await error())[0] == 403


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"mode": ""}, 400, "parameter_invalid_empty", "mode"),
        ({"mode": "setup"}, 400, None, "mode"),
        ({"colour": "red"}, 400, "parameter_unknown", "colour"),
        ({"line_items[0][price_data][colour]": "red"}, 400, "parameter_unknown", "line_items[0][price_data][colour]"),
        ({"success_url": "shop"}, 400, "url_invalid", "success_url"),
        ({"customer_email": "ana"}, 400, "email_invalid", "customer_email"),
        ({"line_items[0][quantity]": "one"}, 400, "parameter_invalid_integer", "line_items[0][quantity]"),
        ({"line_items[0][quantity]": "0"}, 400, None, "line_items[0][quantity]"),
        ({"line_items[0][price]": "price_1"}, 400, "parameter_missing", "line_items[0][price]"),
        ({"line_items[0][price_data][currency]": "reais"}, 400, None, "line_items[0][price_data][currency]"),
        ({"line_items[zero][price]": "price_1"}, 400, None, None),
        ({"payment_intent_data[metadata][a]": "b"}, 400, None, "payment_intent_data"),
        ({"customer_creation": "always"}, 400, None, "customer_creation"),
        ({"customer": "cus_1"}, 400, None, "customer"),
        ({"payment_method_types[0]": "barter"}, 400, None, "payment_method_types[0]"),
        ({"metadata[a]": "b" * 501}, 400, None, "metadata[a]"),
        ({"expand[]": "colour"}, 400, None, "expand"),
        ({"metadata": "b"}, 400, None, "metadata"),
    ],
)
async def test_what_is_wrong_is_named(
    fake: FakeStripe, http: httpx.AsyncClient, change: dict[str, str], status: int, code: str | None, param: str | None
) -> None:
    form = {name: value for name, value in SESSION.items() if not name.startswith("metadata")} | change
    answer = await http.post("/v1/checkout/sessions", data=form, headers={"Idempotency-Key": "k"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, "invalid_request_error")
    assert (error.get("code"), error.get("param")) == (code, param)
    assert error["message"]
    if "expand" not in str(change):
        assert fake.made("checkout.session") == 0
        await made(http, "checkout/sessions", SESSION, **{"Idempotency-Key": "k"})  # the key is not used up


@pytest.mark.parametrize("missing", ["mode", "success_url", "line_items[0][quantity]"])
async def test_what_is_missing_is_named(http: httpx.AsyncClient, missing: str) -> None:
    form = {name: value for name, value in SESSION.items() if name != missing}
    error = (await http.post("/v1/checkout/sessions", data=form)).json()["error"]
    assert (error["code"], error["param"]) == ("parameter_missing", missing)


async def test_a_path_that_is_not_there_says_so(http: httpx.AsyncClient) -> None:
    for method, path in [
        ("GET", "/v1/colours"),
        ("POST", "/v1/colours"),
        ("DELETE", "/v1/products/x"),
        ("GET", "/v1/"),
    ]:
        answer = await http.request(method, path)
        assert (answer.status_code, "Unrecognized request URL" in answer.json()["error"]["message"]) == (404, True)


async def test_forms_nest_and_lists_keep_their_order() -> None:
    params = read_form("a[b][c]=1&l[]=x&l[]=y&n[1]=two&n[0]=one&e=&u=a%20b%2B")
    child = params.child("a")
    assert child is not None
    inner = child.child("b")
    assert inner is not None
    assert inner.integer("c") == 1
    assert (params.strings("l"), params.strings("n")) == (["x", "y"], ["one", "two"])
    assert (params.unsettable("e"), params.text("u")) == ("", "a b+")
    params.done()
    for broken in ("a=1&a[b]=2", "[a]=1", "a[[b]]=1"):
        with pytest.raises(Refusal):
            read_form(broken)


async def test_lists_go_both_ways_and_by_time(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    ids = [(await made(http, "customers", {"email": f"a{n}@example.com"}))["id"] for n in range(5)][::-1]
    first = await read(http, "customers", limit="2")
    assert (first["object"], first["url"], first["has_more"]) == ("list", "/v1/customers", True)
    assert [one["id"] for one in first["data"]] == ids[:2]
    rest = await read(http, "customers", limit="10", starting_after=ids[1])
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[2:], False)
    back = await read(http, "customers", limit="2", ending_before=ids[3])
    assert [one["id"] for one in back["data"]] == ids[1:3]
    now = fake.world.seconds()
    assert (await read(http, "customers", **{"created[gt]": str(now + 1)}))["data"] == []
    assert (
        len((await read(http, "customers", **{"created[gte]": str(now - 60), "created[lte]": str(now)}))["data"]) == 5
    )
    assert len((await read(http, "customers", email="a3@example.com"))["data"]) == 1
    for wrong in ({"limit": "101"}, {"limit": "0"}, {"starting_after": "cus_gone"}, {"colour": "red"}):
        assert (await http.get("/v1/customers", params=wrong)).status_code == 400


async def test_a_key_replays_its_first_answer_even_a_500(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    async def post(key: str, **change: str) -> httpx.Response:
        return await http.post("/v1/checkout/sessions", data=SESSION | change, headers={"Idempotency-Key": key})

    first, again = await post("k1"), await post("k1")
    assert again.json() == first.json()
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    other = await post("k1", mode="payment")
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    for crash, effects in ((Crash.BEFORE, 0), (Crash.AFTER, 1)):
        fake.front.crashes = [crash]
        failed, replayed = await post(crash), await post(crash)
        assert (failed.status_code, replayed.status_code, replayed.json()) == (500, 500, failed.json())
        assert fake.made("checkout.session", crash) == effects
    fake.front.latency_s = 1.5  # longer than a busy machine takes to connect them all
    answers = await asyncio.gather(*(post("k2") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert fake.made("checkout.session", "k2") == 1
    headers = {"Idempotency-Key": "k3"}
    missing = [await http.post("/v1/products/prod_gone", data={"name": "x"}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in missing] == [404, 404]
    assert missing[1].headers["idempotent-replayed"] == "true"


# Shapes


@pytest.mark.parametrize("shape", ["basil", "acacia"])
async def test_what_basil_moved_is_in_one_place_only(fake: FakeStripe, http: httpx.AsyncClient, shape: Shape) -> None:
    fake.world.shape = shape
    is_basil = shape == "basil"
    subscription_id = (await subscribed(fake, http))["id"]
    subscription = await read(http, f"subscriptions/{subscription_id}")
    item = subscription["items"]["data"][0]
    for name in ("current_period_start", "current_period_end"):
        assert (name in subscription, name in item) == (not is_basil, is_basil)
    invoice = await read(http, f"invoices/{subscription['latest_invoice']}", **{"expand[]": "payments"})
    for name in ("subscription", "subscription_details", "payment_intent", "charge", "paid", "quote"):
        assert (name in invoice) == (not is_basil)
    line = invoice["lines"]["data"][0]
    assert ("parent" in invoice, "parent" in line, "subscription" in line) == (is_basil, is_basil, not is_basil)
    intent_id = invoice["payments"]["data"][0]["payment"]["payment_intent"]
    if is_basil:
        details = invoice["parent"]["subscription_details"]
        assert details == {"metadata": {"order_id": "order-1"}, "subscription": subscription_id}
        assert line["parent"]["subscription_item_details"]["subscription"] == subscription_id
    else:
        assert (invoice["subscription"], invoice["payment_intent"]) == (subscription_id, intent_id)
        assert invoice["subscription_details"] == {"metadata": {"order_id": "order-1"}}
    intent = await read(http, f"payment_intents/{intent_id}", **{"expand[]": "latest_charge.refunds"})
    assert ("invoice" in intent, "invoice" in intent["latest_charge"]) == (not is_basil, not is_basil)
    assert intent["latest_charge"]["refunds"]["data"] == []
    plain = await read(http, f"charges/{intent['latest_charge']['id']}")
    assert "refunds" not in plain  # only when it is asked for
    events = (await read(http, "events", limit="100"))["data"]
    assert {event["api_version"] for event in events} == {DAHLIA if is_basil else "2024-12-18.acacia"}
    assert ("invoice_payment.paid" in {event["type"] for event in events}) == is_basil
    assert not re.search(r'"_[a-z]', json.dumps([subscription, invoice, intent, plain, events]))
    assert (await read(http, f"events/{events[0]['id']}"))["id"] == events[0]["id"]


async def test_a_webhook_has_the_shape_of_its_endpoint(
    fake: FakeStripe, http: httpx.AsyncClient, endpoint: Endpoint
) -> None:
    fake.webhook_shape = "acacia"
    subscription_id = (await subscribed(fake, http))["id"]
    await fake.settle()
    created = next(one.json() for one in endpoint.got if one.json()["type"] == "customer.subscription.created")
    assert "current_period_end" in created["data"]["object"]
    assert "current_period_end" not in await read(http, f"subscriptions/{subscription_id}")


async def test_a_pix_intent_is_as_stripe_shows_it(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    form = {
        "amount": "1000",
        "currency": "brl",
        "confirm": "true",
        "payment_method_types[]": "pix",
        "payment_method_data[type]": "pix",
        "payment_method_options[pix][expires_after_seconds]": "600",
    }
    intent = await made(http, "payment_intents", form)
    code = intent["next_action"]["pix_display_qr_code"]
    assert (intent["status"], intent["next_action"]["type"]) == ("requires_action", "pix_display_qr_code")
    assert set(code) == {"data", "expires_at", "hosted_instructions_url", "image_url_png", "image_url_svg"}
    assert 590 <= code["expires_at"] - fake.world.seconds() <= 600
    assert intent["client_secret"].startswith(f"{intent['id']}_secret_")
    for change in (
        {"payment_method_options[pix][expires_after_seconds]": "59"},
        {"payment_method_options[pix][expires_at]": str(fake.world.seconds() + 600)},
        {"currency": "usd"},
        {"payment_method_data[type]": "card"},
    ):
        assert (await http.post("/v1/payment_intents", data=form | change)).status_code == 400


# Subscriptions in time


@pytest.mark.parametrize(
    ("anchor", "ends"),
    [
        ("2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("2027-12-15", ["2028-01-15", "2028-02-15", "2028-03-15"]),
    ],
)
def test_a_month_ends_on_the_day_it_began_or_the_months_last(anchor: str, ends: list[str]) -> None:
    start = first = int(datetime.fromisoformat(f"{anchor}T10:00:00+00:00").timestamp())
    found = []
    for _ in ends:
        start = next_end(first, start, "month", 1)
        found.append(datetime.fromtimestamp(start, UTC).date().isoformat())
    assert found == ends
    leap = int(datetime(2028, 2, 29, tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(next_end(leap, leap, "year", 1), UTC).date().isoformat() == "2029-02-28"
    assert next_end(first, first, "week", 2) - first == 14 * 86_400


async def test_a_subscriptions_life_is_told_in_its_events(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    subscription_id = (await subscribed(fake, http, **{"subscription_data[trial_period_days]": "14"}))["id"]
    begun = [event["type"] for event in fake.events]
    assert begun == [
        "customer.created",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "checkout.session.completed",
    ]
    fake.announce_trial_end(subscription_id)
    fake.end_trial(subscription_id)
    missed = fake.fail_renewal(subscription_id)
    fake.retry_invoice(missed["id"], paid=False)
    assert (missed["attempt_count"], missed["status"]) == (2, "open")
    fake.retry_invoice(missed["id"])
    fake.pause(subscription_id)
    fake.pause(subscription_id, resume=True)
    fake.cancel(subscription_id)
    since = [event["type"] for event in fake.events[len(begun) :]]
    assert since[0] == "customer.subscription.trial_will_end"
    assert since.count("invoice.payment_failed") == 2
    assert since.count("payment_intent.payment_failed") == 2
    assert since.count("invoice.paid") == 2
    assert since[-3:] == [
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.deleted",
    ]
    statuses = [
        event["data"]["object"]["status"] for event in fake.events if event["type"].startswith("customer.subscription.")
    ]
    assert statuses[0] == "trialing"
    assert statuses[-1] == "canceled"
    assert "past_due" in statuses
    with pytest.raises(Refusal):
        fake.renew(subscription_id)
    with pytest.raises(Refusal):
        fake.retry_invoice(missed["id"])


async def test_an_event_shows_its_object_as_it_was_then(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    subscription = await subscribed(fake, http)
    fake.cancel(subscription["id"])
    created = next(event for event in fake.events if event["type"] == "customer.subscription.created")
    assert created["data"]["object"]["status"] == "incomplete"
    updated = next(event for event in fake.events if event["type"] == "customer.subscription.updated")
    assert updated["data"]["previous_attributes"] == {"status": "incomplete"}


async def test_money_goes_back_in_parts_and_by_the_bank(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    session = fake.pay((await made(http, "checkout/sessions", ONCE))["id"])
    intent_id = session["payment_intent"]
    fake.refund(intent_id, 700)
    charge = await read(http, f"charges/{fake.world.get('payment_intent', intent_id)['latest_charge']}")
    assert (charge["amount_refunded"], charge["refunded"]) == (700, False)
    fake.refund(intent_id)
    assert len((await read(http, "refunds", payment_intent=intent_id))["data"]) == 2
    with pytest.raises(Refusal):
        fake.refund(intent_id)
    second = fake.pay((await made(http, "checkout/sessions", ONCE))["id"], method="card")["payment_intent"]
    fake.dispute(second, "lost")
    disputes = (await read(http, "disputes", payment_intent=second))["data"]
    assert [one["status"] for one in disputes] == ["lost"]
    assert [event["type"] for event in fake.events[-3:]] == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
    ]


async def test_invoices_are_found_and_paid_by_hand(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    subscription_id = (await subscribed(fake, http))["id"]
    await subscribed(fake, http)
    invoice_id = fake.fail_renewal(subscription_id)["id"]
    found = await read(http, "invoices", subscription=subscription_id)
    assert found["data"][0]["id"] == invoice_id
    assert len(found["data"]) == 2
    assert len((await read(http, "invoices", status="open"))["data"]) == 1
    fake.world.declines = True
    refused = await http.post(f"/v1/invoices/{invoice_id}/pay")
    assert (refused.status_code, refused.json()["error"]["decline_code"]) == (402, "generic_decline")
    fake.world.declines = False
    assert (await made(http, f"invoices/{invoice_id}/pay"))["status"] == "paid"
    assert (await http.post(f"/v1/invoices/{invoice_id}/pay")).json()["error"]["code"] == "invoice_already_paid"
    assert len((await read(http, "invoice_payments", invoice=invoice_id))["data"]) == 1
    voided = fake.void(fake.fail_renewal(subscription_id)["id"])
    assert (await http.post(f"/v1/invoices/{voided['id']}/pay")).status_code == 400


async def test_ended_subscriptions_are_listed_when_they_are_asked_for(
    fake: FakeStripe, http: httpx.AsyncClient
) -> None:
    ids = [(await subscribed(fake, http))["id"] for _ in range(2)]
    fake.cancel(ids[0])
    for status, expected in (({}, ids[1:]), ({"status": "all"}, ids[::-1]), ({"status": "canceled"}, ids[:1])):
        assert [one["id"] for one in (await read(http, "subscriptions", **status))["data"]] == expected


async def test_a_subscription_is_changed_as_the_api_says(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    subscription = await subscribed(fake, http)
    item = {"items[0][id]": subscription["items"]["data"][0]["id"]}
    product_id = subscription["items"]["data"][0]["price"]["product"]
    inline = {
        "items[0][price_data][currency]": "brl",
        "items[0][price_data][product]": product_id,
        "items[0][price_data][recurring][interval]": "month",
        "items[0][price_data][unit_amount]": "58000",
    }
    path = f"subscriptions/{subscription['id']}"
    changed = await made(http, path, item | inline | {"proration_behavior": "none", "metadata[order_id]": ""})
    assert changed["items"]["data"][0]["price"]["unit_amount"] == 58_000
    assert changed["metadata"] == {}
    for wrong in (
        {"items[0][id]": "si_gone"},
        item | {"items[0][price]": "price_gone"},
        item | inline | {"items[0][price_data][currency]": "usd"},
        item | inline | {"items[0][price_data][product]": "prod_gone"},
        {**item, **inline, "items[0][price_data][unit_amount]": "-1"},
        {"proration_behavior": "sometimes"},
    ):
        assert (await http.post(f"/v1/{path}", data=wrong)).status_code == 400
    dated = await made(http, path, {"cancel_at": str(fake.world.seconds() + 60)})
    assert dated["cancel_at"] is not None
    assert (await made(http, path, {"cancel_at": ""}))["cancel_at"] is None


async def test_the_catalogue_refuses_what_stripe_does(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    product = await made(http, "products", {"id": "plan-gold", "name": "Gold"})
    assert (product["id"], product["active"]) == ("plan-gold", True)
    again = await http.post("/v1/products", data={"id": "plan-gold", "name": "Gold"})
    assert again.json()["error"]["code"] == "resource_already_exists"
    price = {"product": "plan-gold", "currency": "BRL", "unit_amount": "100", "lookup_key": "gold"}
    assert (await made(http, "prices", price))["currency"] == "brl"
    assert [one["lookup_key"] for one in (await read(http, "prices", **{"lookup_keys[]": "gold"}))["data"]] == ["gold"]
    assert (await read(http, "prices", **{"lookup_keys[]": "silver"}))["data"] == []
    for wrong in (
        {},
        {"unit_amount": "", "lookup_key": "x"},
        {"lookup_key": "y", "product": ""},
        {"lookup_key": "z", "product_data[name]": "Both"},
    ):
        assert (await http.post("/v1/prices", data=price | wrong)).status_code == 400
    once = {"line_items[0][price]": (await read(http, "prices"))["data"][0]["id"], "line_items[0][quantity]": "1"}
    for mode, status in (("payment", 200), ("subscription", 400)):
        form = once | {"mode": mode, "success_url": SUCCESS}
        assert (await http.post("/v1/checkout/sessions", data=form)).status_code == status
    recurring = SESSION | {"mode": "payment"}
    del recurring["subscription_data[metadata][order_id]"]
    refused = await http.post("/v1/checkout/sessions", data=recurring)
    assert "recurring price" in refused.json()["error"]["message"]


async def test_what_costs_nothing_needs_no_payment(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    free = {"line_items[0][price_data][unit_amount]": "0"}
    for form in (SESSION, ONCE):
        session = fake.pay((await made(http, "checkout/sessions", form | free))["id"])
        assert (session["status"], session["payment_status"]) == ("complete", "no_payment_required")
    assert fake.made("payment_intent") == 0
    assert next(fake.world.all("subscription"))["status"] == "active"


async def test_an_intent_keeps_notes(http: httpx.AsyncClient) -> None:
    intent = await made(http, "payment_intents", {"amount": "100", "currency": "brl", "metadata[a]": "1"})
    changed = await made(http, f"payment_intents/{intent['id']}", {"metadata[a]": "", "metadata[b]": "2"})
    assert changed["metadata"] == {"b": "2"}
    assert (await http.post("/v1/payment_intents", data={"amount": "49", "currency": "brl"})).status_code == 400
    refused = await http.post("/v1/payment_intents", data={"amount": "100", "currency": "brl", "confirm": "true"})
    assert "missing a payment method" in refused.json()["error"]["message"]


# The payer's pages


async def test_a_payer_pays_on_the_page_and_comes_back(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    form = SESSION | {"line_items[0][price_data][product_data][name]": "<script>alert(1)</script>"}
    session = await made(http, "checkout/sessions", form)
    page = await http.get(session["url"], headers={"Authorization": ""})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "BRL 247.00 every month" in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert ("Pay later" in page.text, "Cancel" in page.text) == (True, True)
    pressed = await http.post(session["url"], data={"action": "pay:card", "name": "Ana"})
    assert (pressed.status_code, pressed.headers["location"]) == (
        303,
        SUCCESS.replace("{CHECKOUT_SESSION_ID}", session["id"]),
    )
    paid = await read(http, f"checkout/sessions/{session['id']}")
    assert (paid["status"], paid["payment_status"], paid["url"]) == ("complete", "paid", None)
    assert paid["customer_details"]["name"] == "Ana"
    assert "complete" in (await http.get(session["url"])).text
    again = await http.post(session["url"], data={"action": "pay:card"})
    assert (again.status_code, fake.made("subscription")) == (400, 1)


async def test_a_payer_may_pay_later_or_not_at_all(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    later = await made(http, "checkout/sessions", ONCE)
    assert "Pay by pix" in (await http.get(later["url"])).text
    await http.post(later["url"], data={"action": "later"})
    unpaid = await read(http, f"checkout/sessions/{later['id']}")
    assert (unpaid["status"], unpaid["payment_status"]) == ("complete", "unpaid")
    fake.settle_async(later["id"])
    assert fake.events[-1]["type"] == "checkout.session.async_payment_succeeded"
    with pytest.raises(Refusal):
        fake.settle_async(later["id"])
    left = await made(http, "checkout/sessions", ONCE)
    cancelled = await http.post(left["url"], data={"action": "cancel"})
    assert cancelled.headers["location"] == "https://shop.example/no"
    assert (await read(http, f"checkout/sessions/{left['id']}"))["status"] == "open"
    fake.expire(left["id"])
    assert fake.events[-1]["type"] == "checkout.session.expired"
    assert (await http.get("/c/pay/cs_gone")).status_code == 404
    assert (await http.get("/elsewhere")).status_code == 404


async def test_pix_invoice_and_portal_have_pages(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    form = {"amount": "1000", "currency": "brl", "confirm": "true", "payment_method_types[]": "pix"}
    intent = await made(http, "payment_intents", form | {"payment_method_data[type]": "pix"})
    url = intent["next_action"]["pix_display_qr_code"]["hosted_instructions_url"]
    assert intent["next_action"]["pix_display_qr_code"]["data"] in (await http.get(url)).text
    assert "succeeded" in (await http.post(url, data={"action": "pay"})).text
    assert (await http.post(url, data={"action": "pay"})).status_code == 400
    subscription = await subscribed(fake, http)
    invoice = await read(http, f"invoices/{fake.fail_renewal(subscription['id'])['id']}")
    assert "BRL 247.00" in (await http.get(invoice["hosted_invoice_url"])).text
    assert "paid" in (await http.post(invoice["hosted_invoice_url"], data={"action": "pay"})).text
    portal = await made(http, "billing_portal/sessions", {"customer": subscription["customer"], "return_url": SUCCESS})
    assert "Cancel at the period" in (await http.get(portal["url"])).text
    await http.post(portal["url"], data={"action": f"cancel:{subscription['id']}"})
    cancelled = await read(http, f"subscriptions/{subscription['id']}")
    # A flexible subscription cancelled in the portal says it by cancel_at alone.
    assert cancelled["cancel_at"] == cancelled["items"]["data"][0]["current_period_end"]
    assert cancelled["cancel_at_period_end"] is False
    assert "Keep it" in (await http.get(portal["url"])).text
    stranger = await made(http, "customers", {"email": "eva@example.com"})
    theirs = await made(http, "billing_portal/sessions", {"customer": stranger["id"]})
    refused = await http.post(theirs["url"], data={"action": f"cancel:{subscription['id']}"})
    assert refused.status_code == 404
    fake.renew(subscription["id"])
    assert (await read(http, f"subscriptions/{subscription['id']}"))["status"] == "canceled"


# Webhooks


async def test_webhooks_are_signed_as_stripes_library_expects(
    fake: FakeStripe, http: httpx.AsyncClient, endpoint: Endpoint
) -> None:
    await subscribed(fake, http)
    await fake.settle()
    assert endpoint.ids == [event["id"] for event in fake.events]
    for secrets in (["whsec_fake"], ["whsec_new", "whsec_fake"]):
        fake.sender.secrets = secrets
        assert await fake.deliver(fake.events[0]) == [200]
        request = endpoint.got[-1]
        assert request.headers["content-type"] == "application/json; charset=utf-8"
        assert request.headers["stripe-signature"].count("v1=") == len(secrets)
        for secret in secrets:
            event = stripe.Webhook.construct_event(request.body, request.headers["stripe-signature"], secret)
            assert event.id == fake.events[0]["id"]
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(request.body, request.headers["stripe-signature"], "whsec_other")
    old, headers = fake.sender.request(fake.events[0], at=datetime.now(UTC) - timedelta(minutes=6))
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(old, headers["Stripe-Signature"], "whsec_fake")


async def test_webhooks_come_twice_reversed_or_late(
    fake: FakeStripe, http: httpx.AsyncClient, endpoint: Endpoint
) -> None:
    session = await made(http, "checkout/sessions", SESSION)
    fake.sender.duplicates, fake.sender.reverse, fake.sender.delay_s = 2, True, 0.2
    begun = asyncio.get_running_loop().time()
    fake.pay(session["id"])
    await fake.settle()
    assert asyncio.get_running_loop().time() - begun >= 0.2
    expected = [event["id"] for event in reversed(fake.events) for _ in range(3)]
    assert endpoint.ids == expected


async def test_webhooks_are_held_back_and_let_go(fake: FakeStripe, http: httpx.AsyncClient, endpoint: Endpoint) -> None:
    fake.sender.hold = True
    await subscribed(fake, http)
    await fake.settle()
    assert endpoint.got == []
    assert [event["id"] for event in fake.sender.held] == [event["id"] for event in fake.events]
    assert await fake.deliver(fake.events[-1]) == [200]
    await fake.sender.release(newest_first=True)
    assert endpoint.ids[1:] == [event["id"] for event in reversed(fake.events)]
    assert fake.sender.held == []


async def test_webhooks_that_are_not_taken_come_again(
    fake: FakeStripe, http: httpx.AsyncClient, endpoint: Endpoint
) -> None:
    fake.sender.retry_after_s = (0.02, 0.02)
    fake.sender.types = {"customer.created"}
    endpoint.statuses = [500, 503, 200]
    await made(http, "customers", {"email": "ana@example.com"})
    await fake.settle()
    assert [delivery.status for delivery in fake.sender.deliveries] == [500, 503, 200]
    assert len(set(endpoint.ids)) == 1
    endpoint.statuses = [500] * 3  # given up after the last try
    await made(http, "customers", {"email": "ana@example.com"})
    await made(http, "products", {"name": "not asked for"})
    await fake.settle()
    assert [delivery.status for delivery in fake.sender.deliveries[3:]] == [500] * 3
    fake.webhook_urls[:] = ["http://127.0.0.1:1/nobody"]
    await made(http, "customers", {"email": "ana@example.com"})
    await fake.settle()
    assert [delivery.status for delivery in fake.sender.deliveries[6:]] == [None] * 3


async def test_it_runs_by_itself_with_an_endpoint(endpoint: Endpoint) -> None:
    url = f"{endpoint.server.url}/stripe/webhook"
    async with fake_stripe(webhook_url=url, secret="whsec_mine", api_key="sk_test_mine", api_shape="acacia") as alone:
        headers = {"Authorization": "Bearer sk_test_mine"}
        async with httpx.AsyncClient(base_url=alone.url, headers=headers, trust_env=False) as http:
            await made(http, "customers", {"email": "ana@example.com"})
        await alone.settle()
        assert (alone.webhook_secret, alone.webhook_urls) == ("whsec_mine", [url])
    request = endpoint.got[0]
    assert request.path == "/stripe/webhook"
    assert stripe.Webhook.construct_event(request.body, request.headers["stripe-signature"], "whsec_mine").api_version
