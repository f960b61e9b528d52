"""What leaves for others than our own services: seed 002's payment events, and purchases for n8n."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import aio_pika
import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.domain.brazil_days import day_in_brazil
from billing.domain.orders import OrderStatus
from billing.domain.providers import Provider, ProviderRefused, ProviderUnavailable, ProviderUnknown
from billing.events import outputs
from billing.n8n_api import N8nApi
from billing.usecases.pass_payment_on import pass_payment_on
from billing.usecases.plan_purchase_notice import plan_purchase_notice
from billing.usecases.send_purchase_notices import send_purchase_notices
from bus.outbox import tell
from chassis.clock import utc_now
from chassis.db import Database, platform_transaction, transaction
from contracts.billing import NEXUS_EXCHANGE, OrderPaid
from contracts.event import event_type
from testkit.embedded.process import LOOPBACK, free_port
from testkit.fake_asaas import FakeAsaas
from testkit.fake_asaas.fake import API_KEY as ASAAS_KEY
from testkit.fake_http import Answer, FakeServer, Fault, Request
from testkit.service import RunningService, until

from .records import NOW, a_payment, an_invoice, an_order

Start = Callable[..., Awaitable[RunningService]]
TOKEN = "asaas-webhook-token-of-this-test-0123456789"


class Listener:
    """An old consumer: a queue of its own on the foreign exchange, bound to every payment event."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def types(self) -> list[str]:
        return [key for key, _ in self.heard]


@asynccontextmanager
async def listening(amqp_url: str) -> AsyncIterator[Listener]:
    listener = Listener()
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(NEXUS_EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "payment.*")

        async def on_message(message: Any) -> None:
            assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
            listener.heard.append((message.routing_key, msgspec.json.decode(message.body)))
            await message.ack()

        await queue.consume(on_message)
        yield listener
        await channel.exchange_delete(NEXUS_EXCHANGE)


@pytest_asyncio.fixture
async def asaas() -> AsyncIterator[FakeAsaas]:
    async with FakeAsaas() as fake:
        yield fake


async def charge(billing: RunningService, tenant: UUID, **fields: Any) -> dict[str, Any]:
    """A charge of a new customer by the tenant's own account."""
    person = {"gateway": "asaas", "name": "Ana", "email": "ana@example.com", "cpfCnpj": "52998224725"}
    customer = (await billing.call("POST", "/payment-gateway/customers", tenant, json=person)).json()
    body = {
        "gateway": "asaas",
        "customer": customer["gatewayCustomerId"],
        "billingType": "PIX",
        "value": 50.5,
        "dueDate": (day_in_brazil(utc_now()) + timedelta(days=3)).isoformat(),
        "externalReference": "order-77",
    }
    answer = await billing.call("POST", "/payment-gateway/charges", tenant, json=body | fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def configured(start: Start, asaas: FakeAsaas, tenant: UUID, **env: str) -> RunningService:
    billing = await start(ASAAS_API_BASE=asaas.url, SCHEDULE_EVERY_S="3600", **env)
    config = {"gateway": "asaas", "environment": "sandbox", "apiKey": ASAAS_KEY, "webhookSecret": TOKEN}
    assert (await billing.call("POST", "/payment-gateway/config", tenant, json=config)).status_code == 200
    return billing


async def published(billing: RunningService) -> None:
    """Returns when everything is out but mails, which wait for the mailer's queue."""

    async def is_out() -> bool:
        waiting = await billing.db.relay.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL AND type <> 'mail_queue'"
        )
        return bool(waiting == 0)

    await until(is_out, timeout_s=60)


async def test_seed_002s_consumers_hear_of_a_charge_from_its_making_to_its_refund(
    start: Start, asaas: FakeAsaas, tenant: UUID, amqp_url: str
) -> None:
    async with listening(amqp_url) as listener:
        billing = await configured(start, asaas, tenant, NEXUS_EVENTS="true")
        made = await charge(billing, tenant)
        await until(lambda: listener.types() == ["payment.pending"], timeout_s=60)
        asaas.overdue(made["id"])
        await billing.call("GET", f"/payment-gateway/charges/asaas/{made['id']}", tenant)
        await until(lambda: listener.types()[1:] == ["payment.overdue"], timeout_s=60)
        asaas.pay(made["id"])
        await billing.call("GET", f"/payment-gateway/charges/asaas/{made['id']}", tenant)
        await until(lambda: listener.types()[2:] == ["payment.received"], timeout_s=60)
        asaas.refund(made["id"], 1050, "half")
        await billing.call("GET", f"/payment-gateway/charges/asaas/{made['id']}", tenant)
        await until(lambda: listener.types()[3:] == ["payment.refunded"], timeout_s=60)
        await asyncio.sleep(0.3)
        assert len(listener.heard) == 4
    async with transaction(billing.db, tenant) as conn:
        [payment] = await store.payments.list_payments(conn, tenant, before=None, limit=9)
    due = payment.due_on
    assert due is not None
    facts = {"chargeId": str(payment.id), "gatewayChargeId": made["id"], "gateway": "asaas", "value": 50.5}
    today = day_in_brazil(utc_now()).isoformat()
    for (key, body), data in zip(
        listener.heard,
        (
            facts | {"dueDate": due.isoformat(), "status": "PENDING"},
            facts | {"dueDate": due.isoformat()},
            facts | {"paymentDate": today, "confirmedDate": today},
            facts | {"refundedValue": 10.5},
        ),
        strict=True,
    ):
        assert body["timestamp"].endswith("Z")
        assert {name: value for name, value in body.items() if name != "timestamp"} == {
            "eventType": key,
            "tenantId": str(tenant),
            "entityType": "payment",
            "entityId": str(payment.id),
            "data": data,
        }


async def test_nobody_hears_of_it_unless_that_is_set(
    start: Start, asaas: FakeAsaas, tenant: UUID, amqp_url: str
) -> None:
    async with listening(amqp_url) as listener:
        billing = await configured(start, asaas, tenant)
        made = await charge(billing, tenant)
        asaas.pay(made["id"])
        await billing.call("GET", f"/payment-gateway/charges/asaas/{made['id']}", tenant)
        await published(billing)
        await asyncio.sleep(0.3)
        assert listener.heard == []


async def test_an_event_that_comes_twice_is_passed_on_once(
    start: Start, asaas: FakeAsaas, tenant: UUID, amqp_url: str
) -> None:
    """The relay repeats what it may have published; the inbox knows it."""
    async with listening(amqp_url) as listener:
        billing = await configured(start, asaas, tenant, NEXUS_EVENTS="true")
        made = await charge(billing, tenant)
        asaas.pay(made["id"])
        await billing.call("GET", f"/payment-gateway/charges/asaas/{made['id']}", tenant)
        await until(lambda: "payment.received" in listener.types(), timeout_s=60)
        await billing.db.relay.execute(
            "UPDATE outbox SET published_at = NULL WHERE type = 'billing.payment.received.v1'"
        )
        await published(billing)
        await asyncio.sleep(0.5)
        assert listener.types().count("payment.received") == 1


async def test_what_the_platform_sells_is_not_those_consumers_business(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        payment = await a_payment(conn, tenant, await an_invoice(conn, tenant))
        await pass_payment_on(conn, tenant, payment.id, "payment.received", now=NOW)
    assert await db.relay.fetchval("SELECT count(*) FROM outbox WHERE exchange = $1", NEXUS_EXCHANGE) == 0


async def test_the_bindings_do_not_depend_on_the_settings() -> None:
    """Turned off, they take what still comes, and do nothing about it."""
    off, on = outputs(nexus_events=False, n8n=False), outputs(nexus_events=True, n8n=True)
    assert [handler.event for handler in off] == [handler.event for handler in on]
    assert len({handler.event for handler in on}) == len(on)


# --- n8n


class N8n:
    """A workflow's webhook."""

    def __init__(self) -> None:
        self.server = FakeServer(self._respond, hang_s=0.5)
        self.status = 200

    async def _respond(self, _: Request) -> Answer:
        return Answer(self.status, {"message": "Workflow was started"}, {"location": f"{self.server.url}/elsewhere"})

    @property
    def url(self) -> str:
        return f"{self.server.url}/webhook/post-purchase"


@pytest_asyncio.fixture
async def n8n() -> AsyncIterator[N8n]:
    fake = N8n()
    async with fake.server.serving():
        yield fake


async def paid_order(db: Database, tenant: UUID, **fields: Any) -> OrderPaid:
    """A paid order, and the event that says so."""
    async with transaction(db, tenant) as conn:
        order = await an_order(conn, tenant, status=OrderStatus.PAID, paid_at=NOW, **fields)
        event = OrderPaid(
            tenant_id=tenant,
            occurred_at=NOW,
            sold_by="platform",
            order_id=order.id,
            customer_id=order.customer_id,
            plan=order.plan,
            provider=order.provider.value,
            external_id=None,
            buyer_email=order.buyer_email,
            buyer_name=None,
            is_new_tenant=False,
            subscription_id=None,
            invoice_id=None,
            payment_id=None,
            paid_cents=order.amount_cents,
        )
        await tell(conn, event, tenant_id=tenant, aggregate_id=order.id)
    return event


async def test_n8n_hears_of_a_purchase_once(start: Start, n8n: N8n, tenant: UUID) -> None:
    billing = await start(N8N_WEBHOOK_URL=n8n.url, N8N_WEBHOOK_TOKEN="n8n-token-of-this-test", SCHEDULE_EVERY_S="0.1")
    event = await paid_order(billing.db, tenant)
    await until(lambda: n8n.server.requests, timeout_s=60)
    await billing.db.relay.execute("UPDATE outbox SET published_at = NULL WHERE type = $1", event_type(event))
    await asyncio.sleep(1)
    [request] = n8n.server.requests
    assert (request.method, request.path) == ("POST", "/webhook/post-purchase")
    assert request.headers["authorization"] == "Bearer n8n-token-of-this-test"
    assert request.json() == {
        "orderId": str(event.order_id),
        "email": "ana@example.com",
        "plan": "essencial",
        "amount": 24700,
        "provider": "stripe",
    }


async def planned(db: Database, tenant: UUID, **fields: Any) -> UUID:
    event = await paid_order(db, tenant, **fields)
    async with transaction(db, tenant) as conn:
        for _ in range(2):  # asked for twice, it is one notice
            await plan_purchase_notice(conn, tenant, event.order_id, now=utc_now())
    return event.order_id


async def send(db: Database, api: N8nApi, **later: float) -> dict[str, int]:
    return await send_purchase_notices(db, api, clock=lambda: utc_now() + timedelta(**later))


async def notices(db: Database) -> list[tuple[str, str | None]]:
    async with platform_transaction(db) as conn:
        rows = await conn.fetch("SELECT status, error FROM provider_calls WHERE provider = 'n8n'")
    return [(row["status"], row["error"]) for row in rows]


async def test_an_outage_loses_no_purchase(db: Database, n8n: N8n, tenant: UUID) -> None:
    await planned(db, tenant)
    async with N8nApi(n8n.url, None) as api:
        n8n.status = 503
        assert (await send(db, api))["failed"] == 1
        assert await notices(db) == [("planned", "n8n does not take it now: 503.")]
        assert (await send(db, api, seconds=30))["seen"] == 0
        n8n.status = 500
        await send(db, api, minutes=2)
        assert await notices(db) == [("unknown", "n8n failed with 500.")]
        n8n.status = 200
        counts = await asyncio.gather(*(send(db, api, hours=1) for _ in range(3)))
        assert sum(count["done"] for count in counts) == 1
        assert await notices(db) == [("done", None)]
        assert len(n8n.server.requests) == 3
        assert (await send(db, api, days=1))["seen"] == 0


@pytest.mark.parametrize(("provider", "word"), [("stripe", "stripe"), ("asaas", "asaas"), ("pagbank", "pagseguro")])
async def test_n8n_hears_of_providers_in_the_words_of_the_checkout_site(
    db: Database, n8n: N8n, tenant: UUID, provider: str, word: str
) -> None:
    await planned(db, tenant, provider=Provider(provider))
    async with N8nApi(n8n.url, None) as api:
        await send(db, api)
    assert [request.json()["provider"] for request in n8n.server.requests] == [word]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_an_operator_mends_loses_no_purchase(db: Database, n8n: N8n, tenant: UUID, status: int) -> None:
    """A workflow that is not active is not found, a token may be wrong: until somebody has seen it."""
    await planned(db, tenant)
    async with N8nApi(n8n.url, None) as api:
        n8n.status = status
        await send(db, api)
        assert await notices(db) == [("planned", f"n8n does not take it now: {status}.")]
        n8n.status = 200
        assert (await send(db, api, hours=1))["done"] == 1
    assert await notices(db) == [("done", None)]


@pytest.mark.parametrize("status", [302, 400, 410, 422])
async def test_a_refusal_is_final_and_no_redirect_is_followed(
    db: Database, n8n: N8n, tenant: UUID, status: int
) -> None:
    await planned(db, tenant)
    n8n.status = status
    async with N8nApi(n8n.url, None) as api:
        await send(db, api)
        assert await notices(db) == [("refused", f"n8n answered {status}.")]
        assert (await send(db, api, days=1))["seen"] == 0
    assert [request.path for request in n8n.server.requests] == ["/webhook/post-purchase"]


async def test_it_is_given_up_after_a_week(db: Database, tenant: UUID) -> None:
    await planned(db, tenant)
    async with N8nApi(f"http://{LOOPBACK}:{free_port()}/x", None) as api:
        await send(db, api, days=6)
        assert (await notices(db))[0][0] == "planned"
        await send(db, api, days=8)
        assert (await notices(db))[0][0] == "refused"


async def test_its_failures_are_told_apart(n8n: N8n, monkeypatch: pytest.MonkeyPatch) -> None:
    async with N8nApi(f"http://{LOOPBACK}:{free_port()}/x", None) as api:
        with pytest.raises(ProviderUnavailable):
            await api.tell_purchase({})
    monkeypatch.setattr("billing.n8n_api.READ_S", 0.1)
    async with N8nApi(n8n.url, None) as api:
        for fault in (Fault.HANG, Fault.DROP_REPLY, Fault.FAIL_500_AFTER):
            n8n.server.faults = [fault]
            with pytest.raises(ProviderUnknown):
                await api.tell_purchase({})
        n8n.server.faults = [Fault.REFUSE_429]
        with pytest.raises(ProviderUnavailable):
            await api.tell_purchase({})
        n8n.server.faults = [Fault.GARBAGE]
        await api.tell_purchase({})  # what it answers is not read
        n8n.status = 400
        with pytest.raises(ProviderRefused):
            await api.tell_purchase({})
