"""Stored provider events over HTTP: for the platform's administrators only, redacted, and replayed without harm."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from billing.domain.provider_events import redacted
from testkit.service import RunningService

from .deliveries import ENVIRONMENT, pix_body, pix_headers, pix_transfer, stripe_body, stripe_event, stripe_headers

Start = Callable[..., Awaitable[RunningService]]

PERSONAL: dict[str, Any] = {
    "id": "in_1",
    "status": "paid",
    "customer_email": "ana@example.com",
    "customer_details": {"name": "Ana", "phone": 5511999998888, "address": {"line1": "Rua A, 1", "city": "SP"}},
    "payment_method_details": {"card": {"last4": "4242", "fingerprint": "abc"}, "type": "card"},
    "client_secret": "pi_1_secret_2",
    "hosted_invoice_url": "https://pay.example.com/whoever-has-this",
    "phones": [{"area": "11", "number": "999998888"}],
    "infoPagador": "para a Ana",
    "pagador": {"cpf": "52998224725", "nome": "Ana"},
    "amount_paid": 24700,
    "livemode": False,
    "lines": [{"description": "Essencial", "holder": None}],
}


@pytest_asyncio.fixture
async def billing(start: Start) -> RunningService:
    return await start(ROLE="api", **ENVIRONMENT)


async def admin(billing: RunningService, method: str, path: str, **options: Any) -> Any:
    answer = await billing.call(method, path, None, kind="platform_admin", **options)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


async def take_in(
    billing: RunningService, event_type: str = "invoice.paid", object_id: str = "in_1", **fields: Any
) -> str:
    """The id of a stored event."""
    body = stripe_body(stripe_event(event_type, object_id, object=fields))
    answer = await billing.call("POST", "/stripe/webhook", None, content=body, headers=stripe_headers(body))
    assert answer.status_code == 200
    return str(await billing.db.platform.fetchval("SELECT id FROM provider_events ORDER BY id DESC LIMIT 1"))


OPERATIONS: list[tuple[str, str, Any]] = [
    ("GET", "/billing/events", None),
    ("GET", "/billing/events/01890000-0000-7000-8000-000000000000", None),
    ("POST", "/billing/events/01890000-0000-7000-8000-000000000000/replay", None),
    ("POST", "/billing/reconcile", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
async def test_only_the_platforms_administrators_may(
    billing: RunningService, method: str, path: str, body: Any
) -> None:
    options = {} if body is None else {"json": body}
    assert (await billing.http.request(method, path, **options)).status_code == 401
    for kind in ("user", "api_key", "public", "webhook"):
        answer = await billing.call(method, path, uuid4(), "*", kind=kind, **options)
        assert answer.status_code == 403, kind


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS[1:3])
async def test_an_unknown_event_is_not_found(billing: RunningService, method: str, path: str, body: Any) -> None:
    answer = await billing.call(method, path, None, kind="platform_admin")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_events_are_listed_narrowed_and_paged(billing: RunningService) -> None:
    paid = await take_in(billing)
    failed = await take_in(billing, "invoice.payment_failed", "in_2")
    await billing.call("POST", "/pix/webhook", None, content=pix_body(pix_transfer("tx1")), headers=pix_headers())
    tenant = uuid4()
    await billing.db.platform.execute("UPDATE provider_events SET tenant_id = $1 WHERE id = $2", tenant, UUID(paid))
    everything = await admin(billing, "GET", "/billing/events")
    assert [one["provider"] for one in everything["data"]] == ["pix", "stripe", "stripe"]
    assert "payload" not in everything["data"][0]
    for query, expected in (
        ("provider=stripe", {paid, failed}),
        ("type=invoice.paid", {paid}),
        ("object=in_2", {failed}),
        (f"tenant={tenant}", {paid}),
        ("status=processed", set()),
        ("status=received&provider=stripe&type=invoice.paid&object=in_1", {paid}),
    ):
        found = await admin(billing, "GET", f"/billing/events?{query}")
        assert {one["id"] for one in found["data"]} == expected, query
    first = await admin(billing, "GET", "/billing/events?limit=2")
    rest = await admin(billing, "GET", f"/billing/events?limit=2&cursor={first['next_cursor']}")
    assert [one["id"] for one in first["data"] + rest["data"]] == [one["id"] for one in everything["data"]]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "query", ["provider=paypal", "status=lost", "tenant=x", "limit=0", "limit=101", "cursor=%21", "type=", "object="]
)
async def test_what_cannot_be_asked_for_is_refused(billing: RunningService, query: str) -> None:
    answer = await billing.call("GET", f"/billing/events?{query}", None, kind="platform_admin")
    assert answer.status_code in (400, 422)


async def test_nobody_reads_what_is_personal_or_lets_its_reader_in(billing: RunningService) -> None:
    event_id = await take_in(billing, **{key: value for key, value in PERSONAL.items() if key != "id"})
    shown = await admin(billing, "GET", f"/billing/events/{event_id}")
    subject = shown["payload"]["data"]["object"]
    assert (subject["status"], subject["amount_paid"], subject["livemode"]) == ("paid", 24700, False)
    assert subject["customer_details"]["address"] == {"line1": "[redacted]", "city": "[redacted]"}
    assert subject["lines"] == [{"description": "Essencial", "holder": None}]
    text = msgspec.json.encode(shown)
    for secret in (b"ana@", b"Ana", b"9999", b"4242", b"secret_2", b"whoever", b"52998", b"Rua"):
        assert secret not in text, secret


def test_redaction_keeps_the_shape() -> None:
    assert redacted([{"email": ["a@b"], "ok": 1, "token": {"deep": [1, None, True]}}]) == [
        {"email": ["[redacted]"], "ok": 1, "token": {"deep": ["[redacted]", None, True]}}
    ]


async def test_a_body_that_is_no_json_is_not_shown(billing: RunningService) -> None:
    event_id = await take_in(billing)
    await billing.db.platform.execute("UPDATE provider_events SET payload = $1", b"cpf=52998224725")
    shown = await admin(billing, "GET", f"/billing/events/{event_id}")
    assert shown["payload"] is None


async def test_a_replay_tells_of_the_event_again_and_is_recorded(billing: RunningService) -> None:
    event_id = await take_in(billing)
    await billing.db.platform.execute(
        "UPDATE provider_events SET status = 'review', reason = 'x', processed_at = now()"
    )
    near = {"x-forwarded-for": "203.0.113.7"}
    shown = await admin(billing, "POST", f"/billing/events/{event_id}/replay", headers=near)
    assert (shown["status"], shown["reason"], shown["processed_at"]) == ("received", None, None)
    told = await billing.told("billing.provider_event.received.v1")
    assert [one["provider_event_id"] for one in told] == [event_id, event_id]
    [record] = await billing.told("billing.audit.recorded.v1")
    assert (record["action"], record["targets"][0]["id"]) == ("provider_event.replayed", event_id)
    assert record["context"]["location"] == "203.0.113.7"


async def test_reconcile_answers_what_it_found(billing: RunningService) -> None:
    counts = await admin(billing, "POST", "/billing/reconcile", json={"days": 1})
    # The accounts of these tests are at an address where nobody answers.
    assert counts == {"accounts": 3, "failed": 2, "listed": 0, "stored": 0, "retold": 0, "resumed": 0}
    for days in (0, 31, "3", None):
        answer = await billing.call("POST", "/billing/reconcile", None, kind="platform_admin", json={"days": days})
        assert answer.status_code == 422
