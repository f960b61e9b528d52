"""Messages as the bus hands them out and takes them, and the headers in which it keeps its own counts."""

import hashlib
import struct
from typing import Any, Final

import msgspec
from aiormq.abc import DeliveredMessage
from pamqp import encode
from pamqp.commands import Basic

#: How often handling has failed so far; ours, because brokers disagree on x-death and x-delivery-count.
ATTEMPTS_HEADER: Final = "x-attempts"
REASON_HEADER: Final = "x-reason"
STACK_HEADER: Final = "x-stack-hash"
DEATH_HEADER: Final = "x-dead-letter-id"
OWN_HEADERS: Final = frozenset({ATTEMPTS_HEADER, REASON_HEADER, STACK_HEADER, DEATH_HEADER, "x-death"})

_COUNT_CAP: Final = 1_000_000


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message to publish, persistent and mandatory. `exchange` "" is the default exchange."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None = None
    content_type: str | None = None
    message_type: str | None = None
    app_id: str | None = None
    headers: dict[str, Any] = {}


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery. `attempts` counts earlier failures; `key` names the message for the count of deaths."""

    queue: str
    body: bytes
    delivery_tag: int
    key: bytes
    attempts: int = 0
    message_id: str | None = None
    content_type: str | None = None
    message_type: str | None = None
    app_id: str | None = None
    headers: dict[str, Any] = {}
    #: Properties that are no AMQP; the body is as it was sent.
    unreadable: bool = False


def properties_of(message: Outgoing) -> Basic.Properties:
    """The AMQP properties of a persistent message."""
    return Basic.Properties(
        delivery_mode=2,
        message_id=message.message_id,
        content_type=message.content_type,
        message_type=message.message_type,
        app_id=message.app_id,
        headers=message.headers,
    )


def incoming(queue: str, delivered: DeliveredMessage) -> Incoming:
    """The delivery in our terms; whatever a stranger put into its headers does not make this fail."""
    properties = delivered.header.properties
    headers = dict(properties.headers or {})
    attempts = headers.get(ATTEMPTS_HEADER)
    return Incoming(
        queue=queue,
        body=delivered.body,
        delivery_tag=delivered.delivery_tag or 0,
        key=message_key(properties.message_id, delivered.body),
        attempts=min(max(attempts, 0), _COUNT_CAP) if type(attempts) is int else 0,
        message_id=properties.message_id or None,
        content_type=properties.content_type,
        message_type=properties.message_type,
        app_id=properties.app_id,
        headers=headers,
        unreadable=properties.user_id == "",
    )


def message_key(message_id: str | None, body: bytes) -> bytes:
    """What names a message in `deliveries`."""
    return hashlib.sha256(b"id:" + message_id.encode() if message_id else b"body:" + body).digest()


def forwarded(message: Incoming, routing_key: str, headers: dict[str, Any]) -> Outgoing:
    """The same message for another queue, with `headers` instead of the counts it had."""
    kept = {name: _sendable(name, value) for name, value in message.headers.items() if name not in OWN_HEADERS}
    return Outgoing(
        exchange="",
        routing_key=routing_key,
        body=message.body,
        message_id=message.message_id,
        content_type=message.content_type,
        message_type=message.message_type,
        app_id=message.app_id,
        headers={**kept, **headers},
    )


def _sendable(name: str, value: Any) -> Any:
    """`value`, or in words what can be received and not sent, such as text that is not UTF-8."""
    try:
        encode.field_table({name: value})
    except (TypeError, ValueError, OverflowError, struct.error):
        return repr(value)[:200]
    return value
