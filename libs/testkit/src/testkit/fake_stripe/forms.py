"""Stripe's request bodies: forms with nested names (`line_items[0][price]`), and its complaints about them."""

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from testkit.fake_stripe.errors import Refusal, invalid

MAX_METADATA_KEYS = 50
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def read_form(encoded: str) -> "Params":
    """The tree of parameters in a body or query."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid parameter name: {name}", name)
        keys = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        place = tree
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise invalid(f"Invalid {name}", name)
        place[keys[-1] or str(len(place))] = value
    return Params(tree, "")


class Params:
    """One level of the tree. What nobody has asked for when `done` is called is unknown to Stripe, and refused."""

    def __init__(self, tree: dict[str, Any], path: str) -> None:
        self._tree = tree
        self._path = path
        self._unread = dict(tree)
        self._children: list[Params] = []

    def name(self, key: str) -> str:
        """How a complaint names the parameter."""
        return f"{self._path}[{key}]" if self._path else key

    def __contains__(self, key: str) -> bool:
        return key in self._tree

    def text(self, key: str, *, max_length: int = 5000) -> str | None:
        """A string; an empty one is refused."""
        value = self._unread.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {value}", self.name(key))
        if not value:
            message = (
                f"You passed an empty string for '{self.name(key)}'. We assume empty values are an attempt to unset."
            )
            raise invalid(message, self.name(key), "parameter_invalid_empty")
        if len(value) > max_length:
            raise invalid(f"Invalid string: must be at most {max_length} characters", self.name(key))
        return value

    def unsettable(self, key: str) -> str | None:
        """A string, of which an empty one unsets what was there."""
        value = self._unread.pop(key, None)
        return None if value is None else str(value)

    def required(self, key: str) -> str:
        """A string that has to be there."""
        value = self.text(key)
        if value is None:
            name = self.name(key)
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        return value

    def url(self, key: str) -> str | None:
        """An absolute URL; `{CHECKOUT_SESSION_ID}` may stand in it."""
        value = self.text(key)
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc):
            raise invalid("Not a valid URL", self.name(key), "url_invalid")
        return value

    def email(self, key: str) -> str | None:
        """An address, roughly."""
        value = self.text(key, max_length=800)
        if value is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
            raise invalid(f"Invalid email address: {value}", self.name(key), "email_invalid")
        return value

    def choice(self, key: str, among: Collection[str]) -> str | None:
        """One of several words."""
        value = self.text(key)
        if value is not None and value not in among:
            raise invalid(f"Invalid {self.name(key)}: must be one of {', '.join(among)}", self.name(key))
        return value

    def integer(self, key: str, *, least: int = 0, most: int = 99_999_999_999) -> int | None:
        """A whole number within bounds."""
        value = self.text(key)
        if value is None:
            return None
        if not re.fullmatch(r"-?[0-9]{1,12}", value):
            raise invalid(f"Invalid integer: {value}", self.name(key), "parameter_invalid_integer")
        if not least <= int(value) <= most:
            raise invalid(f"Invalid {self.name(key)}: must be within {least} and {most}", self.name(key))
        return int(value)

    def flag(self, key: str) -> bool | None:
        """`true` or `false`."""
        value = self.text(key)
        if value not in (None, "true", "false"):
            raise invalid(f"Invalid boolean: {value}", self.name(key))
        return None if value is None else value == "true"

    def currency(self, key: str) -> str | None:
        """Three letters, in lower case."""
        value = self.text(key)
        if value is not None and not re.fullmatch(r"[a-zA-Z]{3}", value):
            raise invalid(f"Invalid currency: {value}.", self.name(key))
        return value.lower() if value else None

    def child(self, key: str) -> "Params | None":
        """A nested mapping."""
        value = self._unread.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise invalid("Invalid object", self.name(key))
        child = Params(value, self.name(key))
        self._children.append(child)
        return child

    def children(self, key: str) -> "list[Params]":
        """A list of mappings."""
        parent = self.child(key)
        if parent is None:
            return []
        found = [parent.child(index) for index in sorted(parent._tree, key=_index)]
        return [child for child in found if child is not None]

    def strings(self, key: str) -> list[str]:
        """A list of strings."""
        parent = self.child(key)
        return [parent.required(index) for index in sorted(parent._tree, key=_index)] if parent else []

    def metadata(self) -> dict[str, str] | None:
        """The caller's own pairs; an empty value unsets one."""
        given = self.child("metadata")
        if given is None:
            return None
        if len(given._tree) > MAX_METADATA_KEYS:
            raise invalid("You can only have 50 keys in metadata", "metadata")
        found = {key: given.unsettable(key) or "" for key in list(given._tree)}
        for key, value in found.items():
            if len(key) > 40 or len(value) > 500:
                raise invalid("Metadata keys have 40 characters at most, values 500", given.name(key))
        return found

    def done(self) -> None:
        """Refuses what nobody asked for."""
        for child in self._children:
            child.done()
        for key in self._unread:
            name = self.name(key)
            raise invalid(f"Received unknown parameter: {name}", name, "parameter_unknown")


def _index(key: str) -> int:
    if not key.isdecimal():
        raise Refusal(f"Invalid array index: {key}", is_kept=False)
    return int(key)
