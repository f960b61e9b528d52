"""What translated templates call while they render: scopes, look-ups, truth and printing as JavaScript has them.

One difference is meant: integers print exactly, also beyond 2**53, where JavaScript would print a rounded one.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"}
)


class Frame:
    """One scope: its context, the contexts around it (nearest first, itself included), and `@` data."""

    __slots__ = ("context", "data", "depths", "missing")

    def __init__(self, context: Any, depths: tuple[Any, ...], data: dict[str, Any], missing: list[str]) -> None:
        self.context = context
        self.depths = depths
        self.data = data
        self.missing = missing

    def __str__(self) -> str:
        return ""

    def inner(self, context: Any, data: dict[str, Any]) -> "Frame":
        """The scope of a block; one over the same context adds no step for `../`, as in Handlebars."""
        depths = self.depths if _loosely_equal(context, self.context) else (context, *self.depths)
        return Frame(context, depths, data, self.missing)


def root_frame(variables: dict[str, Any], missing: list[str]) -> Frame:
    """The outermost scope; paths that are printed and not there are added to `missing`."""
    return Frame(variables, (variables,), {"root": variables}, missing)


class _Absent:
    """JavaScript's undefined; null is None."""


_ABSENT: Final = _Absent()


def html(frame: Frame, label: str, depth: int, names: tuple[str, ...]) -> str:
    """`{{path}}`: printed and escaped exactly as Handlebars escapes."""
    return text(frame, label, depth, names).translate(_ESCAPES)


def text(frame: Frame, label: str, depth: int, names: tuple[str, ...]) -> str:
    """`{{{path}}}`: printed as it is. Effect: a path that is not there joins `missing`."""
    value = _look_up(frame, depth, names)
    if type(value) is str:
        return value
    if value is _ABSENT:
        if label and label not in frame.missing:
            frame.missing.append(label)
        return ""
    return js_string(value)


def truthy(frame: Frame, depth: int, names: tuple[Any, ...]) -> bool:
    """`#if`: false for what JavaScript calls falsy, and for an empty array."""
    value = _look_up(frame, depth, names)
    return value is not _ABSENT and (bool(value) or type(value) is dict)


def entered(frame: Frame, depth: int, names: tuple[Any, ...]) -> Iterator[Frame]:
    """`#with`: one scope, or none when the value is empty (0 is not)."""
    value = _look_up(frame, depth, names)
    is_number = type(value) is int or type(value) is float
    if value is not _ABSENT and (bool(value) or type(value) is dict or is_number):
        yield frame.inner(value, frame.data)


def each(frame: Frame, depth: int, names: tuple[Any, ...]) -> Iterator[Frame]:
    """`#each`: one scope per item of an array or property of an object; none for anything else."""
    value = _look_up(frame, depth, names)
    if type(value) is list:
        pairs: list[tuple[Any, Any]] = list(enumerate(value))
    elif type(value) is dict:
        pairs = _in_js_order(value)
    else:
        return
    last = len(pairs) - 1
    for index, (key, item) in enumerate(pairs):
        yield frame.inner(item, {**frame.data, "key": key, "index": index, "first": index == 0, "last": index == last})


def js_string(value: Any) -> str:
    """`'' + value` in JavaScript, with null and undefined as nothing."""
    if type(value) is str:
        return value
    if value is None or value is _ABSENT:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return _js_number(value)
    if type(value) is list:
        return ",".join(map(js_string, value))
    return "[object Object]"


def _js_number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        # Both languages choose the shortest digits that read back; only the notation differs.
        shown = format(Decimal(repr(value)), "f")
        return shown.removesuffix(".0")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def _look_up(frame: Frame, depth: int, names: tuple[Any, ...]) -> Any:
    """Depth -1 starts at the `@` data; -2 means that `names` holds a literal."""
    if depth == 0:
        value = frame.context
    elif depth > 0:
        value = frame.depths[depth] if depth < len(frame.depths) else _ABSENT
    elif depth == -1:
        value = frame.data
    else:
        return names[0]
    for name in names:
        if type(value) is dict:
            value = value.get(name, _ABSENT)
        elif type(value) is list or type(value) is str:
            value = _own_property(value, name)
        else:
            return _ABSENT
    return value


def _own_property(value: list[Any] | str, name: str) -> Any:
    if type(value) is str:
        units = value.encode("utf-16-le", "surrogatepass")
        if name == "length":
            return len(units) // 2
        if _is_index(name) and int(name) < len(units) // 2:
            return units[2 * int(name) : 2 * int(name) + 2].decode("utf-16-le", "replace")
        return _ABSENT
    if name == "length":
        return len(value)
    return value[int(name)] if _is_index(name) and int(name) < len(value) else _ABSENT


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 10 and (name == "0" or name[0] != "0")


def _in_js_order(value: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Object.keys: array indices ascending, then the others as they were added."""
    indices = sorted((key for key in value if _is_index(key) and int(key) < 2**32 - 1), key=int)
    if not indices:
        return list(value.items())
    first = set(indices)
    return [(key, value[key]) for key in indices] + [pair for pair in value.items() if pair[0] not in first]


def _loosely_equal(left: Any, right: Any) -> bool:
    """JavaScript's `==`, for what JSON can hold."""
    if type(left) in (dict, list) or type(right) in (dict, list) or left is None or right is None:
        return left is right
    if type(left) is str and type(right) is str:
        return left == right
    return _js_to_number(left) == _js_to_number(right)


def _js_to_number(value: str | float) -> float:
    if not isinstance(value, str):
        return float(value)
    try:
        return float(value) if value.strip() else 0.0
    except ValueError:
        return float("nan")
