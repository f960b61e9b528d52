"""PagBank: its webhooks and objects read, and what is asked of it over a real socket, lost answers included."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.providers import Method, Notice, PaymentStatus, SignatureRefused
from billing.pagbank_api import read_pagbank_event, verify_pagbank
from billing.pagbank_api.states import Charge, charge_state, order_state, read
from contracts.errors import BadGateway, Malformed

TOKEN = "pagbank-account-token"
ORDER_ID = "ORDE_4FF45085-9A30-408A-86A0-EC68DDC479FD"
CHARGE_ID = "CHAR_5B76EC93-D579-4435-8184-4C8AC88B4E55"


def charge(**changes: object) -> dict[str, Any]:
    """A charge as PagBank answers one (its documentation's card example)."""
    return {
        "id": CHARGE_ID,
        "reference_id": "0198-order",
        "status": "PAID",
        "created_at": "2023-05-10T17:26:44.544-03:00",
        "paid_at": "2023-05-10T17:26:46.000-03:00",
        "description": "Plano",
        "amount": {"value": 24700, "currency": "BRL", "summary": {"total": 24700, "paid": 24700, "refunded": 0}},
        "payment_response": {"code": "20000", "message": "SUCESSO", "reference": "051012678407"},
        "payment_method": {"type": "CREDIT_CARD", "installments": 1, "capture": True},
        "links": [{"rel": "SELF", "href": "https://api.pagseguro.com/charges/x", "media": "application/json"}],
        **changes,
    }


def order(*charges: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {
        "id": ORDER_ID,
        "reference_id": "0198-order",
        "created_at": "2023-05-10T16:15:49.522-03:00",
        "customer": {"name": "Jose da Silva", "email": "jose@example.com", "tax_id": "12345678909"},
        "items": [{"name": "Plano", "quantity": 1, "unit_amount": 24700}],
        "charges": list(charges),
        "notification_urls": ["https://example.com/hook"],
        "links": [],
        **changes,
    }


def summary(refunded: int, paid: int = 24700) -> dict[str, Any]:
    return {
        "value": 24700,
        "currency": "BRL",
        "summary": {"total": 24700, "paid": paid, "refunded": refunded},
    }


# --- who may send

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
BODY = json.dumps(order(charge())).encode()


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(body: bytes = BODY, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    return base64.b64encode(key.sign(body, ec.ECDSA(SHA256()))).decode()


def authentic(body: bytes = BODY, token: str = TOKEN) -> str:
    return hashlib.sha256(f"{token}-".encode() + body).hexdigest()


def verify(
    body: bytes = BODY,
    authenticity: str | None = None,
    signatures: Sequence[str] = (),
    *,
    token: str = TOKEN,
    keys: Sequence[bytes] = (),
    unsigned_allowed: bool = False,
) -> None:
    verify_pagbank(
        body, authenticity, signatures, token=token, public_keys=keys, sandbox_unsigned_allowed=unsigned_allowed
    )


def test_the_token_scheme_passes() -> None:
    verify(authenticity=authentic())
    verify(authenticity=f" {authentic().upper()} ")


def test_the_signature_scheme_passes_with_any_value_and_any_key() -> None:
    verify(signatures=[signed()], keys=[der(KEY)])
    verify(signatures=[signed()], keys=[pem(KEY)])
    verify(signatures=[signed(key=OTHER_KEY), signed()], keys=[der(KEY)])
    verify(signatures=[f"{signed(key=OTHER_KEY)}, {signed()}"], keys=[b"no key", der(KEY)])
    verify(authenticity="0" * 64, signatures=[signed()], keys=[der(KEY)])  # one scheme that holds is enough


@pytest.mark.parametrize("unsigned_allowed", [False, True])
@pytest.mark.parametrize(
    ("authenticity", "signatures", "keys", "token"),
    [
        (authentic(b"other"), [], [], TOKEN),
        (authentic(token="another"), [], [], TOKEN),
        (authentic(token=""), [], [], ""),  # without a token anybody can compute the hash
        ("é" * 64, [], [], TOKEN),
        (None, [signed(b"other")], [der(KEY)], TOKEN),
        (None, [signed()], [], TOKEN),
        (None, [signed()], [der(OTHER_KEY)], TOKEN),
        (None, ["no base64!", "AAAA", ""], [der(KEY)], TOKEN),
        (None, [signed(key=OTHER_KEY)] * 8 + [signed()], [der(KEY)], TOKEN),  # nobody rolls nine keys
        (authentic(b"other"), [signed(b"other")], [der(KEY)], TOKEN),
    ],
)
def test_what_does_not_verify_is_refused_in_the_sandbox_too(
    authenticity: str | None, signatures: list[str], keys: list[bytes], token: str, unsigned_allowed: bool
) -> None:
    with pytest.raises(SignatureRefused) as refused:
        verify(
            authenticity=authenticity, signatures=signatures, keys=keys, token=token, unsigned_allowed=unsigned_allowed
        )
    assert TOKEN not in str(refused.value)
    assert authentic() not in str(refused.value)


def test_only_the_switch_lets_an_unsigned_delivery_in() -> None:
    for authenticity, signatures in ((None, []), ("", []), (None, ["", " , "])):
        with pytest.raises(SignatureRefused):
            verify(authenticity=authenticity, signatures=signatures, keys=[der(KEY)])
        verify(authenticity=authenticity, signatures=signatures, unsigned_allowed=True)


def test_a_key_of_another_kind_verifies_nothing() -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    with pytest.raises(SignatureRefused):
        verify(signatures=[signed()], keys=[rsa_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), b""])


@given(at=st.integers(0, len(BODY) - 1), by=st.integers(1, 255))
def test_one_changed_byte_is_refused(at: int, by: int) -> None:
    forged = BODY[:at] + bytes([BODY[at] ^ by]) + BODY[at + 1 :]
    with pytest.raises(SignatureRefused):
        verify(forged, authentic(), [signed()], keys=[der(KEY)])


# --- what it says

JSON = "application/json; charset=utf-8"
FORM = "application/x-www-form-urlencoded"


def event(body: object) -> Notice:
    return read_pagbank_event(json.dumps(body).encode(), JSON)


def test_an_order_names_itself() -> None:
    notice = event(order(charge()))
    assert (notice.type, notice.kind, notice.object_external_id) == ("order.paid", "payment", ORDER_ID)
    assert (notice.parent_external_id, notice.reference) == (ORDER_ID, "0198-order")
    assert notice.occurred_at == datetime(2023, 5, 10, 20, 26, 46, tzinfo=UTC)


def test_a_bare_charge_names_itself() -> None:
    notice = event(charge(status="WAITING", paid_at=None))
    assert (notice.type, notice.kind, notice.object_external_id) == ("charge.waiting", "payment", CHARGE_ID)
    assert (notice.parent_external_id, notice.reference) == (None, "0198-order")
    assert notice.occurred_at == datetime(2023, 5, 10, 20, 26, 44, 544000, tzinfo=UTC)


def test_a_checkout_that_expired_names_itself() -> None:
    notice = event({"id": "CHEC_1", "reference_id": "0198-order", "status": "EXPIRED"})
    assert (notice.type, notice.kind, notice.object_external_id) == ("checkout.expired", "checkout", "CHEC_1")


def test_the_same_news_is_the_same_event_and_other_news_another() -> None:
    first = event(order(charge()))
    again = event(order(charge(), notification_urls=["https://example.com/other"], created_at="2024-01-01"))
    assert first.event_id == again.event_id
    others = [
        order(),
        order(charge(status="IN_ANALYSIS")),
        order(charge(), charge(id="CHAR_2", status="DECLINED")),
        order(charge(amount=summary(refunded=100))),
        order(charge(amount=summary(refunded=200))),  # a second partial refund changes no status
        order(charge(), id="ORDE_2"),
        charge(),
    ]
    assert len({first.event_id, *(event(body).event_id for body in others)}) == len(others) + 1


def test_the_old_form_is_read_as_far_as_its_code() -> None:
    code = "766B9C-AD4B044B04DA-77742F5FA653-E1AB24"
    notice = read_pagbank_event(f"notificationCode={code}&notificationType=transaction".encode(), FORM)
    assert (notice.event_id, notice.kind, notice.object_external_id) == (f"notification:{code}", "other", code)
    assert event({"notificationCode": code}) == notice


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (b"notificationCode=", FORM),
        (b"notificationType=transaction", FORM),
        (b"notificationCode=../x", FORM),
        (b"a=1&" * 1000, FORM),
        (b"\xff=\xff", FORM),
        (b"{}", JSON),
        (b"{}", None),
        (b'{"notificationCode": 5}', JSON),
    ],
)
def test_a_missing_code_is_told_in_the_words_of_the_site(body: bytes, content_type: str | None) -> None:
    with pytest.raises(Malformed, match=r"^Missing notificationCode$"):
        read_pagbank_event(body, content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"id": 5}',
        b'{"id": ""}',
        b'{"id": "../orders"}',
        b'{"id": "pay_1"}',
        b'{"id": "ORDE_1/../x"}',
        json.dumps(order(*[charge()] * 101)).encode(),
    ],
)
def test_what_cannot_be_read_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_pagbank_event(body, JSON)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "ORDE_1", "charges": None, "reference_id": 5},
        {"id": "ORDE_1", "charges": ["x", None], "reference_id": ""},
        {"id": "ORDE_1", "charges": [{"status": 5, "amount": 7, "paid_at": 9, "created_at": "soon"}]},
        {"id": "ORDE_1", "charges": [{"amount": {"summary": []}, "status": "não"}], "reference_id": "r" * 65},
        {"id": "ORDE_1", "reference_id": "a\x00b"},
    ],
)
def test_an_odd_body_still_says_which_object(body: dict[str, object]) -> None:
    notice = event(body)
    assert (notice.object_external_id, notice.type, notice.reference) == ("ORDE_1", "order.unknown", None)


# --- objects in our words


def test_an_order_in_our_words() -> None:
    state = order_state(order(charge()))
    assert (state.external_id, state.status, state.amount_cents, state.currency) == (
        ORDER_ID,
        PaymentStatus.PAID,
        24700,
        "BRL",
    )
    assert (state.method, state.reference) == (Method.CARD, "0198-order")
    assert state.paid_at == datetime(2023, 5, 10, 20, 26, 46, tzinfo=UTC)
    assert state.raw["id"] == ORDER_ID


@pytest.mark.parametrize(
    ("changes", "ours", "refunded_cents"),
    [
        ({"status": "WAITING", "paid_at": None}, PaymentStatus.PENDING, 0),
        ({"status": "IN_ANALYSIS", "paid_at": None}, PaymentStatus.PENDING, 0),
        ({"status": "AUTHORIZED", "paid_at": None}, PaymentStatus.PENDING, 0),
        ({"status": "SOMETHING_NEW"}, PaymentStatus.PENDING, 0),
        ({"status": "DECLINED", "paid_at": None}, PaymentStatus.FAILED, 0),
        ({"status": "CANCELED", "paid_at": None, "amount": summary(0, paid=0)}, PaymentStatus.CANCELLED, 0),
        ({"status": "CANCELED", "amount": {"value": 24700, "currency": "BRL"}}, PaymentStatus.REFUNDED, 24700),
        ({"status": "CANCELED", "amount": summary(24700)}, PaymentStatus.REFUNDED, 24700),
        ({"status": "REFUNDED"}, PaymentStatus.REFUNDED, 24700),
        ({"status": "AVAILABLE"}, PaymentStatus.PAID, 0),
        ({"amount": summary(100)}, PaymentStatus.PARTIALLY_REFUNDED, 100),
        ({"amount": summary(24700)}, PaymentStatus.REFUNDED, 24700),
    ],
)
def test_every_status_has_ours(changes: dict[str, object], ours: PaymentStatus, refunded_cents: int) -> None:
    body = charge(**changes)
    for state in (order_state(order(body)), charge_state(read(body, Charge), body)):
        assert (state.status, state.refunded_cents) == (ours, refunded_cents)
        assert (state.paid_at is None) is (ours.value in ("pending", "failed", "cancelled"))
    assert charge_state(read(body, Charge), body).external_id == CHARGE_ID


def test_an_order_stands_by_its_paid_charge() -> None:
    declined = charge(id="CHAR_1", status="DECLINED", payment_response={"code": "10002", "message": "NAO AUTORIZADO"})
    waiting = charge(id="CHAR_3", status="WAITING")
    assert order_state(order(declined, charge(), waiting)).status is PaymentStatus.PAID
    assert order_state(order(charge(status="REFUNDED"), waiting)).status is PaymentStatus.REFUNDED
    assert order_state(order(declined, waiting)).status is PaymentStatus.PENDING
    failed = order_state(order(declined))
    assert (failed.status, failed.failure_reason) == (PaymentStatus.FAILED, "NAO AUTORIZADO")


def test_less_paid_than_asked_shows() -> None:
    assert order_state(order(charge(amount=summary(0, paid=100)))).amount_cents == 100


def test_an_order_that_nobody_has_tried_to_pay_is_pending() -> None:
    code = {"id": "QRCO_1", "amount": {"value": 500}, "text": "x", "expiration_date": "2023-05-11T23:59:59.000-03:00"}
    state = order_state(order(qr_codes=[code]))
    assert (state.status, state.amount_cents, state.method) == (PaymentStatus.PENDING, 500, Method.PIX)
    assert order_state(order()).amount_cents == 24700


def test_the_newer_shape_of_a_pix_charge() -> None:
    method = {"type": "PIX", "pix": {"expiration_date": "2030-01-01T00:00:00-03:00", "end_to_end_id": "E" * 32}}
    state = order_state(order(charge(payment_method=method), qr_codes=[]))
    assert (state.method, state.end_to_end_id, state.status) == (Method.PIX, "E" * 32, PaymentStatus.PAID)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None},
        {"charges": {}},
        {"charges": [{}]},
        {"charges": [charge(amount={"value": None})]},
        {"charges": [charge(amount={"value": 1.5})]},
        {"qr_codes": "x"},
    ],
)
def test_an_object_that_cannot_be_read_is_their_fault(wrong: dict[str, object]) -> None:
    with pytest.raises(BadGateway):
        order_state(order(**wrong))
