"""Asaas: its webhooks and objects read, and what is asked of it over a real socket, lost answers included."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from billing.asaas_api import AsaasApi, read_asaas_event, verify_asaas
from billing.asaas_api.states import cents, payment_state, reais, subscription_state
from billing.domain.br_code import parse_br_code
from billing.domain.providers import (
    ChargeRequest,
    CheckoutRequest,
    Interval,
    Method,
    NotAtProvider,
    Notice,
    Payer,
    PaymentStatus,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnknown,
    SignatureRefused,
)
from contracts.errors import BadGateway, Malformed
from testkit.fake_asaas import FakeAsaas
from testkit.fake_http import Answer, Fault, Request

TOKEN = "whk_0123456789abcdef0123456789abcdef"

#: The example of Asaas' guide, as an SDK's fixture repeats it.
RECEIVED: dict[str, Any] = {
    "id": "evt_05b708f961d739ea7eba7e4db318f621&368604920",
    "event": "PAYMENT_RECEIVED",
    "dateCreated": "2024-06-12 16:45:03",
    "payment": {
        "object": "payment",
        "id": "pay_080225913252",
        "dateCreated": "2021-01-01",
        "customer": "cus_G7Dvo4iphUNk",
        "subscription": "sub_VXJBYgP2u0eO",
        "dueDate": "2021-01-01",
        "originalDueDate": "2021-01-01",
        "value": 100,
        "netValue": 94.51,
        "originalValue": None,
        "description": "Pedido 056984",
        "externalReference": "056984",
        "billingType": "CREDIT_CARD",
        "status": "RECEIVED",
        "pixTransaction": None,
        "confirmedDate": "2021-01-01",
        "paymentDate": "2021-01-01",
        "clientPaymentDate": "2021-01-01",
        "invoiceUrl": "https://www.asaas.com/i/080225913252",
        "bankSlipUrl": None,
        "deleted": False,
        "refunds": None,
    },
}


# --- who may send


def test_any_of_our_tokens_passes() -> None:
    verify_asaas(TOKEN, [TOKEN])
    verify_asaas(TOKEN, ["", "the-old-one", TOKEN])


@pytest.mark.parametrize("header", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "tökén", "\udc80"])
def test_any_other_token_is_refused_and_not_repeated(header: str | None) -> None:
    with pytest.raises(SignatureRefused) as refused:
        verify_asaas(header, [TOKEN, "another"])
    assert TOKEN not in str(refused.value)
    assert header is None or header in ("", "wrong") or header not in str(refused.value)


@pytest.mark.parametrize("tokens", [[], [""], ["", ""]])
@pytest.mark.parametrize("header", ["", None, "anything"])
def test_without_a_token_everything_is_refused(header: str | None, tokens: list[str]) -> None:
    # The earlier site compared with '' when nothing was set, and let an empty header in.
    with pytest.raises(SignatureRefused):
        verify_asaas(header, tokens)


# --- what it says


def raw(**changes: object) -> bytes:
    return json.dumps({**RECEIVED, **changes}).encode()


def test_a_payment_event_names_its_payment() -> None:
    assert read_asaas_event(raw()) == Notice(
        event_id="evt_05b708f961d739ea7eba7e4db318f621&368604920",
        type="PAYMENT_RECEIVED",
        kind="payment",
        object_external_id="pay_080225913252",
        reference="056984",
        occurred_at=datetime(2024, 6, 12, 19, 45, 3, tzinfo=UTC),
    )


@pytest.mark.parametrize("reference", [None, "", 5, "a\x00b", "r" * 256])
def test_a_reference_that_we_cannot_have_given_is_none(reference: object) -> None:
    assert read_asaas_event(raw(payment={"id": "pay_1", "externalReference": reference})).reference is None


def test_a_subscription_event_names_its_subscription() -> None:
    body = {"id": "evt_1", "event": "SUBSCRIPTION_DELETED", "subscription": {"id": "sub_1", "externalReference": "o"}}
    notice = read_asaas_event(json.dumps(body).encode())
    assert (notice.kind, notice.object_external_id, notice.reference) == ("subscription", "sub_1", "o")
    assert notice.occurred_at is None


@pytest.mark.parametrize("event", ["TRANSFER_DONE", "SOMETHING_NEW", "ACCOUNT_STATUS_UPDATED", "SUBSCRIPTION_NEW"])
def test_an_unknown_event_is_taken_as_it_is(event: str) -> None:
    # Refusing one would stop Asaas' queue, and every event behind it.
    notice = read_asaas_event(json.dumps({"id": "evt_9", "event": event}).encode())
    assert (notice.type, notice.kind, notice.object_external_id) == (event, "other", None)


def test_a_body_without_an_id_is_named_by_its_hash() -> None:
    body = {name: value for name, value in RECEIVED.items() if name != "id"}
    first, again = (read_asaas_event(json.dumps(body).encode()) for _ in range(2))
    other = read_asaas_event(json.dumps({**body, "event": "PAYMENT_CONFIRMED"}).encode())
    assert first.event_id == again.event_id != other.event_id
    assert first.event_id.startswith("sha256:")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"PAYMENT_RECEIVED"',
        b"{}",
        raw(event=None),
        raw(event=5),
        raw(event="payment received"),
        raw(event="P" * 101),
        raw(id=7),
        raw(id=""),
        raw(id="evt 1"),
        raw(id="e" * 201),
        raw(payment=None),
        raw(payment=[]),
        raw(payment={}),
        raw(payment={"id": 5}),
        raw(payment={"id": "../customers"}),
        raw(payment={"id": "pay_1?x=1"}),
        raw(payment={"id": "p" * 65}),
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_asaas_event(body)


@given(st.binary(max_size=300))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_asaas_event(body)


# --- objects in our words


def payment(**changes: object) -> dict[str, Any]:
    return {**RECEIVED["payment"], **changes}


def test_a_payment_in_our_words() -> None:
    state = payment_state(payment(value=247.1))
    assert (state.external_id, state.status, state.amount_cents, state.currency) == (
        "pay_080225913252",
        PaymentStatus.PAID,
        24710,
        "BRL",
    )
    assert (state.method, state.reference) == (Method.CARD, "056984")
    assert state.paid_at == datetime(2021, 1, 1, 3, tzinfo=UTC)  # the day's first instant in São Paulo
    assert state.due_on == date(2021, 1, 1)
    assert (state.customer_external_id, state.subscription_external_id) == ("cus_G7Dvo4iphUNk", "sub_VXJBYgP2u0eO")
    assert state.url == "https://www.asaas.com/i/080225913252"
    assert state.raw["netValue"] == 94.51


@pytest.mark.parametrize(
    ("asaas", "ours"),
    [
        ("PENDING", PaymentStatus.PENDING),
        ("AUTHORIZED", PaymentStatus.PENDING),
        ("AWAITING_RISK_ANALYSIS", PaymentStatus.PENDING),
        ("OVERDUE", PaymentStatus.FAILED),
        ("DUNNING_REQUESTED", PaymentStatus.FAILED),
        ("CONFIRMED", PaymentStatus.PAID),
        ("RECEIVED", PaymentStatus.PAID),
        ("RECEIVED_IN_CASH", PaymentStatus.PAID),
        ("DUNNING_RECEIVED", PaymentStatus.PAID),
        ("REFUND_REQUESTED", PaymentStatus.PAID),
        ("REFUND_IN_PROGRESS", PaymentStatus.PAID),
        ("REFUNDED", PaymentStatus.REFUNDED),
        ("CHARGEBACK_REQUESTED", PaymentStatus.DISPUTED),
        ("CHARGEBACK_DISPUTE", PaymentStatus.DISPUTED),
        ("AWAITING_CHARGEBACK_REVERSAL", PaymentStatus.DISPUTED),
        ("SOMETHING_NEW", PaymentStatus.PENDING),
    ],
)
def test_every_status_has_ours(asaas: str, ours: PaymentStatus) -> None:
    state = payment_state(payment(status=asaas))
    assert state.status is ours
    assert (state.paid_at is None) is (ours in (PaymentStatus.PENDING, PaymentStatus.FAILED))
    assert state.refunded_cents == (10000 if ours is PaymentStatus.REFUNDED else 0)
    assert state.failure_reason == ("overdue" if ours is PaymentStatus.FAILED else None)


def test_a_withdrawn_payment_is_cancelled_unless_it_was_paid() -> None:
    assert payment_state(payment(status="PENDING", deleted=True)).status is PaymentStatus.CANCELLED
    assert payment_state(payment(status="OVERDUE", deleted=True)).status is PaymentStatus.CANCELLED
    assert payment_state(payment(status="RECEIVED", deleted=True)).status is PaymentStatus.PAID


def test_only_finished_refunds_count() -> None:
    refunds = [
        {"value": 30.5, "status": "DONE"},
        {"value": 20, "status": "PENDING"},
        {"value": 10, "status": "CANCELLED"},
    ]
    state = payment_state(payment(refunds=refunds))
    assert (state.status, state.refunded_cents) == (PaymentStatus.PARTIALLY_REFUNDED, 3050)
    state = payment_state(payment(refunds=[*refunds, {"value": 69.5, "status": "DONE"}]))
    assert (state.status, state.refunded_cents) == (PaymentStatus.REFUNDED, 10000)


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("REQUESTED", PaymentStatus.DISPUTED),
        ("IN_DISPUTE", PaymentStatus.DISPUTED),
        ("DISPUTE_LOST", PaymentStatus.CHARGED_BACK),
        ("DONE", PaymentStatus.CHARGED_BACK),
    ],
)
def test_a_lost_dispute_is_a_chargeback(status: str, ours: PaymentStatus) -> None:
    assert payment_state(payment(status="CHARGEBACK_DISPUTE", chargeback={"status": status})).status is ours


def test_a_dispute_that_was_won_leaves_the_payment_paid() -> None:
    assert payment_state(payment(status="RECEIVED", chargeback={"status": "REVERSED"})).status is PaymentStatus.PAID


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": None},
        {"value": "x"},
        {"value": 1.005},
        {"value": 1e300},
        {"id": 5},
        {"status": None},
        {"refunds": {}},
        {"refunds": [{"value": None}]},
    ],
)
def test_an_object_that_cannot_be_read_is_their_fault(wrong: dict[str, object]) -> None:
    with pytest.raises(BadGateway):
        payment_state(payment(**wrong))


@given(st.integers(0, 10**13))
def test_centavos_survive_the_way_through_reais(amount_cents: int) -> None:
    sent = reais(amount_cents)
    # json reads numbers as floats, as the answer's reader does: no centavo is lost on that way either.
    came_back = json.loads(bytes(sent))
    assert bytes(sent).decode().split(".")[1].isdigit()
    assert cents(Decimal(str(came_back))) == amount_cents
    assert payment_state(payment(value=came_back)).amount_cents == amount_cents


def test_an_amount_is_never_negative_in_a_request() -> None:
    with pytest.raises(ValueError, match="negative"):
        reais(-1)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "active"),
        ({"status": "INACTIVE"}, "cancelled"),
        ({"status": "EXPIRED"}, "cancelled"),
        ({"deleted": True}, "cancelled"),
    ],
)
def test_a_subscription_in_our_words(changes: dict[str, object], status: str) -> None:
    state = subscription_state(
        {
            "object": "subscription",
            "id": "sub_1",
            "customer": "cus_1",
            "value": 2997,
            "cycle": "YEARLY",
            "nextDueDate": "2027-01-01",
            "status": "ACTIVE",
            "externalReference": "order",
            **changes,
        }
    )
    assert (state.status, state.amount_cents, state.interval) == (status, 299700, Interval.YEAR)
    assert (state.customer_external_id, state.reference, state.current_period_end) == ("cus_1", "order", None)


# --- what is asked of it, over a socket

NOW = datetime(2026, 3, 10, 15, tzinfo=UTC)
PAYER = Payer(email="ana@example.com", name="Ana Souza", tax_id="52998224725", phone="11987654321")


@pytest_asyncio.fixture
async def asaas() -> AsyncIterator[FakeAsaas]:
    async with FakeAsaas(now=lambda: NOW, hang_s=0.5) as fake:
        yield fake


@pytest_asyncio.fixture
async def api(asaas: FakeAsaas) -> AsyncIterator[AsaasApi]:
    async with AsaasApi(asaas.api_key, base_url=asaas.url, now=lambda: NOW) as api:
        yield api


def checkout_request(**changes: object) -> CheckoutRequest:
    return msgspec.structs.replace(
        CheckoutRequest(
            reference=uuid4(),
            plan_slug="essencial",
            title="Plano Essencial",
            description="Mensal",
            amount_cents=24700,
            currency="BRL",
            interval=Interval.MONTH,
            trial_days=0,
            payer=PAYER,
            success_url="https://example.com/success",
            cancel_url="https://example.com/cancel",
        ),
        **changes,
    )


def charge_request(**changes: object) -> ChargeRequest:
    return msgspec.structs.replace(
        ChargeRequest(
            reference=uuid4(),
            amount_cents=24710,
            currency="BRL",
            method=Method.PIX,
            payer=PAYER,
            description="Fatura 1",
            due_on=NOW.date(),
        ),
        **changes,
    )


def count(asaas: FakeAsaas, kind: str) -> int:
    return sum(asaas.effects.get(kind, {}).values())


async def test_a_checkout_is_a_subscription_whose_first_payment_has_the_page(asaas: FakeAsaas, api: AsaasApi) -> None:
    request = checkout_request()
    checkout = await api.create_checkout(request, key="k")
    assert checkout.external_id == checkout.subscription_external_id
    [payment] = asaas.payments_of(str(request.reference))
    # The earlier site read an invoiceUrl of the subscription, which has none, and was due in 30 days.
    assert checkout.url == payment["invoiceUrl"]
    assert (payment["value"], payment["dueDate"], payment["billingType"]) == (247.0, "2026-03-10", "CREDIT_CARD")
    assert payment["customer"] == checkout.customer_external_id
    state = await api.get_subscription(checkout.external_id)
    assert (state.status, state.interval, state.amount_cents) == ("active", Interval.MONTH, 24700)
    assert state.reference == str(request.reference)
    sent = [one for one in asaas.server.requests if one.path == "/v3/subscriptions" and one.method == "POST"]
    assert b'"value":247.00' in sent[0].body  # a number, and exact


async def test_a_trial_puts_the_first_payment_off_and_a_year_is_a_year(asaas: FakeAsaas, api: AsaasApi) -> None:
    request = checkout_request(interval=Interval.YEAR, trial_days=14, methods=(Method.PIX, Method.CARD))
    checkout = await api.create_checkout(request, key="k")
    [payment] = asaas.payments_of(str(request.reference))
    assert (payment["dueDate"], payment["billingType"]) == ("2026-03-24", "UNDEFINED")
    assert (await api.get_subscription(checkout.external_id)).interval is Interval.YEAR


async def test_a_checkout_without_an_interval_is_one_payment(asaas: FakeAsaas, api: AsaasApi) -> None:
    request = checkout_request(interval=None, methods=(Method.BOLETO,))
    checkout = await api.create_checkout(request, key="k")
    assert checkout.subscription_external_id is None
    state = await api.get_payment(checkout.external_id)
    assert (state.reference, state.method, state.url) == (str(request.reference), Method.BOLETO, checkout.url)
    assert await api.create_checkout(request, key="k") == checkout
    assert count(asaas, "payment") == 1
    assert await api.find_subscription(str(request.reference)) is None


async def test_a_charge_brings_its_pix_code(asaas: FakeAsaas, api: AsaasApi) -> None:
    request = charge_request(discount={"value": 10, "dueDateLimitDays": 0, "type": "PERCENTAGE"}, fine={"value": 1})
    charge = await api.create_charge(request, key="k")
    assert charge.status is PaymentStatus.PENDING
    assert charge.pix is not None
    code = parse_br_code(charge.pix.copy_paste)
    assert (code.amount_cents, code.txid, charge.pix.txid) == (24710, "***", "***")
    assert charge.pix.expires_at == datetime(2027, 3, 11, 2, 59, 59, tzinfo=UTC)
    assert charge.raw["object"] == "payment"
    assert charge.raw["discount"] == {"value": 10, "dueDateLimitDays": 0, "type": "PERCENTAGE"}
    pix = await api.get_pix(charge.external_id)
    assert (pix.code, pix.raw["encodedImage"]) == (charge.pix, pix.encoded_image)
    boleto = await api.create_charge(charge_request(method=Method.BOLETO), key="k")
    assert (boleto.pix, boleto.url) == (None, boleto.raw["invoiceUrl"])


async def test_a_code_that_no_bank_would_take_is_not_shown(
    asaas: FakeAsaas, api: AsaasApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testkit.fake_asaas.routes.br_code", lambda *_: "00020101021226")
    with pytest.raises(BadGateway, match="no bank"):
        await api.create_charge(charge_request(), key="k")


async def test_a_payment_follows_what_happens_to_it(asaas: FakeAsaas, api: AsaasApi) -> None:
    request = charge_request()
    charge = await api.create_charge(request, key="k")
    asaas.overdue(charge.external_id)
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.FAILED
    asaas.pay(charge.external_id)
    paid = await api.find_payment(str(request.reference))
    assert paid is not None
    assert (paid.status, paid.amount_cents, paid.paid_at) == (
        PaymentStatus.PAID,
        24710,
        datetime(2026, 3, 10, 3, tzinfo=UTC),
    )
    asaas.chargeback(charge.external_id)
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.DISPUTED
    asaas.end_dispute(charge.external_id, won=True)
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.PAID


async def test_what_is_not_there_is_told_apart(asaas: FakeAsaas, api: AsaasApi) -> None:
    assert await api.find_payment("nobody's") is None
    for external_id in ("pay_none", "../customers", "", "pay_1?x=1", "p" * 65):
        with pytest.raises(NotAtProvider):
            await api.get_payment(external_id)
        with pytest.raises(NotAtProvider):
            await api.get_subscription(external_id)
    assert {request.path for request in asaas.server.requests} == {
        "/v3/payments",
        "/v3/payments/pay_none",
        "/v3/subscriptions/pay_none",
    }


async def test_refusals_are_in_asaas_words_and_a_wrong_key_is_the_operators(asaas: FakeAsaas, api: AsaasApi) -> None:
    with pytest.raises(ProviderRefused, match=r"R\$ 5,00"):
        await api.create_charge(charge_request(amount_cents=499), key="k")
    with pytest.raises(ProviderRefused, match="CPF"):
        await api.create_charge(charge_request(payer=Payer(email="new@example.com")), key="k")
    async with AsaasApi("wrong", base_url=asaas.url) as stranger:
        with pytest.raises(ProviderMisconfigured, match="chave de API") as refused:
            await stranger.balance()
    assert "wrong" not in refused.value.detail


# --- one person is one customer


async def test_a_person_is_found_by_each_of_their_marks(asaas: FakeAsaas, api: AsaasApi) -> None:
    first = await api.ensure_customer(PAYER, reference="a")
    for payer, reference in (
        (PAYER, "a"),
        (PAYER, "b"),  # by tax id
        (Payer(email="ana@example.com"), "c"),  # by mail address
        (Payer(email="other@example.com", external_id=first), "d"),
        (Payer(email="other@example.com", external_id="cus_gone", tax_id="52998224725"), "e"),
    ):
        assert await api.ensure_customer(payer, reference=reference) == first
    assert count(asaas, "customer") == 1
    # People share an address, not a tax id.
    other = await api.ensure_customer(Payer(email="ana@example.com", tax_id="12345678909"), reference="f")
    assert other != first


async def test_a_removed_customer_is_not_used(asaas: FakeAsaas, api: AsaasApi) -> None:
    first = await api.ensure_customer(PAYER, reference="a")
    asaas.world.customers[first]["deleted"] = True
    second = await api.ensure_customer(msgspec.structs.replace(PAYER, external_id=first), reference="a")
    assert second != first
    assert [one["id"] for one in await api.find_customers("a")] == [second]


async def test_a_tax_id_that_comes_later_is_added(asaas: FakeAsaas, api: AsaasApi) -> None:
    without = await api.ensure_customer(Payer(email="ana@example.com"), reference="a")
    assert asaas.world.customers[without]["name"] == "ana"
    assert await api.ensure_customer(PAYER, reference="b") == without
    assert asaas.world.customers[without]["cpfCnpj"] == "52998224725"


async def test_a_filter_that_asaas_ignores_gives_us_no_stranger(
    asaas: FakeAsaas, api: AsaasApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.create_charge(charge_request(), key="k")
    monkeypatch.setattr("testkit.fake_asaas.routes._EXACT", ())
    assert await api.find_payment("nobody's") is None
    stranger = Payer(email="eva@example.com", name="Eva", tax_id="12345678909")
    assert asaas.world.customers[await api.ensure_customer(stranger, reference="z")]["name"] == "Eva"
    assert count(asaas, "customer") == 2


async def test_a_lead_is_registered_once_in_asaas_words(asaas: FakeAsaas, api: AsaasApi) -> None:
    fields = {"name": "Lead", "email": "l@example.com", "cpfCnpj": "123.456.789-09", "gateway": "asaas", "phone": None}
    made = await api.register_customer(fields, reference="lead-1")
    assert made == await api.register_customer(fields, reference="lead-1")
    assert made["cpfCnpj"] == "12345678909"
    assert "gateway" not in made
    assert [one["id"] for one in await api.find_customers("lead-1")] == [made["id"]]
    assert await api.find_customers("lead-2") == []


# --- lost answers

LOST = [Fault.DROP_REPLY, Fault.FAIL_500_AFTER, Fault.HANG, Fault.GARBAGE]


def lose(asaas: FakeAsaas, fault: Fault, path: str) -> None:
    asaas.server.faults = [fault]
    asaas.server.faulty = lambda request: request.method == "POST" and request.path == path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.provider_http.READ_S", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", ["/v3/customers", "/v3/subscriptions"])
@pytest.mark.parametrize("fault", LOST)
async def test_a_checkout_whose_answer_was_lost_is_found_again(asaas: FakeAsaas, fault: Fault, path: str) -> None:
    request = checkout_request()
    lose(asaas, fault, path)
    async with AsaasApi(asaas.api_key, base_url=asaas.url, now=lambda: NOW) as api:
        with pytest.raises(ProviderUnknown):
            await api.create_checkout(request, key="k")
        checkout = await api.create_checkout(request, key="k")
        assert await api.create_checkout(request, key="k") == checkout
    assert {kind: count(asaas, kind) for kind in ("customer", "subscription", "payment")} == {
        "customer": 1,
        "subscription": 1,
        "payment": 1,
    }


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", ["/v3/customers", "/v3/payments"])
@pytest.mark.parametrize("fault", LOST)
async def test_a_charge_whose_answer_was_lost_is_found_again(asaas: FakeAsaas, fault: Fault, path: str) -> None:
    request = charge_request()
    lose(asaas, fault, path)
    async with AsaasApi(asaas.api_key, base_url=asaas.url, now=lambda: NOW) as api:
        with pytest.raises(ProviderUnknown):
            await api.create_charge(request, key="k")
        charge = await api.create_charge(request, key="k")
        assert charge.pix is not None
    assert (count(asaas, "customer"), count(asaas, "payment")) == (1, 1)
    assert charge.raw["externalReference"] == str(request.reference)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("amount_cents", [None, 4710])
@pytest.mark.parametrize("fault", LOST)
async def test_a_refund_whose_answer_was_lost_is_given_once(
    asaas: FakeAsaas, fault: Fault, amount_cents: int | None
) -> None:
    async with AsaasApi(asaas.api_key, base_url=asaas.url, now=lambda: NOW) as api:
        charge = await api.create_charge(charge_request(), key="k")
        asaas.pay(charge.external_id)
        lose(asaas, fault, f"/v3/payments/{charge.external_id}/refund")
        with pytest.raises(ProviderUnknown):
            await api.refund(charge.external_id, amount_cents, "Desistência", key="refund-1")
        refund = await api.refund(charge.external_id, amount_cents, "Desistência", key="refund-1")
        assert (refund.status, refund.amount_cents) == ("done", amount_cents or 24710)
        assert (await api.get_payment(charge.external_id)).refunded_cents == (amount_cents or 24710)
    assert asaas.effects["refund"] == {"Desistência (refund-1)": 1}


async def test_what_never_arrived_says_so(asaas: FakeAsaas, api: AsaasApi) -> None:
    asaas.server.faults = [Fault.REFUSE_429]
    with pytest.raises(ProviderUnavailable) as refused:
        await api.create_charge(charge_request(), key="k")
    assert refused.value.retry_after_s == 1
    async with AsaasApi("k", base_url="http://127.0.0.1:9") as nobody:
        with pytest.raises(ProviderUnavailable):
            await nobody.create_charge(charge_request(), key="k")
    assert count(asaas, "payment") == 0


async def test_a_subscription_without_a_payment_yet_is_asked_again(asaas: FakeAsaas, api: AsaasApi) -> None:
    request = checkout_request()
    checkout = await api.create_checkout(request, key="k")
    hidden = dict(asaas.world.payments)
    asaas.world.payments.clear()
    with pytest.raises(ProviderUnknown):
        await api.create_checkout(request, key="k")
    asaas.world.payments.update(hidden)
    assert await api.create_checkout(request, key="k") == checkout


# --- refunds, withdrawals, changes


async def test_refunds_are_told_apart_by_their_key(asaas: FakeAsaas, api: AsaasApi) -> None:
    charge = await api.create_charge(charge_request(), key="k")
    with pytest.raises(ProviderRefused, match="estornar"):
        await api.refund(charge.external_id, None, "x", key="r0")
    asaas.pay(charge.external_id)
    first = await api.refund(charge.external_id, 100, "x", key="r1")
    second = await api.refund(charge.external_id, 100, "x", key="r2")
    assert first.external_id != second.external_id
    assert (await api.get_payment(charge.external_id)).refunded_cents == 200
    with pytest.raises(ProviderRefused, match="ultrapassar"):
        await api.refund(charge.external_id, 24710, "x", key="r3")
    asaas.world.refunds_wait = True
    waiting = await api.refund(charge.external_id, None, "x", key="r4")
    assert (waiting.status, waiting.amount_cents) == ("pending", 24510)
    assert (await api.refund(charge.external_id, None, "x", key="r4")).status == "pending"
    asaas.finish_refunds(charge.external_id)
    assert (await api.refund(charge.external_id, None, "x", key="r4")).status == "done"
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.REFUNDED


async def test_a_payment_is_withdrawn_once_and_a_paid_one_not(asaas: FakeAsaas, api: AsaasApi) -> None:
    request = charge_request()
    charge = await api.create_charge(request, key="k")
    await api.cancel_payment(charge.external_id)
    await api.cancel_payment(charge.external_id)
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.CANCELLED
    assert await api.find_payment(str(request.reference)) is None
    paid = await api.create_charge(charge_request(), key="k")
    asaas.pay(paid.external_id)
    with pytest.raises(ProviderRefused):
        await api.cancel_payment(paid.external_id)
    with pytest.raises(NotAtProvider):
        await api.cancel_payment("pay_none")


async def test_a_subscription_is_changed_renewed_and_ended(asaas: FakeAsaas, api: AsaasApi) -> None:
    checkout = await api.create_checkout(checkout_request(), key="k")
    subscription_id = checkout.external_id
    asaas.pay((await api.list_subscription_payments(subscription_id))[0].external_id)
    second = asaas.renew(subscription_id)
    assert (await api.update_subscription_value(subscription_id, 58000, update_pending=False)).amount_cents == 58000
    assert (await api.get_payment(second)).amount_cents == 24700
    await api.update_subscription_value(subscription_id, 59000, update_pending=True)
    assert [one.amount_cents for one in await api.list_subscription_payments(subscription_id)] == [24700, 59000]
    await api.cancel_subscription(subscription_id)
    await api.cancel_subscription(subscription_id)
    assert (await api.get_subscription(subscription_id)).status == "cancelled"
    # What was paid stays, what was due is withdrawn.
    assert [one.status for one in await api.list_subscription_payments(subscription_id)] == [PaymentStatus.PAID]
    with pytest.raises(NotAtProvider):
        await api.cancel_subscription("sub_none")


async def test_listings_are_read_to_their_end(asaas: FakeAsaas, api: AsaasApi) -> None:
    customer_id = await api.ensure_customer(PAYER, reference="a")
    for number in range(230):
        fields = {"customer": customer_id, "billingType": "PIX", "value": 500, "dueDate": "2026-03-10"}
        asaas.world.add_payment(fields | {"description": None, "externalReference": str(number)})
    old, *_, new = asaas.world.payments.values()
    old |= {"dateCreated": "2026-01-01", "paymentDate": "2026-03-08", "status": "RECEIVED"}
    new |= {"dateCreated": "2026-01-01"}
    found = await api.list_payments_since(datetime(2026, 3, 8, 2, tzinfo=UTC))  # still the 7th in São Paulo
    assert len(found) == 229  # made since, or paid since: all but the newest
    assert len({one.external_id for one in found}) == 229
    page = await api.list_payments({"status": "RECEIVED"}, offset=0, limit=5)
    assert [one.external_id for one in page.payments] == [old["id"]]
    assert (page.has_more, page.raw["totalCount"]) == (False, 1)
    assert (await api.list_payments(limit=5)).has_more


async def test_a_reconciliation_sees_what_a_lost_webhook_would_have_told(asaas: FakeAsaas, api: AsaasApi) -> None:
    async def old_payment(method: Method = Method.CARD) -> str:
        made = await api.create_charge(charge_request(method=method), key="k")
        asaas.world.payments[made.external_id]["dateCreated"] = "2026-01-15"
        return made.external_id

    confirmed, long_confirmed, disputed, late, long_late, untouched = [await old_payment() for _ in range(6)]
    received = await old_payment(Method.PIX)
    for external_id in (confirmed, long_confirmed, disputed, received):
        asaas.pay(external_id)
    asaas.world.payments[long_confirmed] |= {"clientPaymentDate": "2026-02-20", "confirmedDate": "2026-02-20"}
    asaas.chargeback(disputed)
    for external_id, due in ((late, "2026-03-07"), (long_late, "2026-02-07")):
        asaas.world.payments[external_id]["dueDate"] = due
        asaas.overdue(external_id)
    found = {one.external_id: one.status for one in await api.list_payments_since(datetime(2026, 3, 8, 12, tzinfo=UTC))}
    assert found == {
        confirmed: PaymentStatus.PAID,
        received: PaymentStatus.PAID,
        disputed: PaymentStatus.DISPUTED,
        late: PaymentStatus.FAILED,
    }
    assert untouched not in found


async def test_a_paused_queue_is_noticed_and_let_go_on(asaas: FakeAsaas, api: AsaasApi) -> None:
    webhook_id = asaas.add_webhook("http://127.0.0.1:9/hook", TOKEN)
    [queue] = await api.webhook_queue_state()
    assert (queue.external_id, queue.url, queue.enabled, queue.interrupted) == (
        webhook_id,
        "http://127.0.0.1:9/hook",
        True,
        False,
    )
    asaas.hold()
    await api.create_charge(charge_request(), key="k")
    await api.create_charge(charge_request(), key="k")
    asaas.release()
    await asaas.settle(30)
    assert [one.interrupted for one in await api.webhook_queue_state()] == [True]
    asaas.hold()
    await api.resume_webhook_queue(webhook_id)
    assert [one.interrupted for one in await api.webhook_queue_state()] == [False]


async def test_the_balance_shows_that_the_key_works(asaas: FakeAsaas, api: AsaasApi) -> None:
    assert await api.balance() == {"balance": 0}


async def test_an_answer_of_another_shape_is_their_fault(asaas: FakeAsaas, api: AsaasApi) -> None:
    async def nonsense(_: Request) -> Answer:
        return Answer(200, ["nothing", "of", "ours"])

    asaas.server._respond = nonsense
    for asked in (api.balance(), api.find_payment("r"), api.get_payment("pay_1"), api.webhook_queue_state()):
        with pytest.raises(BadGateway):
            await asked


async def test_a_listing_that_never_ends_is_left(asaas: FakeAsaas, api: AsaasApi) -> None:
    async def endless(_: Request) -> Answer:
        return Answer(200, {"data": [], "hasMore": True})

    asaas.server._respond = endless
    with pytest.raises(BadGateway, match="end"):
        await api.find_payment("r")


@pytest.mark.parametrize(
    ("changes", "due_on"),
    [({"dueDate": None}, None), ({"dueDate": "soon"}, None), ({"dueDate": "2026-03-10 10:00:00"}, date(2026, 3, 10))],
)
def test_a_day_that_cannot_be_read_is_none(changes: dict[str, object], due_on: date | None) -> None:
    state = payment_state(payment(clientPaymentDate="soon", **changes))
    assert (state.due_on, state.paid_at) == (due_on, None)


async def test_answers_that_leave_things_out(asaas: FakeAsaas, api: AsaasApi) -> None:
    checkout = await api.create_checkout(checkout_request(), key="k")
    charge = await api.create_charge(charge_request(), key="k")
    asaas.pay(charge.external_id)
    usual = asaas.server._respond

    async def sparing(request: Request) -> Answer:
        if request.method == "DELETE":
            return Answer(400, {"errors": []})
        answer = await usual(request)
        if isinstance(answer.body, dict):
            answer.body.pop("refunds", None)
            for one in answer.body.get("data", ()):
                one.pop("invoiceUrl", None)
        return answer

    asaas.server._respond = sparing
    with pytest.raises(ProviderRefused, match="it answered 400"):
        await api.cancel_subscription(checkout.external_id)
    with pytest.raises(BadGateway, match="without a page"):
        await api.create_checkout(checkout_request(), key="k")
    part = await api.refund(charge.external_id, 100, "x", key="r")
    assert (part.status, part.amount_cents) == ("pending", 100)
    rest = await api.refund(charge.external_id, None, "x", key="s")
    assert (rest.status, rest.amount_cents) == ("done", 24710)
