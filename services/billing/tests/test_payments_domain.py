"""Payments and refunds, pure: what is news of a payment, what is told of it, and how much may still go back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain import payment_events
from billing.domain.customers import PLATFORM_ACCOUNT, SoldBy
from billing.domain.payments import NEXT, SETTLING, Payment, mismatch, observe, returns
from billing.domain.providers import Method, PaymentState, PaymentStatus, Provider, RefundState
from billing.domain.providers import PaymentStatus as P
from billing.domain.refunds import (
    Refund,
    RefundStatus,
    last_counting,
    refundable_cents,
    refuse_refund,
    same_wish,
    settled,
    wanted_cents,
)
from contracts.billing import PaymentDisputed, PaymentReceived, PaymentRefunded, PaymentRefundFailed, PixReceived
from contracts.errors import Conflict

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def a_payment(**fields: Any) -> Payment:
    row = Payment(
        id=UUID(int=1),
        tenant_id=UUID(int=2),
        sold_by=SoldBy.PLATFORM,
        invoice_id=UUID(int=3),
        order_id=None,
        customer_id=UUID(int=4),
        provider=Provider.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        external_id="pi_1",
        method=Method.CARD,
        status=P.PENDING,
        amount_cents=1000,
        refunded_cents=0,
        currency="BRL",
        description="Pro",
        reference=None,
        due_on=None,
        paid_at=NOW if fields.get("status") in SETTLING else None,
        failure_reason=None,
        review_reason=None,
        txid=None,
        end_to_end_id=None,
        pix_copy_paste=None,
        pix_expires_at=None,
        url=None,
        raw=None,
        observed_at=None,
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def seen(status: PaymentStatus, **fields: Any) -> PaymentState:
    state = PaymentState(external_id="pi_1", status=status, amount_cents=1000, currency="BRL")
    return msgspec.structs.replace(state, **fields)


moments = st.integers(0, 10_000).map(lambda seconds: NOW + timedelta(seconds=seconds))
states = st.builds(
    lambda status, back, method: seen(status, refunded_cents=back, method=method),
    st.sampled_from(list(P)),
    st.integers(0, 1500),
    st.sampled_from([Method.ANY, Method.CARD, Method.PIX]),
)
rows = st.builds(lambda status: a_payment(status=status), st.sampled_from(list(P)))


@given(rows, states, moments, moments)
def test_the_same_news_twice_is_news_once(row: Payment, state: PaymentState, asked: Any, now: Any) -> None:
    once = observe(row, state, asked_at=asked, now=now)
    assert observe(once, state, asked_at=asked, now=now + timedelta(hours=1)) == once
    assert once.status is row.status or once.status in NEXT[row.status] or returns(row, state)
    assert once.version in (row.version, row.version + 1)


@given(rows, states, states, moments, moments)
def test_money_only_goes_forward(row: Payment, one: PaymentState, two: PaymentState, a: Any, b: Any) -> None:
    """Whatever is reported in whatever order: what was paid stays paid; what went back comes again by fresh news."""
    for state, asked in ((one, a), (two, b)):
        before, row = row, observe(row, state, asked_at=asked, now=asked + timedelta(seconds=60))
        is_fresh = asked >= before.updated_at
        assert row.refunded_cents >= before.refunded_cents or (is_fresh and returns(before, state))
        assert row.status is before.status or row.status in NEXT[before.status] or (is_fresh and returns(before, state))
        assert row.refunded_cents <= row.amount_cents
        assert row.is_settled or not before.is_settled
        assert before.paid_at is None or row.paid_at == before.paid_at
        if before.observed_at is not None and asked < before.observed_at:
            assert row == before, "old news"


@pytest.mark.parametrize("status", list(P))
@pytest.mark.parametrize("refunded_cents", [0, 400, 1000])
def test_what_comes_back_from_a_whole_refund(status: P, refunded_cents: int) -> None:
    """Its money, where it is said to be here again by an answer that was asked for after the refund was known."""
    row = a_payment(status=P.REFUNDED, refunded_cents=1000)
    later = observe(row, seen(status, refunded_cents=refunded_cents), asked_at=NOW, now=NOW)
    is_back = status in (P.PAID, P.PARTIALLY_REFUNDED) and refunded_cents < 1000
    assert (later.status, later.refunded_cents) == ((status, refunded_cents) if is_back else (P.REFUNDED, 1000))
    before = NOW - timedelta(seconds=1)
    overlapping = observe(row, seen(status, refunded_cents=refunded_cents), asked_at=before, now=NOW)
    assert (overlapping.status, overlapping.refunded_cents) == (P.REFUNDED, 1000)


def test_less_of_a_part_may_have_gone_back_than_was_told() -> None:
    row = a_payment(status=P.PARTIALLY_REFUNDED, refunded_cents=700)
    for status, refunded_cents in ((P.PARTIALLY_REFUNDED, 300), (P.PAID, 0)):
        row = observe(row, seen(status, refunded_cents=refunded_cents), asked_at=NOW, now=NOW)
        assert (row.status, row.refunded_cents) == (status, refunded_cents)


def test_what_a_report_adds() -> None:
    row = a_payment(external_id=None, method=Method.ANY)
    at = NOW + timedelta(hours=1)
    paid = observe(
        row,
        seen(P.PAID, method=Method.PIX, paid_at=at, end_to_end_id="E1", url="https://x", raw={"id": 1}),
        asked_at=at,
        now=at,
    )
    assert (paid.external_id, paid.method, paid.paid_at, paid.end_to_end_id) == ("pi_1", Method.PIX, at, "E1")
    assert (paid.url, paid.raw, paid.observed_at, paid.version) == ("https://x", {"id": 1}, at, 2)
    quiet = observe(paid, seen(P.PAID), asked_at=at + timedelta(hours=1), now=at)
    assert (quiet.version, quiet.observed_at) == (2, at + timedelta(hours=1)), "looked at, and nothing new"
    failed = observe(row, seen(P.FAILED, failure_reason="no funds"), asked_at=NOW, now=NOW)
    assert (failed.status, failed.failure_reason, failed.paid_at) == (P.FAILED, "no funds", None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"amount_cents": 999}, "999 came in where 1000 was asked for"),
        ({"currency": "USD"}, "USD came in where BRL was asked for"),
    ],
)
def test_another_amount_is_another_payment(fields: dict[str, Any], reason: str | None) -> None:
    assert mismatch(a_payment(), seen(P.PAID, **fields)) == reason


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"status": P.PAID}, [PaymentReceived]),
        ({"method": Method.PIX}, {"status": P.PAID, "method": Method.PIX}, [PaymentReceived, PixReceived]),
        ({}, {"status": P.FAILED}, []),
        ({"status": P.PAID}, {"status": P.PARTIALLY_REFUNDED, "refunded_cents": 1}, [PaymentRefunded]),
        ({}, {"status": P.REFUNDED, "refunded_cents": 1000}, [PaymentReceived, PaymentRefunded]),
        ({"status": P.PAID}, {"status": P.PAID}, []),
    ],
)
def test_what_is_told_of_a_payment(before: dict[str, Any], after: dict[str, Any], told: list[type]) -> None:
    found = payment_events.changes(a_payment(**before), a_payment(**after), [], UUID(int=9), NOW)
    assert [type(event) for event in found] == told
    assert all(event.subscription_id == UUID(int=9) for event in found)


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (P.PAID, P.DISPUTED, "open"),
        (P.DISPUTED, P.PAID, "won"),
        (P.DISPUTED, P.CHARGED_BACK, "lost"),
        (P.CHARGED_BACK, P.PAID, "won"),
        (P.DISPUTED, P.PARTIALLY_REFUNDED, "won"),
        (P.DISPUTED, P.REFUNDED, None),
        (P.PAID, P.CHARGED_BACK, "lost"),
    ],
)
def test_how_a_dispute_is_told(before: P, after: P, outcome: str | None) -> None:
    found = payment_events.changes(a_payment(status=before), a_payment(status=after), [], None, NOW)
    outcomes = [event.outcome for event in found if isinstance(event, PaymentDisputed)]
    assert outcomes == ([] if outcome is None else [outcome])


# Refunds


def a_refund(number: int, amount_cents: int, status: RefundStatus) -> Refund:
    return Refund(
        id=UUID(int=number),
        tenant_id=UUID(int=2),
        payment_id=UUID(int=1),
        amount_cents=amount_cents,
        reason=None,
        status=status,
        external_id=None,
        requested_by="user-1",
        created_at=NOW,
        updated_at=NOW,
    )


refunds = st.lists(st.tuples(st.integers(1, 400), st.sampled_from(list(RefundStatus))), max_size=6).map(
    lambda found: [a_refund(n, amount, status) for n, (amount, status) in enumerate(found)]
)


@given(refunds, st.integers(0, 1000), st.one_of(st.none(), st.integers(1, 1200)))
def test_never_more_than_was_paid(found: list[Refund], refunded: int, amount: int | None) -> None:
    row = a_payment(status=P.PAID, refunded_cents=refunded)
    counted = sum(one.amount_cents for one in found if one.status is not RefundStatus.FAILED)
    try:
        wanted = wanted_cents(row, found, amount)
    except Conflict:
        left = refundable_cents(row, found)
        assert left == 0 or (amount is not None and amount > left)
        return
    assert wanted >= 1
    assert counted + wanted <= 1000
    assert refunded + wanted <= 1000
    assert amount is None or wanted == amount


def ends(found: list[Refund], told: list[RefundState], refunded: int, *, is_returned: bool = False) -> list[Refund]:
    return settled(found, told, refunded, is_returned=is_returned, now=NOW + timedelta(days=1))


@given(refunds, st.integers(0, 1000))
def test_only_what_arrived_is_done(found: list[Refund], refunded: int) -> None:
    ended = ends(found, [], refunded)
    assert all(one.status is RefundStatus.DONE and one.updated_at == NOW + timedelta(days=1) for one in ended)
    done = [one.amount_cents for one in found if one.status is RefundStatus.DONE]
    if ended:
        assert sum(done) + sum(one.amount_cents for one in ended) <= refunded
    waiting = {one.id for one in found if one.status is RefundStatus.PENDING}
    assert {one.id for one in ended} <= waiting


@given(refunds, st.integers(0, 1000))
def test_of_a_sum_that_fell_the_latest_failed(found: list[Refund], refunded: int) -> None:
    ended = ends(found, [], refunded, is_returned=True)
    done = [one for one in found if one.status is RefundStatus.DONE]
    assert [one.id for one in reversed(ended)] == [one.id for one in done[len(done) - len(ended) :]]
    assert {one.status for one in ended} <= {RefundStatus.FAILED}
    left = sum(one.amount_cents for one in done) - sum(one.amount_cents for one in ended)
    assert left <= refunded
    assert not ended or left + done[len(done) - len(ended)].amount_cents > refunded, "no more of them than came back"


@pytest.mark.parametrize("status", list(RefundStatus))
@pytest.mark.parametrize("told", ["pending", "done", "failed"])
def test_what_a_provider_lists_is_believed_of_what_it_took_on(status: RefundStatus, told: Any) -> None:
    ours = msgspec.structs.replace(a_refund(1, 300, status), external_id="re_1")
    other = a_refund(2, 300, RefundStatus.PENDING)
    ended = ends([ours, other], [RefundState(external_id="re_1", status=told, amount_cents=300)], 1000)
    news = {("pending", "done"), ("pending", "failed"), ("done", "failed")}
    assert [(one.id, one.status) for one in ended] == ([(ours.id, told)] if (status.value, told) in news else [])


def test_what_is_told_of_refunds_that_failed() -> None:
    before, after = a_payment(status=P.REFUNDED, refunded_cents=1000), a_payment(status=P.PAID)
    failed = [a_refund(1, 300, RefundStatus.DONE), a_refund(2, 200, RefundStatus.PENDING)]
    told = [
        (event.refund_id, event.amount_restored_cents)
        for event in payment_events.changes(before, after, failed, None, NOW)
        if isinstance(event, PaymentRefundFailed)
    ]
    assert told == [(UUID(int=1), 300), (UUID(int=2), 0), (None, 700)], "the rest was given back at the provider's"
    [only] = payment_events.changes(after, after, failed[1:], None, NOW)
    assert isinstance(only, PaymentRefundFailed)
    assert only.amount_restored_cents == 0


def test_which_refund_was_meant() -> None:
    open_one = a_refund(1, 300, RefundStatus.REQUESTED)
    over = a_refund(2, 200, RefundStatus.DONE)
    lost = a_refund(3, 100, RefundStatus.FAILED)
    assert same_wish([over, open_one], 300) == open_one
    assert same_wish([over, open_one], None) == open_one
    assert same_wish([over, open_one], 200) is None, "that one is over: this is another"
    assert last_counting([open_one, over, lost]) == over
    assert last_counting([lost]) is None
    assert open_one.key == f"refund-{open_one.id}"


@pytest.mark.parametrize("status", list(P))
def test_what_can_be_refunded(status: P) -> None:
    row = a_payment(status=status)
    if status in (P.PAID, P.PARTIALLY_REFUNDED, P.REFUNDED):
        refuse_refund(row)
    else:
        with pytest.raises(Conflict):
            refuse_refund(row)
    refuse_refund(msgspec.structs.replace(row, review_reason="paid twice"))
    with pytest.raises(Conflict):
        refuse_refund(msgspec.structs.replace(row, external_id=None, review_reason="paid twice"))
