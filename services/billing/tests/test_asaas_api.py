"""Asaas: its webhooks and objects read, and what is asked of it over a real socket, lost answers included."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.asaas_api import read_asaas_event, verify_asaas
from billing.asaas_api.states import cents, payment_state, reais, subscription_state
from billing.domain.providers import Interval, Method, Notice, PaymentStatus, SignatureRefused
from contracts.errors import BadGateway, Malformed

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
