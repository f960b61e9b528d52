"""What every event is: immutable data under a versioned, past-tense type name."""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A fact that a service publishes; a subclass sets `tag="service.noun.verb_past.vN"`.

    Fields may be added with a default; anything else is a new version. Unknown fields are ignored by readers.
    """


def event_type(event: Event | type[Event]) -> str:
    """The type name of an event, for example `mailer.email.sent.v1`: the routing key and the CloudEvents `type`."""
    tag = event.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{event!r} has no event type")
    return tag


def exchange_of(type_name: str) -> str:
    """The topic exchange of an event type: its service's, `mailer.events` for `mailer.email.sent.v1`."""
    return type_name.split(".", 1)[0] + ".events"
