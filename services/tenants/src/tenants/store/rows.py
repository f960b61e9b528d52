"""Rows as JSON, both ways: `to_jsonb(row)` out, `jsonb_populate_record` in. No column is listed twice to go astray."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def read(kind: type[T], value: str | None) -> T | None:
    """The row that `to_jsonb` gave; None for no row."""
    return None if value is None else msgspec.json.decode(value, type=kind)


def read_all(kind: type[T], records: Iterable[Any]) -> list[T]:
    """The rows of a query whose only column is `to_jsonb(row)`."""
    return [msgspec.json.decode(record[0], type=kind) for record in records]


def write(row: msgspec.Struct) -> str:
    """The row for `jsonb_populate_record`."""
    return msgspec.json.encode(row).decode()
