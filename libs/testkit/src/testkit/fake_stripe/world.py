"""What the fake account holds: its objects, its events, its clock, and who made what under which key."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from testkit.fake_stripe.errors import missing

Object = dict[str, Any]
Shape = Literal["basil", "acacia"]

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class World:
    """Objects are kept in the shape since basil; names with a leading underscore never leave the fake."""

    def __init__(self, shape: Shape, now: Callable[[], datetime] | None = None) -> None:
        self.shape: Shape = shape
        self.now = now or (lambda: datetime.now(UTC))
        self.account_id = "acct_1Fake0Backoffice0"
        self.declines = False  # whether the banks say no to cards
        self.refunds_pend = False  # whether a refund is under way first, as with PIX
        self.events: list[Object] = []
        self.effects: Counter[tuple[str, str]] = Counter()
        self.on_event: Callable[[Object], None] = lambda _: None
        self.key: str | None = None  # of the request that is being answered
        self.request_id: str | None = None
        self._objects: dict[str, dict[str, Object]] = {}

    def seconds(self) -> int:
        """The fake's time, as Stripe writes it."""
        return int(self.now().timestamp())

    def new_id(self, prefix: str) -> str:
        """An id of Stripe's look."""
        return f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(24))}"

    def add(self, kind: str, prefix: str, fields: Object, *, object_id: str | None = None) -> Object:
        """A new object, counted under the key that made it."""
        made = {
            "id": object_id or self.new_id(prefix),
            "object": kind,
            "created": self.seconds(),
            "livemode": False,
            **fields,
        }
        self._objects.setdefault(kind, {})[made["id"]] = made
        self.effects[kind, self.key or ""] += 1
        return made

    def get(self, kind: str, object_id: str, param: str = "id") -> Object:
        """An object; refused as Stripe does when it is not there."""
        found = self._objects.get(kind, {}).get(object_id)
        if found is None:
            raise missing(kind, object_id, param)
        return found

    def find(self, kind: str, object_id: str | None) -> Object | None:
        """An object or None."""
        return self._objects.get(kind, {}).get(object_id or "")

    def all(self, kind: str, **matching: Any) -> Iterator[Object]:
        """Objects, newest first, with these fields."""
        for found in reversed(list(self._objects.get(kind, {}).values())):
            if all(found.get(name) == value for name, value in matching.items()):
                yield found

    def emit(self, type_: str, subject: Object, previous: Object | None = None) -> Object:
        """Records an event with the object as it is now."""
        data: Object = {"object": snapshot(subject)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "created": self.seconds(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": self.request_id, "idempotency_key": self.key},
            "type": type_,
        }
        self.events.append(event)
        self.on_event(event)
        return event


def snapshot(subject: Any) -> Any:
    """A copy that later changes do not reach."""
    if isinstance(subject, dict):
        return {name: snapshot(value) for name, value in subject.items()}
    if isinstance(subject, list):
        return [snapshot(value) for value in subject]
    return subject


def listed(url: str, data: list[Object], *, has_more: bool = False) -> Object:
    """A list as Stripe wraps it."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def merge_metadata(subject: Object, given: dict[str, str] | None) -> None:
    """Sets what is given and unsets what is empty."""
    for name, value in (given or {}).items():
        if value:
            subject["metadata"][name] = value
        else:
            subject["metadata"].pop(name, None)
