"""The wire form of an event: CloudEvents 1.0 in JSON, with the `tenantid` and `traceparent` extensions."""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from contracts.errors import Malformed
from contracts.event import Event, event_type

E = TypeVar("E", bound=Event)

CONTENT_TYPE = "application/cloudevents+json"
VERSION_HEADER = "x-version"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One CloudEvent. Attributes that we do not know are ignored, as the specification asks.

    `version` is the aggregate's, by which a reader drops what is stale. It travels as the message's header of that name
    (no attribute of a CloudEvent may be called so) and is None where a message has none.
    """

    specversion: str
    id: UUID
    source: str
    type: str
    time: datetime
    data: msgspec.Raw
    subject: str | None = None
    tenantid: UUID | None = None
    traceparent: str | None = None
    datacontenttype: str | None = None
    version: int | None = msgspec.field(default=None, name=VERSION_HEADER)


_decoder = msgspec.json.Decoder(Envelope)


def encode_event(
    event: Event,
    *,
    event_id: UUID,
    tenant_id: UUID | None,
    subject: str | None,
    time: datetime,
    traceparent: str | None,
    source: str,
) -> bytes:
    """The CloudEvent of `event` as UTF-8 JSON; `time` is aware, `source` is the publishing service's URI reference."""
    return msgspec.json.encode(
        Envelope(
            specversion="1.0",
            id=event_id,
            source=source,
            type=event_type(event),
            time=time,
            data=msgspec.Raw(msgspec.json.encode(event)),
            subject=subject,
            tenantid=tenant_id,
            traceparent=traceparent,
            datacontenttype="application/json",
        )
    )


def decode_envelope(raw: bytes) -> Envelope:
    """The CloudEvent in `raw`; its `data` is not looked into.

    Raises Malformed when it is not JSON, not a CloudEvent 1.0, or its id or tenant is not a UUID.
    """
    try:
        envelope = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"Not a CloudEvent: {error}", code="malformed_event") from error
    if envelope.specversion != "1.0":
        raise Malformed("Not a CloudEvent of version 1.0.", code="malformed_event")
    return envelope


def decode_data(envelope: Envelope, event: type[E]) -> E:
    """The event that `envelope` carries.

    Raises Malformed when `data` does not fit the event's fields or names another type.
    """
    try:
        return msgspec.json.decode(envelope.data, type=event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"Not a {envelope.type}: {error}", code="malformed_event") from error
