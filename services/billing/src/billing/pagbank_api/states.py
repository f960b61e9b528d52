"""PagBank's objects read into our own words; its amounts are centavos already."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, TypeVar

import msgspec

from billing.domain.providers import Method, PaymentState, PaymentStatus
from contracts.errors import BadGateway

#: What PagBank's examples write their times in, and a time without an offset is taken for.
SAO_PAULO: Final = timezone(timedelta(hours=-3))

METHODS: Final = {
    "CREDIT_CARD": Method.CARD,
    "DEBIT_CARD": Method.DEBIT_CARD,
    "PIX": Method.PIX,
    "BOLETO": Method.BOLETO,
}

#: A status that PagBank adds later gives nothing away: it reads as pending.
_STATUSES: Final = {
    "WAITING": PaymentStatus.PENDING,
    "IN_ANALYSIS": PaymentStatus.PENDING,
    "AUTHORIZED": PaymentStatus.PENDING,
    "DECLINED": PaymentStatus.FAILED,
    "CANCELED": PaymentStatus.CANCELLED,
    "PAID": PaymentStatus.PAID,
    "AVAILABLE": PaymentStatus.PAID,
    "REFUNDED": PaymentStatus.REFUNDED,
}
_HELD: Final = (PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED)


class _Summary(msgspec.Struct, kw_only=True):
    paid: int | None = None
    refunded: int | None = None


class _Amount(msgspec.Struct, kw_only=True):
    value: int
    currency: str = "BRL"
    summary: _Summary | None = None


class _Pix(msgspec.Struct, kw_only=True):
    expiration_date: str | None = None
    end_to_end_id: str | None = None


class _PaymentMethod(msgspec.Struct, kw_only=True):
    type: str = ""
    pix: _Pix | None = None


class _PaymentResponse(msgspec.Struct, kw_only=True):
    message: str | None = None


class Link(msgspec.Struct, kw_only=True):
    """Where something can be fetched or paid: `rel` says what."""

    rel: str = ""
    href: str = ""
    media: str | None = None


class QrCode(msgspec.Struct, kw_only=True):
    """A PIX code: an order's `qr_codes[]`, or in the newer shape a charge's `qr_code`."""

    text: str | None = None
    expiration_date: str | None = None
    amount: _Amount | None = None
    links: list[Link] = []


class Charge(msgspec.Struct, kw_only=True):
    """One try to pay an order."""

    id: str
    status: str
    amount: _Amount
    reference_id: str | None = None
    paid_at: str | None = None
    payment_method: _PaymentMethod | None = None
    payment_response: _PaymentResponse | None = None
    qr_code: QrCode | None = None
    links: list[Link] = []


class Item(msgspec.Struct, kw_only=True):
    """What is sold, in an order or a checkout."""

    quantity: int = 1
    unit_amount: int = 0


class Order(msgspec.Struct, kw_only=True):
    """What is paid, by the codes and charges in it."""

    id: str
    reference_id: str | None = None
    items: list[Item] = []
    qr_codes: list[QrCode] = []
    charges: list[Charge] = []
    links: list[Link] = []


T = TypeVar("T")


def read(found: Any, kind: type[T]) -> T:
    """`found` as `kind`. Raises BadGateway when PagBank answered something else."""
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadGateway(f"PagBank answered an object that cannot be read: {error}") from None


def moment(text: str | None) -> datetime | None:
    """A time of PagBank's in UTC, None for what is none."""
    try:
        found = datetime.fromisoformat(text or "")
        return (found if found.tzinfo else found.replace(tzinfo=SAO_PAULO)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def the_charge(charges: Sequence[Charge]) -> Charge | None:
    """The charge that an order stands by: the first that is paid, else the first that was, else the last try."""
    for wanted in (_HELD, (PaymentStatus.REFUNDED,)):
        for charge in charges:
            if charge_status(charge) in wanted:
                return charge
    return charges[-1] if charges else None


def charge_status(charge: Charge) -> PaymentStatus:
    """Where one charge stands. PagBank says CANCELED both of one withdrawn unpaid and of one refunded whole."""
    status = _STATUSES.get(charge.status, PaymentStatus.PENDING)
    summary = charge.amount.summary or _Summary()
    if status is PaymentStatus.CANCELLED and (summary.refunded or summary.paid or charge.paid_at):
        return PaymentStatus.REFUNDED
    if status is PaymentStatus.PAID and summary.refunded:
        whole = summary.refunded >= charge.amount.value
        return PaymentStatus.REFUNDED if whole else PaymentStatus.PARTIALLY_REFUNDED
    return status


def charge_state(charge: Charge, raw: Mapping[str, object]) -> PaymentState:
    """A charge on its own in our words."""
    status = charge_status(charge)
    summary = charge.amount.summary or _Summary()
    is_paid = status in (*_HELD, PaymentStatus.REFUNDED)
    # What was paid is what counts, where it is told.
    amount_cents = min(charge.amount.value, summary.paid) if is_paid and summary.paid else charge.amount.value
    return PaymentState(
        external_id=charge.id,
        status=status,
        amount_cents=amount_cents,
        currency=charge.amount.currency,
        method=METHODS.get(charge.payment_method.type, Method.ANY) if charge.payment_method else Method.ANY,
        refunded_cents=amount_cents if status is PaymentStatus.REFUNDED else summary.refunded or 0,
        reference=charge.reference_id or None,
        paid_at=moment(charge.paid_at) if is_paid else None,
        end_to_end_id=charge.payment_method.pix.end_to_end_id
        if charge.payment_method and charge.payment_method.pix
        else None,
        failure_reason=charge.payment_response.message
        if status is PaymentStatus.FAILED and charge.payment_response
        else None,
        url=link(charge.links, "SELF", media="application/pdf"),
        raw=dict(raw),
    )


def order_state(raw: Mapping[str, object]) -> PaymentState:
    """An order in our words: its id and reference, and where the charge that it stands by is.

    Both shapes are read: `qr_codes[]` with charges that appear once it is paid, and `charges[]` of type PIX that wait.
    Raises BadGateway when it cannot be read.
    """
    order = read(raw, Order)
    charge = the_charge(order.charges)
    if charge is None:
        amount = next((code.amount for code in order.qr_codes if code.amount), None)
        return PaymentState(
            external_id=order.id,
            status=PaymentStatus.PENDING,
            amount_cents=amount.value if amount else sum(item.quantity * item.unit_amount for item in order.items),
            currency=amount.currency if amount else "BRL",
            method=Method.PIX if order.qr_codes else Method.ANY,
            reference=order.reference_id or None,
            raw=dict(raw),
        )
    found = charge_state(charge, raw)
    return msgspec.structs.replace(
        found, external_id=order.id, reference=order.reference_id or found.reference, raw=dict(raw)
    )


def qr_code(order: Order) -> tuple[QrCode, str | None] | None:
    """An order's PIX code in either shape, with the end that its charge gives it; None when it has none."""
    for code in order.qr_codes:
        if code.text:
            return code, code.expiration_date
    for charge in order.charges:
        if charge.qr_code and charge.qr_code.text:
            pix = charge.payment_method.pix if charge.payment_method else None
            code = msgspec.structs.replace(charge.qr_code, links=charge.qr_code.links or charge.links)
            return code, charge.qr_code.expiration_date or (pix.expiration_date if pix else None)
    return None


def link(links: Sequence[Link], rel: str, *, media: str | None = None) -> str | None:
    """The first address with that `rel`, and of that media type where one is asked for."""
    return next((one.href for one in links if one.rel == rel and (media is None or one.media == media)), None)
