"""Lists, newest first, by pages."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from testkit.fake_stripe.errors import missing
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.world import Object, listed

BOUNDS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda created, bound: created > bound,
    "gte": lambda created, bound: created >= bound,
    "lt": lambda created, bound: created < bound,
    "lte": lambda created, bound: created <= bound,
}


def page(url: str, objects: Iterable[Object], params: Params, filters: Sequence[str] = ()) -> Object:
    """The objects that the query asks for, of `objects` from newest to oldest.

    `filters` are fields that must be equal to what is asked.
    """
    limit = params.integer("limit", least=1, most=100) or 10
    after, before = params.text("starting_after"), params.text("ending_before")
    wanted = {name: params.text(name) for name in filters}
    bounds = _read_bounds(params)
    params.done()
    found = [one for one in objects if _matches(one, wanted, bounds)]
    if after is not None:
        found = found[_place(found, after, "starting_after") + 1 :]
    elif before is not None:
        end = _place(found, before, "ending_before")
        return listed(url, found[max(end - limit, 0) : end], has_more=end > limit)
    return listed(url, found[:limit], has_more=len(found) > limit)


def _read_bounds(params: Params) -> dict[str, int]:
    created = params.child("created")
    if created is None:
        return {}
    given = {name: created.integer(name) for name in BOUNDS}
    return {name: bound for name, bound in given.items() if bound is not None}


def _matches(one: Object, wanted: dict[str, Any], bounds: dict[str, int]) -> bool:
    return all(value is None or one.get(name) == value for name, value in wanted.items()) and all(
        BOUNDS[name](one["created"], bound) for name, bound in bounds.items()
    )


def _place(found: list[Object], object_id: str, param: str) -> int:
    for index, one in enumerate(found):
        if one["id"] == object_id:
            return index
    raise missing("object", object_id, param)
