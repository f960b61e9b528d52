"""Who may do what at the payment gateway: 401, 403 and other tenants for every route, and the log of webhooks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from litestar.routes import HTTPRoute

from billing import store
from billing.domain.brazil_days import day_in_brazil
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.identifiers import new_id
from billing.domain.provider_events import EventSource, NewProviderEvent
from billing.domain.providers import Notice
from chassis.clock import utc_now
from chassis.db import platform_transaction, transaction
from testkit.fake_asaas import FakeAsaas
from testkit.fake_asaas.fake import API_KEY as ASAAS_KEY
from testkit.fake_http import Answer, Request
from testkit.service import RunningService

Start = Callable[..., Awaitable[RunningService]]
G = "/payment-gateway"
CONFIG = {"gateway": "asaas", "environment": "sandbox", "apiKey": ASAAS_KEY, "webhookSecret": "w" * 32}
PERSON = {"name": "Ana", "cpfCnpj": "52998224725", "leadId": "lead-1"}
CHARGE = {"billingType": "PIX", "value": 50, "dueDate": (day_in_brazil(utc_now()) + timedelta(days=2)).isoformat()}

#: method, path ({charge} and {event} are the tenant's), body, permission
OPERATIONS: list[tuple[str, str, Any, str]] = [
    ("GET", f"{G}/config", None, "billing:configure"),
    ("POST", f"{G}/config", CONFIG, "billing:configure"),
    ("GET", f"{G}/config/asaas/sandbox", None, "billing:configure"),
    ("GET", f"{G}/config/asaas/active", None, "billing:configure"),
    ("POST", f"{G}/test/asaas", None, "billing:configure"),
    ("POST", f"{G}/test/pagbank", None, "billing:configure"),
    ("POST", f"{G}/test/pagbank/full", None, "billing:configure"),
    ("POST", f"{G}/test/pagbank/pix", {}, "billing:configure"),
    ("GET", f"{G}/test/pagbank/orders", None, "billing:configure"),
    ("POST", f"{G}/customers", {"gateway": "asaas", **PERSON}, "billing:write"),
    ("GET", f"{G}/customers/lead/lead-1?gateway=asaas", None, "billing:read"),
    ("POST", f"{G}/charges", {"gateway": "asaas", "customer": "{customer}", **CHARGE}, "billing:write"),
    ("GET", f"{G}/charges/asaas", None, "billing:read"),
    ("GET", f"{G}/charges/asaas/{{charge}}", None, "billing:read"),
    ("GET", f"{G}/charges/asaas/{{charge}}/pix", None, "billing:read"),
    ("POST", f"{G}/asaas/customers", PERSON, "billing:write"),
    ("GET", f"{G}/asaas/customers/lead/lead-1", None, "billing:read"),
    ("GET", f"{G}/asaas/charges", None, "billing:read"),
    ("POST", f"{G}/asaas/charges", {"customerId": "{customer}", **CHARGE}, "billing:write"),
    ("GET", f"{G}/asaas/charges/{{charge}}", None, "billing:read"),
    ("GET", f"{G}/asaas/charges/{{charge}}/pix-qrcode", None, "billing:read"),
    ("POST", f"{G}/asaas/webhook/test", None, "billing:configure"),
    ("GET", f"{G}/webhooks/logs", None, "billing:configure"),
    ("POST", f"{G}/webhooks/{{event}}/retry", None, "billing:configure"),
    ("POST", f"{G}/charges/asaas/{{charge}}/refund", {}, "payments:refund"),
    ("POST", f"{G}/asaas/charges/{{charge}}/refund", {}, "payments:refund"),
    ("POST", f"{G}/asaas/charges/{{charge}}/cancel", None, "billing:write"),
    ("DELETE", f"{G}/config/asaas/sandbox", None, "billing:configure"),
]


@pytest_asyncio.fixture
async def asaas() -> AsyncIterator[FakeAsaas]:
    async with FakeAsaas() as fake:
        yield fake


@pytest_asyncio.fixture
async def billing(start: Start, asaas: FakeAsaas) -> RunningService:
    return await start(ASAAS_API_BASE=asaas.url, ROLE="api")


async def an_event(billing: RunningService, tenant: UUID | None, account_id: UUID, **fields: Any) -> UUID:
    now = fields.pop("now", utc_now())
    notice = Notice(
        event_id=uuid4().hex, type="PAYMENT_RECEIVED", kind="payment", object_external_id="pay_1", reference=None
    )
    event = NewProviderEvent(
        id=new_id(now),
        provider=fields.pop("provider", EventSource.ASAAS),
        account_id=account_id,
        notice=notice,
        payload=fields.pop("payload", b'{"payment": {"id": "pay_1", "customer": "cus_1", "customerEmail": "a@b.c"}}'),
        tenant_id=tenant,
    )
    async with platform_transaction(billing.db) as conn:
        await store.provider_events.insert_events(conn, [event], now)
        if status := fields.pop("status", None):
            await store.provider_events.mark_event(
                conn, event.id, status=status, reason=fields.pop("reason", None), tenant_id=tenant, now=now
            )
    return event.id


async def account_of(billing: RunningService, tenant: UUID) -> UUID:
    async with transaction(billing.db, tenant) as conn:
        [account] = await store.provider_accounts.list_accounts(conn, tenant)
    return account.id


async def names_of(billing: RunningService, tenant: UUID) -> dict[str, str]:
    assert (await billing.call("POST", f"{G}/config", tenant, json=CONFIG)).status_code == 200
    customer = (await billing.call("POST", f"{G}/customers", tenant, json={"gateway": "asaas", **PERSON})).json()
    name = customer["gatewayCustomerId"]
    charge = await billing.call("POST", f"{G}/charges", tenant, json={"gateway": "asaas", "customer": name, **CHARGE})
    event = await an_event(billing, tenant, await account_of(billing, tenant), status="failed", reason="x")
    return {"charge": charge.json()["id"], "customer": name, "event": str(event)}


def filled(body: Any, names: dict[str, str]) -> dict[str, Any]:
    if body is None:
        return {}
    return {"json": {key: one.format(**names) if isinstance(one, str) else one for key, one in body.items()}}


async def test_nobody_passes_without_identity_permission_and_tenant(
    billing: RunningService, asaas: FakeAsaas, tenant: UUID
) -> None:
    """A stranger sees and harms nothing of the tenant's: neither its accounts, nor its charges, nor its webhooks."""
    names = await names_of(billing, tenant)
    before = (len(asaas.world.payments), len(asaas.server.requests))
    for method, template, body, permission in OPERATIONS:
        path, options = template.format(**names), filled(body, names)
        assert (await billing.http.request(method, path, **options)).status_code == 401, (method, path)
        others = {"billing:read", "billing:write", "billing:configure", "payments:refund"} - {permission}
        refused = await billing.call(method, path, tenant, *others, **options)
        assert refused.status_code == 403, (method, path, refused.text)
        assert (refused.json()["code"], bool(refused.json()["error"])) == ("missing_permission", True)
        assert (await billing.call(method, path, None, permission, **options)).status_code == 400, (method, path)
        if (method, template) == ("POST", f"{G}/config"):
            continue
        foreign = await billing.call(method, path, uuid4(), permission, **options)
        assert foreign.status_code in (200, 404, 409), (method, path, foreign.text)
        if foreign.status_code == 200:
            assert foreign.json() in ([], {"webhooks": [], "limit": 50, "offset": 0}, {"data": [], "success": True})
        else:
            assert foreign.json()["error"]
    assert (len(asaas.world.payments), len(asaas.server.requests)) == before
    assert (await billing.call("GET", f"{G}/config/asaas/sandbox", tenant)).status_code == 200


async def test_a_stranger_with_an_account_of_its_own_reaches_no_charge_of_another(
    billing: RunningService, tenant: UUID
) -> None:
    """Both have Asaas accounts; here even the same one, so that the provider would tell: ours are found by tenant."""
    names = await names_of(billing, tenant)
    other = uuid4()
    await billing.call("POST", f"{G}/config", other, json=CONFIG | {"webhookSecret": "o" * 32})
    for method, template, body, permission in OPERATIONS:
        if "{charge}" in template and method == "POST":
            answer = await billing.call(method, template.format(**names), other, permission, **filled(body, names))
            assert answer.status_code == 404, (method, template, answer.text)
    async with transaction(billing.db, other) as conn:
        assert await store.payments.list_payments(conn, other, before=None, limit=9) == []


async def test_every_route_of_the_gateway_is_in_the_list_above(billing: RunningService) -> None:
    routes = {
        (method, route.path)
        for route in billing.app.routes
        if isinstance(route, HTTPRoute) and route.path.startswith(G) and "/webhooks/asaas" not in route.path
        for method in route.route_handler_map
        if method not in ("OPTIONS", "HEAD")
    }
    public = {("POST", f"{G}/webhook/{{gateway:str}}"), ("POST", f"{G}/webhooks/pagbank")}
    assert len(routes - public) == len(OPERATIONS), sorted(routes - public)


async def test_a_tenant_sees_what_was_sent_to_its_own_accounts(billing: RunningService, tenant: UUID) -> None:
    names = await names_of(billing, tenant)
    account_id = await account_of(billing, tenant)
    await an_event(billing, tenant, account_id, status="processed", payload=b"not json", provider=EventSource.PAGBANK)
    await an_event(billing, tenant, account_id, status="review", reason="10 came in where 20 was asked for")
    await an_event(billing, tenant, PLATFORM_ACCOUNT)  # to the platform's account, of an order of this tenant
    await an_event(billing, uuid4(), uuid4())
    log = (await billing.call("GET", f"{G}/webhooks/logs", tenant)).json()
    assert [one["status"] for one in log["webhooks"]] == ["failed", "processed", "failed"]
    assert (log["limit"], log["offset"]) == (50, 0)
    oldest = log["webhooks"][-1]
    assert (oldest["id"], oldest["event"], oldest["gatewayChargeId"]) == (names["event"], "PAYMENT_RECEIVED", "pay_1")
    assert oldest["payload"]["payment"]["id"] == "pay_1"
    assert oldest["payload"]["payment"]["customerEmail"] == "[redacted]"
    assert (log["webhooks"][1]["payload"], log["webhooks"][1]["gateway"]) == (None, "pagbank")
    for query, count in (
        ("gateway=pagbank", 1),
        ("status=failed", 2),
        ("status=processed", 1),
        ("status=pending", 0),
        ("status=ignored", 0),
        ("limit=1&offset=2", 1),
        ("offset=3", 0),
    ):
        found = (await billing.call("GET", f"{G}/webhooks/logs?{query}", tenant)).json()["webhooks"]
        assert len(found) == count, query
    for query in ("status=odd", "gateway=odd", "limit=0", "limit=x", "offset=-1"):
        assert (await billing.call("GET", f"{G}/webhooks/logs?{query}", tenant)).status_code == 400, query


async def test_a_webhook_is_tried_again(billing: RunningService, tenant: UUID) -> None:
    names = await names_of(billing, tenant)
    path = f"{G}/webhooks/{names['event']}/retry"
    answers = await asyncio.gather(*(billing.call("POST", path, tenant) for _ in range(2)))
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json() == {"message": "Webhook retry initiated"}
    told = await billing.told("billing.provider_event.received.v1")
    assert {one["provider_event_id"] for one in told} == {names["event"]}
    log = (await billing.call("GET", f"{G}/webhooks/logs", tenant)).json()["webhooks"]
    assert (log[0]["status"], log[0]["errorMessage"]) == ("pending", None)
    done = await an_event(billing, tenant, await account_of(billing, tenant), status="processed")
    again = await billing.call("POST", f"{G}/webhooks/{done}/retry", tenant)
    assert (again.status_code, again.json()["error"]) == (409, "Webhook already processed")
    assert (await billing.call("POST", f"{G}/webhooks/{uuid4()}/retry", tenant)).status_code == 404
    assert (await billing.call("POST", f"{G}/webhooks/odd/retry", tenant)).status_code == 404


@pytest.mark.parametrize(
    ("queues", "works", "word"),
    [
        ([], False, "No webhook"),
        ([("https://elsewhere.example/hook", {})], False, "No webhook"),
        ([("https://api.example/api/payment-gateway/webhooks/asaas", {})], True, "configured"),
        ([("https://api.example/api/webhooks/asaas", {"enabled": False})], False, "switched off"),
        ([("https://api.example/payment-gateway/webhook/asaas", {"interrupted": True})], False, "interrupted"),
    ],
)
async def test_whether_webhooks_will_come(
    billing: RunningService, asaas: FakeAsaas, tenant: UUID, queues: list[Any], works: bool, word: str
) -> None:
    await billing.call("POST", f"{G}/config", tenant, json=CONFIG)
    asaas.server._respond = _with_queues(asaas, queues)
    answer = await billing.call("POST", f"{G}/asaas/webhook/test", tenant)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["success"] is works
    assert word in answer.json()["data"]["message"]


def _with_queues(asaas: FakeAsaas, queues: list[Any]) -> Any:
    respond = asaas.server._respond
    data = [
        {"id": f"w{n}", "url": url, "enabled": True, "interrupted": False} | more
        for n, (url, more) in enumerate(queues)
    ]

    async def answered(request: Request) -> Answer:
        if request.path.endswith("/webhooks"):
            return Answer(200, {"object": "list", "hasMore": False, "data": data})
        return await respond(request)

    return answered
