"""Lists in pages: a bounded number of rows, and an opaque cursor to read on with."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from billing.domain.identifiers import cursor_after, read_cursor

T = TypeVar("T")

Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Cursor = Annotated[str | None, QueryParameter(min_length=1, max_length=64)]


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Part of a list. `next_cursor` is null at its end."""

    data: list[T]
    next_cursor: str | None


def start_of(cursor: str | None) -> UUID | None:
    """The id that the page continues from, None for the first. Raises Invalid for a cursor that is not ours."""
    return None if cursor is None else read_cursor(cursor)


def page_of(rows: Sequence[Any], shown: Sequence[T], limit: int) -> Page[T]:
    """The page of `shown`, made from `rows`, of which one more than `limit` was read to see whether there are more."""
    return Page(data=list(shown[:limit]), next_cursor=cursor_after(rows[limit - 1].id) if len(rows) > limit else None)
