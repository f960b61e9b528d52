"""Stripe's webhooks: whether Stripe signed these bytes for us and now, and which object they are about.

Written by hand, because stripe 16's own verifier raises TypeError for a header outside ASCII and accepts any time in
the future; and because one small Struct is decoded here, not a tree of objects: this is the measured intake.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from billing.domain.providers import Notice, ObjectKind, SignatureRefused
from billing.stripe_api.shapes import Expandable, Timestamp, id_of, instant, reference_in

#: How far a signature's time may be from ours, either way (the SDK's DEFAULT_TOLERANCE, which looks at the past only).
TOLERANCE_S: Final = 300

#: While a secret is rolled Stripe signs with each live one; more than these are no header of Stripe's.
MAX_SIGNATURES: Final = 16


class _Object(msgspec.Struct):
    # What any object may have that says which one to look at. `id` is missing in a previewed invoice.
    id: str | None = None
    payment_intent: Expandable = None  # charges, disputes and refunds
    invoice: Expandable = None  # invoice payments; gone from charges with basil
    client_reference_id: str | None = None
    metadata: dict[str, str] | None = None


class _Data(msgspec.Struct):
    object: _Object


class Event(msgspec.Struct):
    """A Stripe event as far as it is read; `account` is set on those of a connected account."""

    id: str
    type: str
    data: _Data
    created: Timestamp | None = None
    livemode: bool | None = None
    account: str | None = None


class _Stranger(msgspec.Struct):
    # An event about an object of another kind than ours, or a thin one without any: stored, and nothing else.
    id: str
    type: str


_decoder: Final = msgspec.json.Decoder(Event)
_stranger_decoder: Final = msgspec.json.Decoder(_Stranger)

# By an event's type without its last word. Invoice payments, charges, disputes and refunds stand for another object.
_KINDS: Final[dict[str, ObjectKind]] = {
    "checkout.session": "checkout",
    "customer.subscription": "subscription",
    "invoice": "invoice",
    "invoice_payment": "invoice",
    "payment_intent": "payment",
    "charge": "payment",
    "charge.dispute": "payment",
    "charge.refund": "payment",
    "refund": "payment",
    "customer": "customer",
}


def verify_stripe(raw: bytes, header: str | None, secrets: Sequence[str], now: datetime) -> Notice:
    """What the body says, once one of `secrets` is known to have signed exactly these bytes within 300 s of `now`.

    `Stripe-Signature: t=<unix>,v1=<hex>[,v1=...]` over `"{t}.{body}"`; schemes other than v1 prove nothing.

    Raises SignatureRefused, and nothing else whatever the header or the body is.
    """
    stamp, signatures = _read_header(header)
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        raise SignatureRefused("the signature's time is more than 300 s from now")
    signed = stamp + b"." + raw
    is_genuine = False
    for secret in secrets:
        if secret:  # the HMAC of an empty key is one that everybody can make
            expected = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
            for signature in signatures:
                is_genuine |= hmac.compare_digest(expected, signature)
    if not is_genuine:
        raise SignatureRefused("no signature matches")
    return read_stripe_event(raw)


def read_stripe_event(raw: bytes) -> Notice:
    """Which object an event is about, without believing anything else of it.

    Raises SignatureRefused for a body that is no event: nobody signs one for us.
    """
    try:
        return notice_of(_decoder.decode(raw))
    except msgspec.ValidationError:
        return _read_stranger(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SignatureRefused("the body is not a Stripe event") from None


def notice_of(event: Event) -> Notice:
    """The same for an event that was read from Stripe's API."""
    kind, external_id = _subject(event)
    subject = event.data.object
    return Notice(
        event_id=event.id,
        type=event.type,
        kind=kind,
        object_external_id=external_id,
        reference=subject.client_reference_id or reference_in(subject.metadata),
        occurred_at=instant(event.created),
        livemode=event.livemode,
    )


def _read_stranger(raw: bytes) -> Notice:
    try:
        event = _stranger_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SignatureRefused("the body is not a Stripe event") from None
    return Notice(event_id=event.id, type=event.type, kind="other")


def _read_header(header: str | None) -> tuple[bytes, list[bytes]]:
    """The time as it was signed, and every v1 signature."""
    if not header or not header.isascii():
        raise SignatureRefused("there is no signature")
    stamps: list[str] = []
    signatures: list[bytes] = []
    for part in header.split(","):
        scheme, _, value = part.strip().partition("=")
        if scheme == "t":
            stamps.append(value)
        elif scheme == "v1":
            signatures.append(value.encode())
    if len(stamps) != 1 or not stamps[0].isdigit() or len(stamps[0]) > 12:
        raise SignatureRefused("the signature has no time")
    if not 0 < len(signatures) <= MAX_SIGNATURES:
        raise SignatureRefused("there is no v1 signature")
    return stamps[0].encode(), signatures


def _subject(event: Event) -> tuple[ObjectKind, str | None]:
    """The object that has to be fetched; `other` where there is none of ours."""
    if event.account is not None:
        return "other", None  # of a connected account, and we have none: our key does not see its objects
    subject, group = event.data.object, event.type.rpartition(".")[0]
    kind = _KINDS.get(group, "other")
    if kind == "payment" and group != "payment_intent":
        external_id = id_of(subject.payment_intent)  # what we know a payment by
    elif group == "invoice_payment":
        external_id = id_of(subject.invoice)
    else:
        external_id = subject.id
    return (kind, external_id) if kind != "other" and external_id else ("other", None)
