"""Stripe's signatures and events, as raw bytes: what is accepted, what is refused, and what an event is about."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.providers import SignatureRefused
from billing.stripe_api import read_stripe_event, verify_stripe

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = "whsec_now"
OLD_SECRET = "whsec_before"


def event_body(type_: str = "invoice.paid", subject: dict[str, Any] | None = None, **more: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-03-25.dahlia",
        "created": int(NOW.timestamp()),
        "data": {"object": subject or {"id": "in_1", "object": "invoice"}},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type_,
        **more,
    }
    return json.dumps(event, indent=2).encode()  # Stripe indents; the bytes count, not the JSON


def mac(body: bytes, secret: str = SECRET, at: datetime = NOW) -> str:
    signed = f"{int(at.timestamp())}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def header(body: bytes, secret: str = SECRET, at: datetime = NOW) -> str:
    return f"t={int(at.timestamp())},v1={mac(body, secret, at)}"


def test_what_stripe_signed_is_accepted_and_so_says_its_own_library() -> None:
    body = event_body()
    stripe.WebhookSignature.verify_header(body.decode(), header(body), SECRET, tolerance=None)
    notice = verify_stripe(body, header(body), [SECRET], NOW)
    assert (notice.event_id, notice.type, notice.kind, notice.object_external_id) == (
        "evt_1",
        "invoice.paid",
        "invoice",
        "in_1",
    )
    assert (notice.occurred_at, notice.livemode) == (NOW, False)


@pytest.mark.parametrize("offset_s", [-300, -1, 0, 299, 300])
def test_a_signature_is_good_for_300_seconds_either_way(offset_s: int) -> None:
    body = event_body()
    verify_stripe(body, header(body, at=NOW + timedelta(seconds=offset_s)), [SECRET], NOW)


@pytest.mark.parametrize("offset_s", [-301, 301, -86_400, 10_000_000])
def test_an_old_or_future_signature_is_refused(offset_s: int) -> None:
    body = event_body()
    with pytest.raises(SignatureRefused, match="300 s"):
        verify_stripe(body, header(body, at=NOW + timedelta(seconds=offset_s)), [SECRET], NOW)


def test_any_of_several_signatures_and_secrets_may_match() -> None:
    body = event_body()
    stamp = f"t={int(NOW.timestamp())}"
    good, other = mac(body, OLD_SECRET), mac(body, "whsec_someone_else")
    assert verify_stripe(body, f"{stamp},v1={other},v1={good}", [SECRET, OLD_SECRET], NOW).event_id == "evt_1"
    assert verify_stripe(body, f"{stamp},v1={good},v1={other}", [OLD_SECRET, SECRET], NOW).event_id == "evt_1"
    assert verify_stripe(body, f"{stamp},v0={other},v1={good},v2=x", [OLD_SECRET], NOW).event_id == "evt_1"
    assert verify_stripe(body, f"{stamp}, v1={other}, v1={good}", ["", OLD_SECRET], NOW).event_id == "evt_1"


def refused_headers(body: bytes) -> dict[str, str | None]:
    stamp, good = f"t={int(NOW.timestamp())}", mac(body)
    return {
        "none": None,
        "empty": "",
        "no time": f"v1={good}",
        "two times": f"{stamp},{stamp},v1={good}",
        "a time that is no number": f"t=now,v1={good}",
        "a negative time": f"t=-1,v1={good}",
        "a time of 5000 digits": f"t={'9' * 5000},v1={good}",
        "no signature": stamp,
        "v0 only": f"{stamp},v0={good}",
        "another endpoint's": f"{stamp},v1={mac(body, 'whsec_other')}",
        "an empty secret's": f"{stamp},v1={mac(body, '')}",
        "cut short": f"{stamp},v1={good[:-1]}",
        "an empty one": f"{stamp},v1=",
        "in capitals": f"{stamp},v1={good.upper()}",
        "outside ASCII": f"{stamp},v1=é",
        "digits outside ASCII": f"t=１７,v1={good}",
        "half a character": f"{stamp},v1=\udce9",
        "too many": f"{stamp}," + ",".join([f"v1={good}"] * 17),
        "another time": f"t={int(NOW.timestamp()) + 1},v1={good}",
    }


@pytest.mark.parametrize("case", list(refused_headers(b"")))
def test_a_header_that_does_not_prove_it_is_refused(case: str) -> None:
    body = event_body()
    with pytest.raises(SignatureRefused) as caught:
        verify_stripe(body, refused_headers(body)[case], ["", SECRET], NOW)
    assert SECRET not in str(caught.value)


def test_without_a_secret_nothing_is_accepted() -> None:
    body = event_body()
    for secrets in ([], [""]):
        for signer in ("", SECRET):
            with pytest.raises(SignatureRefused):
                verify_stripe(body, header(body, signer), secrets, NOW)


def test_the_bytes_are_signed_not_the_json() -> None:
    body = event_body()
    again = json.dumps(json.loads(body)).encode()
    flipped = bytes([body[-3] ^ 1]).join([body[:-3], body[-2:]])
    for other in (again, flipped, body + b" ", b""):
        with pytest.raises(SignatureRefused):
            verify_stripe(other, header(body), [SECRET], NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id":"evt_1"}',
        b'{"id":1,"type":"invoice.paid"}',
        b'{"id":"evt_1","type":"x","created":"y"',
        b'{"id":"evt_\xff","type":"x","data":{"object":{}}}',
        b"[" * 100_000,
        b'{"id":"e","type":"t","created":"c","data":' + b"[" * 100_000,
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureRefused, match="not a Stripe event"):
        verify_stripe(body, header(body), [SECRET], NOW)


@given(body=st.binary(max_size=200), text=st.text(max_size=100))
def test_whatever_comes_only_refusal_is_raised(body: bytes, text: str) -> None:
    with pytest.raises(SignatureRefused):
        verify_stripe(body, text, [SECRET], NOW)
    with pytest.raises(SignatureRefused):
        verify_stripe(body, f"t={int(NOW.timestamp())},v1={text}", [SECRET], NOW)


INTENT = {"payment_intent": "pi_1"}
EXPANDED = {"payment_intent": {"id": "pi_1", "object": "payment_intent"}}
ABOUT: list[tuple[str, dict[str, Any], tuple[str, str | None]]] = [
    ("checkout.session.completed", {"id": "cs_1", **INTENT}, ("checkout", "cs_1")),
    ("checkout.session.async_payment_succeeded", {"id": "cs_1"}, ("checkout", "cs_1")),
    ("checkout.session.async_payment_failed", {"id": "cs_1"}, ("checkout", "cs_1")),
    ("checkout.session.expired", {"id": "cs_1"}, ("checkout", "cs_1")),
    ("customer.subscription.created", {"id": "sub_1"}, ("subscription", "sub_1")),
    ("customer.subscription.updated", {"id": "sub_1"}, ("subscription", "sub_1")),
    ("customer.subscription.deleted", {"id": "sub_1"}, ("subscription", "sub_1")),
    ("customer.subscription.paused", {"id": "sub_1"}, ("subscription", "sub_1")),
    ("customer.subscription.resumed", {"id": "sub_1"}, ("subscription", "sub_1")),
    ("customer.subscription.trial_will_end", {"id": "sub_1"}, ("subscription", "sub_1")),
    ("invoice.created", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice.finalized", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice.paid", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice.payment_succeeded", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice.payment_failed", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice.payment_action_required", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice.voided", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice_payment.paid", {"id": "inpay_1", "invoice": "in_1"}, ("invoice", "in_1")),
    ("payment_intent.succeeded", {"id": "pi_1"}, ("payment", "pi_1")),
    ("payment_intent.payment_failed", {"id": "pi_1"}, ("payment", "pi_1")),
    ("charge.refunded", {"id": "ch_1", "invoice": None, **INTENT}, ("payment", "pi_1")),
    ("charge.refunded", {"id": "ch_1", **EXPANDED}, ("payment", "pi_1")),
    ("charge.succeeded", {"id": "ch_1", **INTENT}, ("payment", "pi_1")),
    ("charge.dispute.created", {"id": "du_1", "charge": "ch_1", **INTENT}, ("payment", "pi_1")),
    ("charge.dispute.closed", {"id": "du_1", "charge": {"id": "ch_1"}, **EXPANDED}, ("payment", "pi_1")),
    ("charge.dispute.funds_withdrawn", {"id": "du_1", **INTENT}, ("payment", "pi_1")),
    ("charge.refund.updated", {"id": "re_1", **INTENT}, ("payment", "pi_1")),
    ("refund.failed", {"id": "re_1", **INTENT}, ("payment", "pi_1")),
    ("customer.deleted", {"id": "cus_1"}, ("customer", "cus_1")),
    # Not ours to act on, or nothing to look at.
    ("charge.succeeded", {"id": "ch_1", "payment_intent": None}, ("other", None)),
    ("invoice.upcoming", {"object": "invoice"}, ("other", None)),
    ("customer.tax_id.created", {"id": "txi_1"}, ("other", None)),
    ("invoiceitem.created", {"id": "ii_1", "invoice": "in_1"}, ("other", None)),
    ("balance.available", {"object": "balance"}, ("other", None)),
    ("price.created", {"id": "price_1"}, ("other", None)),
    ("something.of.2031", {"id": 7, "metadata": [1]}, ("other", None)),
]


@pytest.mark.parametrize(("type_", "subject", "about"), ABOUT)
def test_an_event_says_which_object_to_look_at(
    type_: str, subject: dict[str, Any], about: tuple[str, str | None]
) -> None:
    notice = read_stripe_event(event_body(type_, subject))
    assert (notice.event_id, notice.type) == ("evt_1", type_)
    assert (notice.kind, notice.object_external_id) == about


def test_our_reference_is_read_from_where_we_put_it() -> None:
    session = {"id": "cs_1", "client_reference_id": "an-order", "metadata": {"order_id": "another"}}
    assert read_stripe_event(event_body("checkout.session.completed", session)).reference == "an-order"
    intent = {"id": "pi_1", "metadata": {"payment_id": "a-payment"}}
    assert read_stripe_event(event_body("payment_intent.succeeded", intent)).reference == "a-payment"
    assert read_stripe_event(event_body("invoice.paid", {"id": "in_1", "metadata": None})).reference is None


def test_an_event_of_a_connected_account_is_about_nothing_that_our_key_sees() -> None:
    body = event_body("checkout.session.completed", {"id": "cs_1"}, account="acct_other")
    assert (read_stripe_event(body).kind, read_stripe_event(body).object_external_id) == ("other", None)


def test_a_thin_event_is_kept_and_no_more() -> None:
    body = json.dumps(
        {
            "id": "evt_2",
            "object": "v2.core.event",
            "type": "v1.billing.meter.error_report_triggered",
            "created": "2026-03-01T12:00:00.000Z",
            "related_object": {"id": "mtr_1"},
        }
    ).encode()
    assert read_stripe_event(body).kind == "other"
