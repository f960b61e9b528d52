"""Eighty ways to lie to Stripe's webhook, or to misread it (B13): none has an effect that is not Stripe's own state."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from billing.domain.orders import Order, OrderStatus
from billing.domain.provider_events import ProviderEventStatus
from chassis.db import platform_transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from testkit.fake_stripe import FakeStripe, Object
from testkit.service import RunningService

from .deliveries import ENVIRONMENT, STRIPE_KEY, STRIPE_NEXT_SECRET, STRIPE_SECRET, stripe_body, stripe_headers
from .shop import Rows, Shop, a_shop

Start = Callable[..., Awaitable[RunningService]]
OTHER_SECRET = "whsec_of_another_endpoint_of_the_same_account"


class Scene:
    """A paid page whose webhook has not come; whatever is sent instead, the order must stay as Stripe has it."""

    def __init__(self, billing: RunningService, shop: Shop, order: Order) -> None:
        self.billing, self.shop, self.order = billing, shop, order

    @property
    def stripe(self) -> FakeStripe:
        return self.shop.stripe

    @property
    def event(self) -> Object:
        """The webhook as Stripe would send it."""
        return self.shop.happened("checkout.session.completed")

    @property
    def body(self) -> bytes:
        return self.stripe.sender.request(self.event)[0]

    async def send(self, body: bytes, headers: dict[str, Any]) -> int:
        answer = await self.billing.call("POST", "/stripe/webhook", None, kind="webhook", content=body, headers=headers)
        assert answer.status_code < 500
        return answer.status_code

    async def send_event(self, event: Object) -> int:
        body = stripe_body(event)
        return await self.send(body, stripe_headers(body))

    async def deal_with_all(self) -> list[ProviderEventStatus]:
        """What came of everything that was stored, as the consumer would have it."""
        async with platform_transaction(self.shop.db) as conn:
            rows = await conn.fetch("SELECT id FROM provider_events WHERE status = 'received' ORDER BY id")
        return [(await self.shop.deal_with(row["id"])).status for row in rows]

    async def rows(self) -> Rows:
        return await self.shop.rows(self.order)


@pytest_asyncio.fixture
async def shop_and_billing(start: Start) -> AsyncIterator[tuple[Shop, RunningService]]:
    stripe_secrets = {"api_key": STRIPE_KEY, "webhook_secret": STRIPE_SECRET}
    box = SecretBox(Secret("a-key-of-the-tests-that-is-long-enough"))
    billing = await start(ROLE="api", **ENVIRONMENT)
    async with a_shop(billing.db, box, **stripe_secrets) as shop:
        yield shop, billing


@pytest_asyncio.fixture
async def scene(shop_and_billing: tuple[Shop, RunningService]) -> Scene:
    shop, billing = shop_and_billing
    order = await shop.sell()
    shop.stripe.pay(str(order.external_id))
    return Scene(billing, shop, order)


def header(body: bytes, secret: str = STRIPE_SECRET, *, at: float | None = None, scheme: str = "v1") -> str:
    stamp = int(time.time() if at is None else at)
    proof = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},{scheme}={proof}"


def signed(text: str | bytes) -> dict[str, Any]:
    return {"content-type": "application/json", "stripe-signature": text}


def now() -> int:
    return int(time.time())


REFUSED: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "no header": lambda b: {"content-type": "application/json"},
    "an empty header": lambda b: signed(""),
    "spaces": lambda b: signed("   "),
    "no time": lambda b: signed(header(b).partition(",")[2]),
    "no signature": lambda b: signed(f"t={now()}"),
    "an empty signature": lambda b: signed(f"t={now()},v1="),
    "v0 only": lambda b: signed(header(b, scheme="v0")),
    "v2 only": lambda b: signed(header(b, scheme="v2")),
    "V1 in capitals": lambda b: signed(header(b, scheme="V1")),
    "another secret": lambda b: signed(header(b, "whsec_guessed")),
    "an empty secret": lambda b: signed(header(b, "")),
    "another endpoint's secret": lambda b: signed(header(b, OTHER_SECRET)),
    "the API key for a secret": lambda b: signed(header(b, STRIPE_KEY)),
    "half of the secret": lambda b: signed(header(b, STRIPE_SECRET[:20])),
    "both secrets as they are configured": lambda b: signed(header(b, f"{STRIPE_SECRET},{STRIPE_NEXT_SECRET}")),
    "301 seconds ago": lambda b: signed(header(b, at=time.time() - 302)),
    "a day ago": lambda b: signed(header(b, at=time.time() - 86_400)),
    "301 seconds ahead": lambda b: signed(header(b, at=time.time() + 302)),
    "115 days ahead": lambda b: signed(header(b, at=time.time() + 115 * 86_400)),
    "time zero": lambda b: signed(header(b, at=0)),
    "a negative time": lambda b: signed(header(b).replace("t=", "t=-")),
    "a time with a fraction": lambda b: signed(header(b).replace(",v1", ".5,v1")),
    "a time in words": lambda b: signed("t=now," + header(b).partition(",")[2]),
    "an endless time": lambda b: signed("t=" + "9" * 400 + "," + header(b).partition(",")[2]),
    "a time in other digits": lambda b: signed(f"t=１２３,{header(b).partition(',')[2]}".encode()),
    "two times": lambda b: signed(f"t={now()}," + header(b)),
    "the time of another signature": lambda b: signed(f"t={now() - 1}," + header(b).partition(",")[2]),
    "one digit of the signature changed": lambda b: signed(header(b)[:-1] + ("0" if header(b)[-1] != "0" else "1")),
    "the signature cut": lambda b: signed(header(b)[:-1]),
    "the signature grown": lambda b: signed(header(b) + "0"),
    "the signature in capitals": lambda b: signed(
        header(b).partition("v1=")[0] + "v1=" + header(b).partition("v1=")[2].upper()
    ),
    "the signature in Base64": lambda b: signed(
        f"t={now()},v1="
        + base64.b64encode(hmac.digest(STRIPE_SECRET.encode(), f"{now()}.".encode() + b, "sha256")).decode()
    ),
    "a signature outside ASCII": lambda b: signed(f"t={now()},v1=é".encode()),
    "seventeen signatures": lambda b: signed(
        f"t={now()}," + ",".join(["v1=" + "0" * 64] * 16 + [header(b).partition(",")[2]])
    ),
    "the signature of an empty body": lambda b: signed(header(b"")),
    "the signature of the body alone": lambda b: signed(
        f"t={now()},v1={hmac.new(STRIPE_SECRET.encode(), b, hashlib.sha256).hexdigest()}"
    ),
    "the signature by SHA-1": lambda b: signed(
        f"t={now()},v1={hmac.new(STRIPE_SECRET.encode(), f'{now()}.'.encode() + b, hashlib.sha1).hexdigest()}"
    ),
    "the signature by SHA-512": lambda b: signed(
        f"t={now()},v1={hmac.new(STRIPE_SECRET.encode(), f'{now()}.'.encode() + b, hashlib.sha512).hexdigest()}"
    ),
    "semicolons": lambda b: signed(header(b).replace(",", ";")),
    "another header's name": lambda b: {"stripe_signature": header(b), "x-stripe-signature": header(b)},
}

CHANGED: dict[str, Callable[[bytes], bytes]] = {
    "one bit flipped": lambda b: bytes([b[0] ^ 1]) + b[1:],
    "one bit flipped at the end": lambda b: b[:-1] + bytes([b[-1] ^ 1]),
    "one bit flipped in the middle": lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 4]) + b[len(b) // 2 + 1 :],
    "written anew": lambda b: msgspec.json.encode(msgspec.json.decode(b)),
    "a space more": lambda b: b + b" ",
    "a line more": lambda b: b + b"\n",
    "a byte less": lambda b: b[:-1],
    "nothing left": lambda b: b"",
    "twice": lambda b: b + b,
    "another amount": lambda b: b.replace(b"24700", b"1"),
    "a BOM before": lambda b: b"\xef\xbb\xbf" + b,
}

NO_EVENT: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "not UTF-8": b'{"id":"\xff"}',
    "nested without end": b"[" * 200_000,
    "no id": b'{"type":"invoice.paid","data":{"object":{"id":"in_1"}}}',
    "an id that is a number": b'{"id":5,"type":"invoice.paid","data":{"object":{"id":"in_1"}}}',
}


async def test_what_stripe_did_not_sign_is_refused(scene: Scene) -> None:
    body = scene.body
    answers = {case: await scene.send(body, headers_of(body)) for case, headers_of in REFUSED.items()}
    assert {case: status for case, status in answers.items() if status != 400} == {}
    assert await scene.deal_with_all() == []
    assert (await scene.rows()).order.status is OrderStatus.PENDING


async def test_what_stripe_signed_otherwise_is_refused(scene: Scene) -> None:
    body = scene.body
    headers = signed(header(body))
    changed = {case: change(body) for case, change in CHANGED.items()}
    assert body not in changed.values()
    answers = {case: await scene.send(other, headers) for case, other in changed.items()}
    assert {case: status for case, status in answers.items() if status != 400} == {}
    assert await scene.deal_with_all() == []
    assert (await scene.rows()).order.status is OrderStatus.PENDING


async def test_what_is_no_event_is_refused_whoever_signed_it(scene: Scene) -> None:
    answers = {case: await scene.send(body, signed(header(body))) for case, body in NO_EVENT.items()}
    assert {case: status for case, status in answers.items() if status != 400} == {}
    assert await scene.deal_with_all() == []


async def test_ten_megabytes_are_refused(scene: Scene) -> None:
    body = scene.body + b" " * 10_000_000
    assert await scene.send(body, signed(header(body))) == 413
    assert await scene.deal_with_all() == []


ACCEPTED: dict[str, Callable[[bytes], str]] = {
    "299 seconds ago": lambda b: header(b, at=time.time() - 295),
    "299 seconds ahead": lambda b: header(b, at=time.time() + 295),
    "the next secret": lambda b: header(b, STRIPE_NEXT_SECRET),
    "one of two signatures": lambda b: f"{header(b)},v1={'0' * 64}",
    "the second of two": lambda b: f"t={now()},v1={'0' * 64},{header(b).partition(',')[2]}",
    "beside a v0": lambda b: header(b) + f",v0={'0' * 64}",
    "with spaces": lambda b: header(b).replace(",", ", "),
}


async def test_what_stripe_signed_is_taken(scene: Scene) -> None:
    body = scene.body
    answers = {case: await scene.send(body, signed(header_of(body))) for case, header_of in ACCEPTED.items()}
    assert {case: status for case, status in answers.items() if status != 200} == {}
    assert await scene.deal_with_all() == [ProviderEventStatus.PROCESSED]
    assert (await scene.rows()).order.status is OrderStatus.PAID


# --- signed, and still no reason to give anything


async def test_the_same_id_again_has_no_effect(scene: Scene) -> None:
    for _ in range(5):
        assert await scene.send_event(scene.event) == 200
    assert await scene.deal_with_all() == [ProviderEventStatus.PROCESSED]
    assert await scene.deal_with_all() == []
    assert (await scene.shop.told_types(scene.order)).count("order.paid") == 1


async def test_the_same_news_under_other_ids_has_no_effect(scene: Scene) -> None:
    for _ in range(5):
        assert await scene.send_event(scene.event | {"id": f"evt_{uuid4().hex}"}) == 200
    assert await scene.deal_with_all() == [ProviderEventStatus.PROCESSED] * 5
    assert (await scene.shop.told_types(scene.order)).count("order.paid") == 1


async def test_fifty_at_once_have_one_effect_and_fifty_answers(scene: Scene) -> None:
    answers = await asyncio.gather(*(scene.send_event(scene.event) for _ in range(50)))
    assert set(answers) == {200}
    assert await scene.deal_with_all() == [ProviderEventStatus.PROCESSED]
    assert (await scene.shop.told_types(scene.order)).count("order.paid") == 1


async def test_an_event_of_the_live_world_is_nothing_to_a_test_key(scene: Scene) -> None:
    assert await scene.send_event(scene.event | {"livemode": True}) == 200
    assert await scene.deal_with_all() == [ProviderEventStatus.IGNORED]
    assert (await scene.rows()).order.status is OrderStatus.PENDING


async def test_an_event_of_the_test_world_is_nothing_to_a_live_key(scene: Scene, start: Start) -> None:
    live = ENVIRONMENT | {"STRIPE_SECRET_KEY": STRIPE_KEY.replace("_test_", "_live_")}
    scene.billing = await start(ROLE="api", **live)
    scene.shop.db = scene.billing.db
    assert await scene.send_event(scene.event) == 200
    assert await scene.deal_with_all() == [ProviderEventStatus.IGNORED]


async def test_an_event_of_a_connected_account_is_nothing_to_ours(scene: Scene) -> None:
    assert await scene.send_event(scene.event | {"account": "acct_1Other"}) == 200
    assert await scene.deal_with_all() == [ProviderEventStatus.IGNORED]
    assert (await scene.rows()).order.status is OrderStatus.PENDING


async def test_a_page_that_is_open_at_stripe_is_not_paid_by_a_body(scene: Scene) -> None:
    order = await scene.shop.sell()
    for lie in (
        {"payment_status": "paid", "status": "complete"},
        {"payment_status": "no_payment_required", "amount_total": 0},
        {"payment_status": "paid", "amount_total": 24700, "currency": "brl"},
        {"payment_status": "paid", "subscription": "sub_made_up", "invoice": "in_made_up"},
    ):
        event = scene.event | {"id": f"evt_{uuid4().hex}"}
        event["data"] = {"object": scene.event["data"]["object"] | lie | {"id": order.external_id}}
        assert await scene.send_event(event) == 200
    await scene.deal_with_all()
    rows = await scene.shop.rows(order)
    assert (rows.order.status, rows.subscription, rows.payments) == (OrderStatus.PENDING, None, [])


async def test_another_orders_reference_in_a_body_pays_the_page_that_was_paid(scene: Scene) -> None:
    victim = await scene.shop.sell()
    event = scene.event | {"id": f"evt_{uuid4().hex}"}
    event["data"] = {"object": scene.event["data"]["object"] | {"client_reference_id": str(victim.id)}}
    assert await scene.send_event(event) == 200
    await scene.deal_with_all()
    assert (await scene.rows()).order.status is OrderStatus.PAID
    assert (await scene.shop.rows(victim)).order.status is OrderStatus.PENDING


@pytest.mark.parametrize(("field", "value"), [("amount_received", 1), ("amount_received", 24699), ("currency", "usd")])
async def test_another_amount_at_stripe_is_for_a_person(scene: Scene, field: str, value: Any) -> None:
    session = scene.stripe.world.get("checkout.session", str(scene.order.external_id))
    invoice = scene.stripe.world.get("invoice", session["invoice"])
    scene.stripe.world.get("payment_intent", invoice["_intent"])[field] = value
    assert await scene.send_event(scene.event) == 200
    assert await scene.deal_with_all() == [ProviderEventStatus.REVIEW]
    rows = await scene.rows()
    assert (rows.order.status, rows.subscription) == (OrderStatus.PENDING, None)


@pytest.mark.parametrize(("succeeded", "status"), [(True, OrderStatus.PAID), (False, OrderStatus.FAILED)])
async def test_completed_unpaid_waits_for_the_bank(scene: Scene, succeeded: bool, status: OrderStatus) -> None:
    order = await scene.shop.sell()
    scene.stripe.pay(str(order.external_id), unpaid=True)
    await scene.send_event(scene.event)
    await scene.deal_with_all()
    assert (await scene.shop.rows(order)).order.status is OrderStatus.PENDING
    scene.stripe.settle_async(str(order.external_id), succeeded=succeeded)
    await scene.send_event(scene.stripe.events[-1])
    await scene.deal_with_all()
    rows = await scene.shop.rows(order)
    assert (rows.order.status, rows.subscription is not None) == (status, succeeded)


async def test_a_refund_before_the_payment_was_told_of_ends_refunded(scene: Scene) -> None:
    session = scene.stripe.world.get("checkout.session", str(scene.order.external_id))
    completed = scene.event
    scene.stripe.refund(scene.stripe.world.get("invoice", session["invoice"])["_intent"])
    await scene.send_event(scene.shop.happened("charge.refunded"))
    await scene.send_event(completed)
    assert await scene.deal_with_all() == [ProviderEventStatus.PROCESSED] * 2
    assert (await scene.rows()).order.status is OrderStatus.REFUNDED


async def test_what_is_about_nothing_of_ours_is_taken_and_left(scene: Scene) -> None:
    types = ("unknown.type", "checkout.session", "", "x" * 300, "invoice.paid\n", "customer.created", "ünïcode")
    objects = ("../../v1/account", "cs_unknown", "cs_test/../../balance", "a" * 300, "%2e%2e", "cs test", "é")
    events = [
        *(scene.event | {"type": one, "data": {"object": {"id": "x_1"}}} for one in types),
        *(scene.event | {"data": {"object": {"id": one}}} for one in objects),
    ]
    for event in events:
        assert await scene.send_event(event | {"id": f"evt_{uuid4().hex}"}) == 200
    assert await scene.deal_with_all() == [ProviderEventStatus.IGNORED] * len(events)
    assert (await scene.rows()).order.status is OrderStatus.PENDING
