"""PagBank: its webhooks and objects read, and what is asked of it over a real socket, lost answers included."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

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
from billing.pagbank_api import PagBankApi, read_pagbank_event, verify_pagbank
from billing.pagbank_api.states import Charge, charge_state, order_state, read
from billing.pagbank_api.webhooks import load_public_key
from contracts.errors import BadGateway, Malformed
from testkit.clock import MovableClock
from testkit.fake_http import Answer, Fault, Request
from testkit.fake_pagbank import FakePagBank

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


def test_an_object_of_a_kind_that_we_do_not_use_is_taken_and_left() -> None:
    notice = event({"id": "SUBS_1", "status": "ACTIVE"})
    assert (notice.kind, notice.object_external_id) == ("other", None)


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


# --- what is asked of it, over a socket

NOW = datetime(2026, 3, 10, 15, tzinfo=UTC)
HOOK = "https://example.com/payments/webhook/pagseguro"
PAYER = Payer(email="jose@example.com", name="Jose da Silva", tax_id="12345678909", phone="11987654321")


@pytest_asyncio.fixture
async def pagbank() -> AsyncIterator[FakePagBank]:
    async with FakePagBank(token=TOKEN, now=lambda: NOW, hang_s=0.5) as fake:
        fake.hold()  # nobody listens at HOOK
        yield fake


@pytest_asyncio.fixture
async def api(pagbank: FakePagBank) -> AsyncIterator[PagBankApi]:
    async with PagBankApi(TOKEN, base_url=pagbank.url, now=lambda: NOW) as api:
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
            methods=(Method.CARD, Method.PIX),
            notification_url=HOOK,
        ),
        **changes,
    )


def charge_request(**changes: object) -> ChargeRequest:
    return msgspec.structs.replace(
        ChargeRequest(
            reference=uuid4(),
            amount_cents=24700,
            currency="BRL",
            method=Method.PIX,
            payer=PAYER,
            description="Fatura 1",
            due_on=NOW.date(),
            expires_at=datetime(2026, 3, 10, 18, 30, tzinfo=UTC),
            notification_url=HOOK,
        ),
        **changes,
    )


async def test_a_checkout_has_a_page_and_our_addresses(pagbank: FakePagBank, api: PagBankApi) -> None:
    request = checkout_request()
    checkout = await api.create_checkout(request, key="k")
    made = pagbank.world.checkout(checkout.external_id)
    assert checkout.url == f"{pagbank.url}/pagamento?code={checkout.external_id}"
    assert checkout.expires_at == datetime(2026, 3, 10, 17, tzinfo=UTC)
    assert checkout.subscription_external_id is None
    assert made["reference_id"] == str(request.reference)
    assert made["items"][0]["unit_amount"] == 24700
    assert [one["type"] for one in made["payment_methods"]] == ["CREDIT_CARD", "PIX"]
    assert (made["redirect_url"], made["return_url"]) == ("https://example.com/success", "https://example.com/cancel")
    assert made["notification_urls"] == made["payment_notification_urls"] == [HOOK]
    assert made["customer"]["phones"] == [{"country": "55", "area": "11", "number": "987654321", "type": "MOBILE"}]
    assert pagbank.server.requests[0].headers["x-idempotency-key"] == "k"


async def test_a_checkout_asks_only_for_what_is_known(pagbank: FakePagBank, api: PagBankApi) -> None:
    request = checkout_request(payer=Payer(email="a@example.com"), methods=(Method.ANY,), notification_url=None)
    made = pagbank.world.checkout((await api.create_checkout(request, key="k")).external_id)
    assert not {"customer", "payment_methods", "notification_urls", "payment_notification_urls"} & made.keys()


async def test_a_checkout_is_complete_when_an_order_of_it_is_paid(pagbank: FakePagBank, api: PagBankApi) -> None:
    request = checkout_request()
    checkout_id = (await api.create_checkout(request, key="k")).external_id
    state = await api.get_checkout(checkout_id)
    assert (state.status, state.payment_status, state.amount_cents) == ("open", "unpaid", 24700)
    order_id = pagbank.pay_checkout(checkout_id)
    state = await api.get_checkout(checkout_id)
    assert (state.status, state.is_paid, state.reference) == ("complete", True, str(request.reference))
    assert (state.payment_external_id, state.completed_at) == (order_id, NOW)
    assert (await api.get_payment(order_id)).reference == str(request.reference)
    late = (await api.create_checkout(checkout_request(), key="k2")).external_id
    pagbank.expire_checkout(late)
    assert (await api.get_checkout(late)).status == "expired"


@pytest.mark.parametrize("newer_shape", [False, True])
async def test_a_pix_charge_in_both_shapes(pagbank: FakePagBank, api: PagBankApi, newer_shape: bool) -> None:
    pagbank.world.newer_shape = newer_shape
    request = charge_request()
    charge = await api.create_charge(request, key="k")
    assert charge.external_id.startswith("ORDE_")
    assert charge.status is PaymentStatus.PENDING
    assert charge.pix is not None
    assert parse_br_code(charge.pix.copy_paste).amount_cents == 24700
    assert (charge.pix.txid, charge.pix.expires_at) == ("***", request.expires_at)
    assert charge.raw["id"] == charge.external_id
    pix = await api.get_pix(charge.external_id)
    assert pix.code == charge.pix
    assert pix.image_url is not None
    assert pix.image_url.endswith("/png")
    charge_id = pagbank.pay(charge.external_id)
    by_order, by_charge = await api.get_payment(charge.external_id), await api.get_payment(charge_id)
    assert by_order == by_charge  # a bare charge's webhook ends at the same payment
    assert (by_order.status, by_order.amount_cents, by_order.paid_at) == (PaymentStatus.PAID, 24700, NOW)
    assert (by_order.reference, len(by_order.end_to_end_id or "")) == (str(request.reference), 32)
    alone = await api.get_charge(charge_id)
    assert (alone.external_id, alone.status, alone.reference) == (charge_id, PaymentStatus.PAID, str(request.reference))


async def test_a_code_ends_in_a_day_when_nothing_is_said(api: PagBankApi) -> None:
    charge = await api.create_charge(charge_request(expires_at=None, notification_url=None), key="k")
    assert charge.pix is not None
    assert charge.pix.expires_at == datetime(2026, 3, 11, 15, tzinfo=UTC)


async def test_a_boleto_has_a_slip_and_can_be_withdrawn(pagbank: FakePagBank, api: PagBankApi) -> None:
    charge = await api.create_charge(charge_request(method=Method.BOLETO), key="k")
    assert charge.url is not None
    assert charge.url.endswith(".pdf")
    [sent] = pagbank.order(charge.external_id)["charges"]
    assert sent["payment_method"]["boleto"]["due_date"] == "2026-03-10"
    await api.cancel_payment(charge.external_id, key="c")
    await api.cancel_payment(charge.external_id, key="c2")
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.CANCELLED
    with pytest.raises(NotAtProvider, match="no PIX code"):
        await api.get_pix(charge.external_id)


async def test_what_cannot_be_withdrawn(pagbank: FakePagBank, api: PagBankApi) -> None:
    waiting = await api.create_charge(charge_request(), key="k")
    await api.cancel_payment(waiting.external_id, key="c")  # a code ends by itself
    charge_id = pagbank.pay(waiting.external_id)
    for external_id in (waiting.external_id, charge_id):
        with pytest.raises(ProviderRefused, match="refunded"):
            await api.cancel_payment(external_id, key="c")


@pytest.mark.parametrize("method", [Method.CARD, Method.DEBIT_CARD, Method.ANY])
async def test_a_card_is_charged_on_pagbanks_page_only(pagbank: FakePagBank, api: PagBankApi, method: Method) -> None:
    with pytest.raises(ProviderRefused, match="checkout"):
        await api.create_charge(charge_request(method=method), key="k")
    assert pagbank.server.requests == []


@pytest.mark.parametrize(
    ("phone", "phones"),
    [
        ("5511987654321", [{"country": "55", "area": "11", "number": "987654321", "type": "MOBILE"}]),
        ("+551133334444", [{"country": "55", "area": "11", "number": "33334444", "type": "HOME"}]),
        ("123", None),
        ("٣٣٣٣٣٣٣٣٣٣", None),
        (None, None),
    ],
)
async def test_a_phone_is_sent_only_whole(
    pagbank: FakePagBank, api: PagBankApi, phone: str | None, phones: object
) -> None:
    charge = await api.create_charge(charge_request(payer=msgspec.structs.replace(PAYER, phone=phone)), key="k")
    assert pagbank.order(charge.external_id)["customer"].get("phones") == phones


async def test_a_code_that_no_bank_would_take_is_not_shown(
    pagbank: FakePagBank, api: PagBankApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testkit.fake_pagbank.world.br_code", lambda *_: "000201")
    with pytest.raises(BadGateway, match="no bank"):
        await api.create_charge(charge_request(), key="k")


async def test_refusals_are_in_pagbanks_words_and_a_wrong_token_is_the_operators(
    pagbank: FakePagBank, api: PagBankApi
) -> None:
    with pytest.raises(ProviderRefused, match=r"40001 required_parameter customer\.tax_id"):
        await api.create_charge(charge_request(payer=Payer(email="new@example.com")), key="k")
    await api.ping()
    async with PagBankApi("wrong-token", base_url=pagbank.url) as stranger:
        for asked in (stranger.ping(), stranger.create_charge(charge_request(), key="k")):
            with pytest.raises(ProviderMisconfigured, match="Invalid credential") as refused:
                await asked
            assert "wrong-token" not in refused.value.detail


async def test_an_account_that_is_not_released_gets_words_for_its_operator(
    pagbank: FakePagBank, api: PagBankApi
) -> None:
    pagbank.release_account(is_released=False)
    for asked in (api.create_charge(charge_request(), key="k"), api.create_checkout(checkout_request(), key="k")):
        with pytest.raises(ProviderMisconfigured, match="has not released this account"):
            await asked


async def test_what_is_not_there_is_told_apart(pagbank: FakePagBank, api: PagBankApi) -> None:
    for external_id in ("ORDE_none", "CHAR_none", "../orders", "", "ORDE_1?x=1"):
        with pytest.raises(NotAtProvider):
            await api.get_payment(external_id)
    assert {request.path for request in pagbank.server.requests} == {
        "/orders",
        "/orders/ORDE_none",
        "/charges/CHAR_none",
    }
    with pytest.raises(NotAtProvider):
        await api.get_checkout("CHEC_none")


# --- lost answers

LOST = [Fault.DROP_REPLY, Fault.FAIL_500_AFTER, Fault.HANG, Fault.GARBAGE]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.provider_http.READ_S", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", LOST)
async def test_a_repeat_with_its_key_makes_nothing_twice(pagbank: FakePagBank, fault: Fault) -> None:
    checkout_asked, charge_asked = checkout_request(), charge_request()
    async with PagBankApi(TOKEN, base_url=pagbank.url) as api:
        pagbank.server.faults = [fault]
        with pytest.raises(ProviderUnknown):
            await api.create_checkout(checkout_asked, key="k1")
        checkout = await api.create_checkout(checkout_asked, key="k1")
        assert await api.create_checkout(checkout_asked, key="k1") == checkout
        pagbank.server.faults = [fault]
        with pytest.raises(ProviderUnknown):
            await api.create_charge(charge_asked, key="k2")
        charge = await api.create_charge(charge_asked, key="k2")
        assert (await api.get_payment(charge.external_id)).reference == str(charge_asked.reference)
    assert pagbank.effects["checkout"] == {str(checkout_asked.reference): 1}
    assert pagbank.effects["order"] == {str(charge_asked.reference): 1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("amount_cents", [None, 4700, 24700])
@pytest.mark.parametrize("fault", LOST)
async def test_a_refund_whose_answer_was_lost_is_given_once(
    pagbank: FakePagBank, fault: Fault, amount_cents: int | None
) -> None:
    async with PagBankApi(TOKEN, base_url=pagbank.url) as api:
        charge = await api.create_charge(charge_request(), key="k")
        pagbank.pay(charge.external_id)
        pagbank.server.faulty = lambda request: request.path.endswith("/cancel")
        pagbank.server.faults = [fault]
        with pytest.raises(ProviderUnknown):
            await api.refund(charge.external_id, amount_cents, "x", key="refund-1")
        refund = await api.refund(charge.external_id, amount_cents, "x", key="refund-1")
        # That a part went back before we looked may be another's doing: the payment's own sum settles it.
        assert (refund.status, refund.amount_cents) == (
            "pending" if amount_cents == 4700 else "done",
            amount_cents or 24700,
        )
        assert (await api.get_payment(charge.external_id)).refunded_cents == (amount_cents or 24700)
    assert pagbank.effects["refund"] == {"refund-1": 1}


async def test_a_part_that_is_taken_on_is_not_done_because_another_was(pagbank: FakePagBank, api: PagBankApi) -> None:
    charge = await api.create_charge(charge_request(), key="k")
    pagbank.pay(charge.external_id)
    first = await api.refund(charge.external_id, 700, "x", key="r1")
    pagbank.world.refunds_wait = True
    second = await api.refund(charge.external_id, 700, "x", key="r2")
    assert (first.status, second.status) == ("done", "pending")
    assert (await api.get_payment(charge.external_id)).refunded_cents == 700
    pagbank.finish_refunds(charge.external_id)
    assert (await api.get_payment(charge.external_id)).refunded_cents == 1400


async def test_refunds_in_parts(pagbank: FakePagBank, api: PagBankApi) -> None:
    charge = await api.create_charge(charge_request(), key="k")
    with pytest.raises(ProviderRefused, match="no payment"):
        await api.refund(charge.external_id, None, "x", key="r0")
    charge_id = pagbank.pay(charge.external_id)
    assert (await api.refund(charge.external_id, 700, "x", key="r1")).amount_cents == 700
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.PARTIALLY_REFUNDED
    with pytest.raises(ProviderRefused, match="invalid_refund_amount"):
        await api.refund(charge.external_id, 24700, "x", key="r2")
    rest = await api.refund(charge_id, None, "x", key="r3")
    assert (rest.status, rest.amount_cents) == ("done", 24000)
    assert (await api.get_payment(charge.external_id)).status is PaymentStatus.REFUNDED


async def test_what_never_arrived_says_so(pagbank: FakePagBank, api: PagBankApi) -> None:
    pagbank.server.faults = [Fault.REFUSE_429]
    with pytest.raises(ProviderUnavailable):
        await api.create_charge(charge_request(), key="k")
    async with PagBankApi(TOKEN, base_url="http://127.0.0.1:9") as nobody:
        with pytest.raises(ProviderUnavailable):
            await nobody.create_charge(charge_request(), key="k")
    assert pagbank.effects == {}


async def test_an_answer_of_another_shape_is_their_fault(pagbank: FakePagBank, api: PagBankApi) -> None:
    async def nonsense(_: Request) -> Answer:
        return Answer(200, ["nothing", "of", "ours"])

    pagbank.server._respond = nonsense
    for asked in (api.get_order("ORDE_1"), api.public_keys(), api.create_charge(charge_request(), key="k")):
        with pytest.raises(BadGateway):
            await asked


# --- its keys


@pytest.mark.parametrize(("by_token", "by_key"), [(True, False), (False, True), (True, True), (False, False)])
async def test_webhooks_of_the_fake_verify_by_either_scheme(
    pagbank: FakePagBank, api: PagBankApi, by_token: bool, by_key: bool
) -> None:
    keys = await api.public_keys()
    pagbank.signing.by_token, pagbank.signing.by_key = by_token, by_key
    headers = pagbank.signing.headers(BODY)
    token = headers.get("x-authenticity-token")
    signatures = [headers["x-payload-signature"]] if by_key else []
    if by_token or by_key:
        verify(BODY, token, signatures, keys=keys)
    else:
        with pytest.raises(SignatureRefused):
            verify(BODY, token, signatures, keys=keys)
    with pytest.raises(SignatureRefused):
        verify(BODY + b" ", token, signatures, keys=keys)


async def test_keys_are_kept_for_an_hour_and_asked_for_again_at_most_once_a_minute(pagbank: FakePagBank) -> None:
    clock = MovableClock(NOW)
    asked = pagbank.server.requests
    async with PagBankApi(TOKEN, base_url=pagbank.url, now=clock) as api:
        first = await api.public_keys()
        assert await api.public_keys() == first
        clock.advance(timedelta(seconds=59))
        await api.public_keys(refresh=True)
        assert len(asked) == 1
        clock.advance(timedelta(seconds=1))
        await api.public_keys(refresh=True)
        assert len(asked) == 2
        clock.advance(timedelta(minutes=59))
        await api.public_keys()
        assert len(asked) == 2
        clock.advance(timedelta(minutes=1))
        await api.public_keys()
        assert len(asked) == 3


async def test_keys_are_found_at_either_address(pagbank: FakePagBank, api: PagBankApi) -> None:
    pagbank.move_public_keys("/public-keys/webhook")
    assert [load_public_key(key) is not None for key in await api.public_keys()] == [True]
    await api.ping()


@pytest.mark.parametrize(
    ("found", "count"),
    [
        ({"public_key": pem(KEY).decode()}, 1),
        ({"public_keys": [base64.b64encode(der(KEY)).decode(), base64.b64encode(der(OTHER_KEY)).decode()]}, 2),
        ({"public_key": ["no base64!", base64.b64encode(der(KEY)).decode()]}, 1),
        ({"public_key": "AAAA"}, 0),
        ({"public_key": None}, 0),
        ({}, 0),
    ],
)
async def test_keys_are_read_in_each_form(
    pagbank: FakePagBank, api: PagBankApi, found: dict[str, object], count: int
) -> None:
    async def respond(_: Request) -> Answer:
        return Answer(200, found)

    pagbank.server._respond = respond
    if count:
        assert len(await api.public_keys()) == count
    else:
        with pytest.raises(BadGateway, match="no usable public key"):
            await api.public_keys()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "Unauthorized"}, "Unauthorized"),
        ({"error_messages": [{}]}, "it answered 400"),
        ({"error_messages": []}, "it answered 400"),
        (["?"], "it answered 400"),
    ],
)
async def test_other_shapes_of_a_refusal(pagbank: FakePagBank, api: PagBankApi, body: object, words: str) -> None:
    async def respond(_: Request) -> Answer:
        return Answer(400, body)

    pagbank.server._respond = respond
    with pytest.raises(ProviderRefused, match=words):
        await api.get_order("ORDE_1")


async def test_the_order_of_a_charge_in_a_listing(pagbank: FakePagBank, api: PagBankApi) -> None:
    stranger = charge(id="CHAR_2", status="DECLINED")
    found: dict[str, object] = {"orders": [order(stranger, id="ORDE_2"), order(charge())]}

    async def respond(request: Request) -> Answer:
        return Answer(200, found if request.path == "/orders" else charge())

    pagbank.server._respond = respond
    assert (await api.get_payment(CHARGE_ID)).external_id == ORDER_ID
    found["orders"] = [order(stranger)]  # another's: the charge then stands alone
    assert (await api.get_payment(CHARGE_ID)).external_id == CHARGE_ID
    found["orders"] = None
    assert (await api.get_payment(CHARGE_ID)).external_id == CHARGE_ID


async def test_a_checkout_without_a_page_is_their_fault(pagbank: FakePagBank, api: PagBankApi) -> None:
    async def respond(_: Request) -> Answer:
        return Answer(201, {"id": "CHEC_1", "links": [{"rel": "SELF", "href": "x"}]})

    pagbank.server._respond = respond
    with pytest.raises(BadGateway, match="without a page"):
        await api.create_checkout(checkout_request(), key="k")
