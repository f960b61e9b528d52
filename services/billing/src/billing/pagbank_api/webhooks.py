"""PagBank's webhooks: who sent them, and which object they are about."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any, Final, TypeGuard
from urllib.parse import parse_qs

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from billing.domain.providers import Notice, ObjectKind, SignatureRefused
from billing.pagbank_api.states import moment
from contracts.errors import Malformed

#: More values than these are no key roll but an attempt to keep us busy.
_MAX_SIGNATURES: Final = 8
_MAX_CHARGES: Final = 100
_MAX_REFERENCE: Final = 64
_OBJECT_ID: Final = re.compile(r"(ORDE|CHAR|CHEC)_[A-Za-z0-9-]{1,64}")
_STRANGER: Final = re.compile(r"[A-Z]{4}_[A-Za-z0-9-]{1,64}")
_STATUS: Final = re.compile(r"[A-Z_]{1,64}")
_NOTIFICATION: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_KINDS: Final[dict[str, ObjectKind]] = {"ORDE": "payment", "CHAR": "payment", "CHEC": "checkout"}
_TYPES: Final = {"ORDE": "order", "CHAR": "charge", "CHEC": "checkout"}


def verify_pagbank(
    raw: bytes,
    authenticity: str | None,
    payload_signatures: Sequence[str],
    *,
    token: str,
    public_keys: Sequence[bytes],
    sandbox_unsigned_allowed: bool,
) -> None:
    """Checks that PagBank sent `raw`: by either of the two schemes that it uses today.

    `x-authenticity-token` is the lower hex SHA-256 of `{account token}-{raw body}`; `x-payload-signature` (one or more
    values, or one with commas) the Base64 of an ECDSA signature with SHA-256 over the raw body, DER, good if any value
    verifies under any of `public_keys` (PEM or DER). The first is no MAC: whoever has seen one hash can extend its
    message, so that the state has to be fetched and compared before it counts.

    The sandbox is reported to sign nothing: only with `sandbox_unsigned_allowed` does a delivery without any signature
    pass. One that is there has to be right, there as well. Raises SignatureRefused.
    """
    signatures = [part.strip() for value in payload_signatures for part in value.split(",") if part.strip()]
    if not authenticity and not signatures:
        if sandbox_unsigned_allowed:
            return
        raise SignatureRefused("the delivery is not signed")
    if authenticity and _is_authentic(raw, authenticity, token):
        return
    if signatures and _is_signed(raw, signatures[:_MAX_SIGNATURES], public_keys):
        return
    if signatures and not public_keys and not authenticity:
        raise SignatureRefused("no public key of PagBank is known")
    raise SignatureRefused("no signature verifies")


def _is_authentic(raw: bytes, authenticity: str, token: str) -> bool:
    if not token:  # its hash would be anybody's to compute
        return False
    expected = hashlib.sha256(token.encode() + b"-" + raw).hexdigest().encode()
    return hmac.compare_digest(authenticity.strip().lower().encode("utf-8", "surrogatepass"), expected)


def _is_signed(raw: bytes, signatures: Sequence[str], public_keys: Sequence[bytes]) -> bool:
    keys = [key for pem_or_der in public_keys if (key := load_public_key(pem_or_der)) is not None]
    for signature in signatures:
        try:
            der = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            continue
        for key in keys:
            try:
                key.verify(der, raw, ec.ECDSA(SHA256()))
            except InvalidSignature:
                continue
            return True
    return False


def load_public_key(pem_or_der: bytes) -> ec.EllipticCurvePublicKey | None:
    """The elliptic-curve key in it, or None for anything else: a key that cannot be read verifies nothing."""
    try:
        load = load_pem_public_key if pem_or_der.lstrip().startswith(b"-----BEGIN") else load_der_public_key
        key = load(pem_or_der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def read_pagbank_event(raw: bytes, content_type: str | None) -> Notice:
    """What a delivery is about: an order, a bare charge, or a checkout that expired.

    PagBank's body is the object itself, without an id of the event. It is named by the hash of what makes it news: the
    ids, statuses, and amounts paid and refunded, so that the same news to two of our addresses, or again, is one event,
    and a second partial refund, which changes no status, is another. An order is its own parent: it is what the API
    fetches. The old form is read as far as its code; there is nothing to fetch it by. Raises Malformed.
    """
    if (content_type or "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        fields = parse_qs(raw.decode("utf-8", "replace"), max_num_fields=20) if raw.count(b"&") < 20 else {}
        return _old_notice({name: values[0] for name, values in fields.items()})
    try:
        body: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Malformed("The body is not an object.")
    object_id = body.get("id")
    if object_id is None:
        return _old_notice(body)
    if isinstance(object_id, str) and _STRANGER.fullmatch(object_id) and not _OBJECT_ID.fullmatch(object_id):
        # Of a kind that we do not use (a recurring payment's): stored, and nothing else.
        return Notice(event_id=f"sha256:{hashlib.sha256(raw).hexdigest()}", type="unknown", kind="other")
    if not isinstance(object_id, str) or not (named := _OBJECT_ID.fullmatch(object_id)):
        # It becomes part of an address when the object is fetched.
        raise Malformed("The object's id is not one of PagBank's.")
    reference, prefix = body.get("reference_id"), named[1]
    return Notice(
        event_id=f"sha256:{_news(body)}",
        type=f"{_TYPES[prefix]}.{_status(body)}",
        kind=_KINDS[prefix],
        object_external_id=object_id,
        parent_external_id=object_id if prefix == "ORDE" else None,
        reference=reference if _is_reference(reference) else None,
        occurred_at=_occurred_at(body),
    )


def _is_reference(found: object) -> TypeGuard[str]:
    # What is not printable (a NUL) is nothing that we gave, and nothing that a text column takes.
    return isinstance(found, str) and 0 < len(found) <= _MAX_REFERENCE and found.isprintable()


def _old_notice(fields: dict[str, Any]) -> Notice:
    code = fields.get("notificationCode")
    if not isinstance(code, str) or not _NOTIFICATION.fullmatch(code):
        raise Malformed("Missing notificationCode")  # word for word what seed 002's callers know
    return Notice(event_id=f"notification:{code}", type="notification", kind="other", object_external_id=code)


def _charges(body: dict[str, Any]) -> list[dict[str, Any]]:
    charges = body.get("charges")
    if not isinstance(charges, list):
        return []
    if len(charges) > _MAX_CHARGES:
        raise Malformed("The order has too many charges.")
    return [charge for charge in charges if isinstance(charge, dict)]


def _news(body: dict[str, Any]) -> str:
    facts = [
        (one.get("id"), one.get("status"), summary.get("paid"), summary.get("refunded"))
        for one in (body, *_charges(body))
        for amount in (one.get("amount"),)
        for found in (amount.get("summary") if isinstance(amount, dict) else None,)
        for summary in (found if isinstance(found, dict) else {},)
    ]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()


def _status(body: dict[str, Any]) -> str:
    charges = _charges(body)
    status = charges[-1].get("status") if charges else body.get("status")
    return status.lower() if isinstance(status, str) and _STATUS.fullmatch(status) else "unknown"


def _occurred_at(body: dict[str, Any]) -> Any:
    latest = _charges(body)[-1:] or [body]
    for name in ("paid_at", "created_at"):
        if isinstance(text := latest[0].get(name), str):
            return moment(text)
    return None
