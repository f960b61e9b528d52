"""Asaas' webhooks: who may send them, and which object they are about."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from billing.asaas_api.states import moment
from billing.domain.providers import Notice, ObjectKind, SignatureRefused
from contracts.errors import Malformed

_EVENT: Final = re.compile(r"[A-Z][A-Z0-9_]{1,99}")
_EVENT_ID: Final = re.compile(r"[!-~]{1,200}")  # evt_05b708f961d739ea7eba7e4db318f621&368604920
_OBJECT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_REFERENCE: Final = 255

#: By an event's first word: where the body has its object, and what that is to us. What is not listed is stored and
#: answered all the same: an event that is refused would stop Asaas' whole queue.
_OBJECTS: Final[dict[str, tuple[str, ObjectKind]]] = {
    "PAYMENT": ("payment", "payment"),
    "SUBSCRIPTION": ("subscription", "subscription"),
    "CHECKOUT": ("checkout", "checkout"),
}


def verify_asaas(header: str | None, tokens: Sequence[str]) -> None:
    """Checks `asaas-access-token` against the tokens that we gave to Asaas; any will do, so that they can be rolled.

    It is a static secret, not a signature: the body proves nothing. Without a configured token everything is refused.
    Raises SignatureRefused.
    """
    known = [token.encode() for token in tokens if token]
    if not known:
        raise SignatureRefused("no webhook token is configured for Asaas")
    if not header:
        raise SignatureRefused("asaas-access-token is missing")
    given = header.encode("utf-8", "surrogatepass")
    # Each is compared, so that the time does not tell which one was near.
    matches = [hmac.compare_digest(given, token) for token in known]
    if True not in matches:
        raise SignatureRefused("asaas-access-token is wrong")


def read_asaas_event(raw: bytes) -> Notice:
    """What a delivery is about.

    Its own id names it, which a redelivery repeats; a body without one is named by its hash. Raises Malformed.
    """
    try:
        body: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("The body is not JSON.") from None
    if not isinstance(body, dict) or not isinstance(event := body.get("event"), str) or not _EVENT.fullmatch(event):
        raise Malformed("The body has no event.")
    event_id = body.get("id")
    if event_id is None:
        event_id = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    elif not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        raise Malformed("The event's id is not one of Asaas'.")
    field, kind = _OBJECTS.get(event.partition("_")[0], ("", "other"))
    found = body.get(field)
    object_id, reference = _named(found) if isinstance(found, dict) else (None, None)
    if kind == "payment" and object_id is None:
        raise Malformed("The event names no payment.")
    created = body.get("dateCreated")
    return Notice(
        event_id=event_id,
        type=event,
        kind=kind if object_id else "other",
        object_external_id=object_id,
        reference=reference,
        occurred_at=moment(created) if isinstance(created, str) else None,
    )


def _named(found: dict[str, Any]) -> tuple[str | None, str | None]:
    object_id, reference = found.get("id"), found.get("externalReference")
    if object_id is not None and not (isinstance(object_id, str) and _OBJECT_ID.fullmatch(object_id)):
        # It becomes part of an address when the object is fetched.
        raise Malformed("The object's id is not one of Asaas'.")
    # What is not printable (a NUL) is nothing that we gave, and nothing that a text column takes.
    is_ours = isinstance(reference, str) and 0 < len(reference) <= _MAX_REFERENCE and reference.isprintable()
    return object_id, reference if is_ours else None
