"""PIX codes over HTTP: one code that a bank takes, for what is owed and no other amount, by each of three providers."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.accounts import Api
from billing.asaas_api import AsaasApi
from billing.domain.br_code import build_br_code, parse_br_code
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.invoices import Invoice
from billing.domain.pix_codes import refuse_wrong_code
from billing.domain.pix_requests import is_open_code
from billing.domain.providers import ChargeCreated, Method, PaymentStatus, PixCode, Provider, ProviderUnknown
from billing.domain.subscriptions import Subscription
from billing.pagbank_api import PagBankApi
from billing.stripe_api import StripeApi
from billing.usecases.apply_payment import apply_payment
from chassis.clock import utc_now
from chassis.db import Connection, transaction
from testkit.fake_http import Answer, Fault
from testkit.fake_stripe.front import Crash
from testkit.service import RunningService

from .records import a_subscription, an_invoice, an_order
from .selling import (
    ASAAS_KEY,
    CPF,
    PAGBANK_TOKEN,
    STRIPE_KEY,
    Fakes,
    ask,
    order_of,
    own_account,
    serving_fakes,
    timeline,
)

PAYER = {"name": "Ana Lima", "email": "Ana@Example.com", "tax_id": CPF}
PLAN = {"plan": "essencial", "payer": PAYER}


@pytest_asyncio.fixture
async def fakes() -> AsyncIterator[Fakes]:
    async with serving_fakes() as serving:
        yield serving


@pytest_asyncio.fixture
async def billing(start: Any, fakes: Fakes) -> RunningService:
    service: RunningService = await start(ROLE="api", **fakes.env())
    return service


@pytest.mark.parametrize(
    ("named", "provider"),
    [(None, "asaas"), ("asaas", "asaas"), ("pagbank", "pagbank"), ("pagseguro", "pagbank"), ("stripe", "stripe")],
)
async def test_a_plan_is_paid_by_a_code_of_each_provider(
    billing: RunningService, tenant: UUID, named: str | None, provider: str
) -> None:
    answer = await ask(billing, "/pix/create", tenant, PLAN | ({"provider": named} if named else {}))
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    code = parse_br_code(shown["copia_e_cola"])
    assert code.amount_cents in (24700, None)
    assert (shown["provider"], shown["status"], shown["amount_cents"]) == (provider, "pending", 24700)
    png = base64.b64decode(shown["qr_code"].removeprefix("data:image/png;base64,"))
    assert png.startswith(b"\x89PNG")
    assert shown["qr_code_svg"].startswith("<svg")
    assert shown["expires_at"] is not None
    order = await order_of(billing.db, shown["order_id"])
    assert (order.status, order.provider, order.source, order.tenant_id) == ("pending", provider, "pix", tenant)
    assert order.expires_at is not None
    assert await timeline(billing.db, order) == ["placed", "invoice_issued", "pix_code_made", "pix_code_queued"]
    async with transaction(billing.db, tenant) as conn:
        payment = await store.payments.get_payment(conn, tenant, UUID(shown["payment_id"]))
        assert (payment.method, payment.pix_copy_paste) == (Method.PIX, shown["copia_e_cola"])
        for kind, external_id in (("reference", str(payment.id)), ("payment", payment.external_id)):
            found = await store.directory.find_object(
                conn, provider=provider, account_id=PLATFORM_ACCOUNT, kind=kind, external_id=str(external_id)
            )
            assert found is not None
            assert found.object_id == payment.id
    [mail] = await billing.told("mail_queue")
    assert (mail["template"], mail["to"]["email"]) == ("pix_code", "ana@example.com")
    assert mail["variables"]["copy_paste"] == shown["copia_e_cola"]
    assert set(mail["variables"]) == {"name", "description", "amount", "copy_paste", "due_on"}
    again = await billing.call("GET", f"/pix/{shown['txid']}", tenant)
    assert (again.status_code, again.json()) == (200, shown)


@pytest.mark.parametrize("provider", ["asaas", "pagbank", "stripe"])
async def test_a_paid_code_gives_the_plan_and_we_renew_it(
    billing: RunningService, fakes: Fakes, tenant: UUID, provider: str
) -> None:
    shown = (await ask(billing, "/pix/create", tenant, PLAN | {"provider": provider})).json()
    async with transaction(billing.db, tenant) as conn:
        payment = await store.payments.get_payment(conn, tenant, UUID(shown["payment_id"]))
    external_id = str(payment.external_id)
    pay: dict[str, Callable[[str], object]] = {
        "asaas": fakes.asaas.pay,
        "pagbank": fakes.pagbank.pay,
        "stripe": fakes.stripe.pay_pix,
    }
    pay[provider](external_id)
    opened: dict[str, Api] = {
        "asaas": AsaasApi(ASAAS_KEY, base_url=fakes.asaas.url),
        "pagbank": PagBankApi(PAGBANK_TOKEN, base_url=fakes.pagbank.url),
        "stripe": StripeApi(STRIPE_KEY, base_url=fakes.stripe.url),
    }
    api = opened[provider]
    async with api:
        for _ in range(2):
            await apply_payment(billing.db, api, Provider(provider), PLATFORM_ACCOUNT, external_id, clock=utc_now)
    order = await order_of(billing.db, shown["order_id"])
    async with transaction(billing.db, tenant) as conn:
        subscription = await store.subscriptions.find_of_order(conn, tenant, order.id)
    assert order.status == "paid"
    assert subscription is not None
    assert (subscription.status, subscription.external_id) == ("active", None)
    assert subscription.renews_at == subscription.current_period_end
    [paid] = await billing.told("billing.order.paid.v1")
    assert (paid["paid_cents"], paid["payment_id"]) == (24700, shown["payment_id"])
    assert len(await billing.told("billing.pix.received.v1")) == 1
    again = (await billing.call("GET", f"/pix/{shown['txid']}", tenant)).json()
    assert (again["status"], again["copia_e_cola"], again["qr_code"]) == ("paid", None, None)
    assert again["paid_at"] is not None


async def test_a_code_is_the_tenants_own(billing: RunningService, tenant: UUID) -> None:
    shown = (await ask(billing, "/pix/create", tenant, PLAN)).json()
    for txid, who in ((shown["txid"], uuid4()), ("x", tenant), (uuid4().hex, tenant), ("%00", tenant)):
        assert (await billing.call("GET", f"/pix/{txid}", who)).status_code in (404, 400), txid
    upper = await billing.call("GET", f"/pix/{shown['payment_id']}", tenant)
    assert upper.status_code == 404, "a TxID has one spelling"


async def test_who_may(billing: RunningService, tenant: UUID) -> None:
    assert (await billing.http.post("/pix/create", json=PLAN)).status_code == 401
    assert (await billing.http.get("/pix/x")).status_code == 401
    reader = await billing.call("POST", "/pix/create", tenant, "billing:read", json=PLAN)
    assert (reader.status_code, reader.json()["code"]) == (403, "missing_permission")
    writer = await billing.call("GET", "/pix/x", tenant, "billing:write")
    assert writer.status_code == 403
    assert (await ask(billing, "/pix/create", None, PLAN)).status_code in (400, 403)
    assert (await ask(billing, "/pix/create", None, PLAN, kind="platform_admin", subject="a")).status_code == 400


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 422, "invalid"),
    ({"payer": PAYER}, 422, "invalid"),
    (PLAN | {"amount_cents": 100}, 422, "invalid"),
    (PLAN | {"invoice_id": str(uuid4())}, 422, "invalid"),
    ({"plan": "essencial"}, 422, "invalid"),
    (PLAN | {"plan": "gratis"}, 422, "unknown_plan"),
    (PLAN | {"planId": "profissional"}, 422, "invalid"),
    (PLAN | {"payer": PAYER | {"tax_id": "529.982.247-24"}}, 422, "invalid_tax_id"),
    (PLAN | {"payer": PAYER | {"email": "ana"}}, 422, "invalid_email"),
    (PLAN | {"payer": PAYER | {"name": "Ana\u0007"}}, 422, "invalid_name"),
    (PLAN | {"payer": {"email": "ana@example.com"}, "provider": "asaas"}, 422, "tax_id_needed"),
    (PLAN | {"expires_in_s": 1}, 422, "invalid"),
    (PLAN | {"expires_in_s": 14 * 86_400}, 422, "invalid"),
    (PLAN | {"provider": "mercadopago"}, 422, "invalid"),
    (PLAN | {"amount": 1}, 422, "invalid"),
    ({"invoice_id": str(uuid4())}, 404, "not_found"),
    ({"invoice_id": "x"}, 422, "invalid"),
    ({"amount_cents": 100}, 422, "invalid"),
    ({"amount_cents": 0, "payer": PAYER}, 422, "invalid"),
    ({"amount_cents": -1, "payer": PAYER}, 422, "invalid"),
    ({"amount_cents": 1.5, "payer": PAYER}, 422, "invalid"),
    ({"amount_cents": 10**9, "payer": PAYER}, 422, "invalid"),
    ({"amount_cents": 100, "payer": PAYER}, 409, "provider_account_needed"),
]


async def test_what_is_refused(billing: RunningService, tenant: UUID) -> None:
    for body, status, code in REFUSED:
        answer = await ask(billing, "/pix/create", tenant, body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (body, answer.text)
    assert await billing.told("billing.order.placed.v1", "billing.invoice.issued.v1") == []


async def test_a_tax_id_that_is_known_need_not_be_said_again(billing: RunningService, tenant: UUID) -> None:
    first = await ask(billing, "/pix/create", tenant, PLAN)
    assert first.status_code == 201
    again = await ask(
        billing, "/pix/create", tenant, PLAN | {"payer": {"email": "ana@example.com"}, "provider": "asaas"}
    )
    assert again.status_code == 201, again.text


async def test_no_provider_of_pix(start: Any, tenant: UUID) -> None:
    billing = await start(ROLE="api")
    answer = await ask(billing, "/pix/create", tenant, PLAN)
    assert (answer.status_code, answer.json()["code"]) == (409, "provider_not_configured")


async def test_a_second_plan_is_a_change_of_the_first(billing: RunningService, tenant: UUID) -> None:
    async with transaction(billing.db, tenant) as conn:
        await a_subscription(conn, tenant)
    answer = await ask(billing, "/pix/create", tenant, PLAN)
    assert (answer.status_code, answer.json()["code"]) == (409, "subscription_exists")


# Invoices


async def invoice_of(conn: Connection, subscription: Subscription, **fields: Any) -> Invoice:
    """What a period of the subscription owes."""
    of = {
        "subscription_id": subscription.id,
        "customer_id": subscription.customer_id,
        "provider": subscription.provider,
    }
    return await an_invoice(conn, subscription.tenant_id, **of | fields)


async def test_an_invoice_has_one_code_at_a_time(billing: RunningService, fakes: Fakes, tenant: UUID) -> None:
    async with transaction(billing.db, tenant) as conn:
        subscription = await a_subscription(conn, tenant, provider=Provider.ASAAS)
        invoice = await invoice_of(conn, subscription)
    body = {"invoice_id": str(invoice.id), "payer": PAYER}
    answers = [await ask(billing, "/pix/create", tenant, body) for _ in range(3)]
    answers += await asyncio.gather(*(ask(billing, "/pix/create", tenant, body) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    assert len({answer.json()["payment_id"] for answer in answers}) == 1
    shown = answers[0].json()
    assert (shown["invoice_id"], shown["amount_cents"]) == (str(invoice.id), invoice.amount_cents)
    assert len(fakes.asaas.payments_of(shown["payment_id"])) == 1
    foreign = await ask(billing, "/pix/create", uuid4(), body)
    assert foreign.status_code == 404
    # Another provider is another code; a code that is over makes place for a new one.
    other = await ask(billing, "/pix/create", tenant, body | {"provider": "pagbank"})
    assert (other.status_code, other.json()["provider"]) == (201, "pagbank")
    assert other.json()["payment_id"] != shown["payment_id"]
    async with transaction(billing.db, tenant) as conn:
        for row in await store.payments.list_payments(conn, tenant, before=None, limit=9, invoice_id=invoice.id):
            over = msgspec.structs.replace(row, pix_expires_at=datetime.now(UTC))
            await store.payments.update_payment(conn, tenant, over)
    new = await ask(billing, "/pix/create", tenant, body)
    assert new.status_code == 201
    assert new.json()["payment_id"] not in (shown["payment_id"], other.json()["payment_id"])


async def test_an_invoice_that_is_collected_elsewhere_gets_no_code(billing: RunningService, tenant: UUID) -> None:
    async with transaction(billing.db, tenant) as conn:
        at_stripe = await a_subscription(conn, tenant, external_id="sub_1")
        collected = await invoice_of(conn, at_stripe)
        order = await an_order(conn, tenant, checkout_url="https://pay.example.com/1")
        on_a_page = await an_invoice(conn, tenant, order=order)
        own = await a_subscription(conn, tenant, provider=Provider.ASAAS)
        paid = await invoice_of(conn, own, status="paid", paid_at=own.created_at)
        void = await invoice_of(conn, own, status="void", voided_at=own.created_at)
    for invoice, code in (
        (collected, "invoice_collected_elsewhere"),
        (on_a_page, "invoice_collected_elsewhere"),
        (paid, "invoice_not_owed"),
        (void, "invoice_not_owed"),
    ):
        answer = await ask(billing, "/pix/create", tenant, {"invoice_id": str(invoice.id), "payer": PAYER})
        assert (answer.status_code, answer.json()["code"]) == (409, code)


# A tenant's own customers


async def test_an_amount_is_charged_by_the_tenants_own_account(
    billing: RunningService, fakes: Fakes, tenant: UUID
) -> None:
    await own_account(billing.db, tenant)
    body = {"amount_cents": 1234, "description": "Consulta", "payer": PAYER}
    answer = await ask(billing, "/pix/create", tenant, body)
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    assert (shown["amount_cents"], shown["order_id"], shown["description"]) == (1234, None, "Consulta")
    [made] = fakes.asaas.payments_of(shown["payment_id"])
    assert (made["value"], made["billingType"]) == (12.34, "PIX")
    async with transaction(billing.db, tenant) as conn:
        payment = await store.payments.get_payment(conn, tenant, UUID(shown["payment_id"]))
        assert payment.sold_by == "tenant"
        assert payment.account_id != PLATFORM_ACCOUNT
    [mail] = await billing.told("mail_queue")
    assert (mail["tenant_id"], mail["template"]) == (str(tenant), "pix_code")
    again = await ask(billing, "/pix/create", tenant, body | {"payer": {"email": "ana@example.com", "tax_id": CPF}})
    async with transaction(billing.db, tenant) as conn:
        second = await store.payments.get_payment(conn, tenant, UUID(again.json()["payment_id"]))
    assert second.customer_id == payment.customer_id, "the same address is the same customer"
    missing = await ask(billing, "/pix/create", tenant, body | {"provider": "pagbank"})
    assert (missing.status_code, missing.json()["code"]) == (409, "provider_not_configured")
    assert (await ask(billing, "/pix/create", uuid4(), body)).json()["code"] == "provider_account_needed"


# One request, one code


async def test_a_repeated_request_makes_one_code_and_one_mail(
    billing: RunningService, fakes: Fakes, tenant: UUID
) -> None:
    answers = await asyncio.gather(*(ask(billing, "/pix/create", tenant, PLAN, key="k") for _ in range(10)))
    answers.append(await ask(billing, "/pix/create", tenant, PLAN, key="k"))
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 409, 503}
    assert len(made) > 5
    assert all(answer == made[0] for answer in made)
    assert answers[-1].headers["idempotency-replayed"] == "true"
    assert sum(fakes.asaas.effects["payment"].values()) == 1
    assert len(await billing.told("mail_queue")) == 1
    other = await ask(billing, "/pix/create", tenant, PLAN | {"plan": "profissional"}, key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("provider", ["stripe", "asaas", "pagbank"])
async def test_a_lost_answer_is_found_again(billing: RunningService, fakes: Fakes, tenant: UUID, provider: str) -> None:
    server = {"stripe": fakes.stripe.server, "asaas": fakes.asaas.server, "pagbank": fakes.pagbank.server}[provider]
    server.faults = [Fault.DROP_REPLY, Fault.FAIL_500_AFTER, Fault.REFUSE_429, Fault.DROP_REPLY]
    server.faulty = lambda request: request.method == "POST"
    body = PLAN | {"provider": provider}
    answers = [await ask(billing, "/pix/create", tenant, body, key="k") for _ in range(4)]
    assert answers[-1].status_code == 201, answers[-1].text
    assert {answer.status_code for answer in answers} <= {201, 503}
    payment_id = answers[-1].json()["payment_id"]
    made = {
        "stripe": lambda: fakes.stripe.made("payment_intent"),
        "asaas": lambda: len(fakes.asaas.payments_of(payment_id)),
        "pagbank": lambda: len(fakes.pagbank.orders_of(payment_id)),
    }[provider]()
    assert made == 1
    assert len(await billing.told("mail_queue")) == 1


@pytest.mark.parametrize("crash", [Crash.BEFORE, Crash.AFTER])
async def test_stripes_own_failure_is_looked_up(
    billing: RunningService, fakes: Fakes, tenant: UUID, crash: Crash
) -> None:
    fakes.stripe.front.crashes = [crash]
    answer = await ask(billing, "/pix/create", tenant, PLAN | {"provider": "stripe"})
    assert answer.status_code == 201, answer.text
    assert parse_br_code(answer.json()["copia_e_cola"]).amount_cents == 24700
    assert fakes.stripe.made("payment_intent") == 1


async def test_what_the_provider_refuses_ends_the_order(billing: RunningService, fakes: Fakes, tenant: UUID) -> None:
    refusal = {"errors": [{"code": "invalid_value", "description": "O valor é inválido."}]}
    respond = fakes.asaas.server._respond

    async def refuse(request: Any) -> Answer:
        if request.method == "POST" and request.path.endswith("/payments"):
            return Answer(400, refusal)
        return await respond(request)

    fakes.asaas.server._respond = refuse
    for _ in range(2):
        answer = await ask(billing, "/pix/create", tenant, PLAN, key="k")
        assert (answer.status_code, answer.json()["code"]) == (422, "provider_refused"), answer.text
    [failed] = await billing.told("billing.order.failed.v1")
    assert (await order_of(billing.db, failed["order_id"])).status == "failed"
    assert len(await billing.told("billing.invoice.voided.v1")) == 1
    assert await billing.told("mail_queue") == []


async def test_a_code_of_another_amount_is_never_shown(billing: RunningService, fakes: Fakes, tenant: UUID) -> None:
    wrong = build_br_code(merchant_name="X", merchant_city="Y", key="k@example.com", amount_cents=24701)
    respond = fakes.asaas.server._respond

    async def forge(request: Any) -> Answer:
        answer = await respond(request)
        if request.path.endswith("/pixQrCode"):
            answer.body = answer.body | {"payload": wrong}
        return answer

    fakes.asaas.server._respond = forge
    answer = await ask(billing, "/pix/create", tenant, PLAN, key="k")
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_result_unknown")
    assert wrong not in answer.text
    assert await billing.told("mail_queue") == []
    fakes.asaas.server._respond = respond
    mended = await ask(billing, "/pix/create", tenant, PLAN, key="k")
    assert mended.status_code == 201
    assert parse_br_code(mended.json()["copia_e_cola"]).amount_cents == 24700
    assert sum(fakes.asaas.effects["payment"].values()) == 1


# Pure


def code_of(amount_cents: int | None, *, url: str | None = None) -> ChargeCreated:
    text = build_br_code(
        merchant_name="Loja",
        merchant_city="Recife",
        key=None if url else "k@example.com",
        url=url,
        amount_cents=amount_cents,
    )
    return ChargeCreated(
        external_id="1",
        status=PaymentStatus.PENDING,
        pix=PixCode(copy_paste=text, txid="***", expires_at=None),
    )


def test_codes_that_may_be_shown() -> None:
    refuse_wrong_code(code_of(100), 100)
    refuse_wrong_code(code_of(None, url="pix.example.com/1"), 100)
    for made in (
        code_of(101),
        code_of(None),
        code_of(101, url="pix.example.com/1"),
        ChargeCreated(external_id="1", status=PaymentStatus.PENDING),
        ChargeCreated(
            external_id="1",
            status=PaymentStatus.PENDING,
            pix=PixCode(copy_paste=code_of(100).pix.copy_paste[:-1] + "0", txid="***", expires_at=None),  # type: ignore[union-attr]  # code_of gives it one
        ),
    ):
        with pytest.raises(ProviderUnknown):
            refuse_wrong_code(made, 100)


async def test_which_code_is_open(billing: RunningService, tenant: UUID) -> None:
    shown = (await ask(billing, "/pix/create", tenant, PLAN)).json()
    async with transaction(billing.db, tenant) as conn:
        payment = await store.payments.get_payment(conn, tenant, UUID(shown["payment_id"]))
    now = datetime.now(UTC)
    assert is_open_code(payment, None, now)
    assert is_open_code(payment, Provider.ASAAS, now)
    assert not is_open_code(payment, Provider.STRIPE, now)
    for change in (
        {"status": PaymentStatus.PAID},
        {"status": PaymentStatus.CANCELLED},
        {"method": Method.BOLETO},
        {"review_reason": "x"},
        {"pix_expires_at": now + timedelta(seconds=30)},
    ):
        assert not is_open_code(msgspec.structs.replace(payment, **change), None, now), change
