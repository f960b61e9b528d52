"""Providers' own objects, as they may be shown: without what lets somebody pay, and under the caller's own word."""

import re
from typing import Any, Final
from uuid import UUID

#: A token of a card pays like the card.
_SECRET: Final = re.compile(r"token|secret|password|api_?key|encrypted|security_?code|cvv|ccv", re.I)
#: Where our id of the payment stands in an object of Asaas' and of PagBank's.
_REFERENCES: Final = ("externalReference", "reference_id")


def without_secrets(raw: Any) -> Any:
    """`raw` less every member whose name says that it is a secret."""
    if isinstance(raw, dict):
        return {key: without_secrets(value) for key, value in raw.items() if not _SECRET.search(key)}
    if isinstance(raw, list):
        return [without_secrets(value) for value in raw]
    return raw


def reference_in(raw: dict[str, Any]) -> UUID | None:
    """The id of ours that the object carries; None where it carries somebody else's word, or none."""
    for name in _REFERENCES:
        if isinstance(text := raw.get(name), str):
            try:
                found = UUID(text)
            except ValueError:
                return None
            return found if str(found) == text else None
    return None


def shown(raw: dict[str, Any], reference: str | None) -> dict[str, Any]:
    """An object that is ours at its provider, as whoever asked for it knows it: `reference` is their own word."""
    cleaned: dict[str, Any] = without_secrets(raw)
    return cleaned | {name: reference for name in _REFERENCES if name in raw}
