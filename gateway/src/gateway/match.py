"""The compiled routing table: a canonical path to what answers it, at `/` and at `/api`."""

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

_MAX_REMEMBERED = 4096


class _Node(Generic[T]):
    __slots__ = ("fixed", "methods", "variable")

    def __init__(self) -> None:
        self.fixed: dict[bytes, _Node[T]] = {}
        self.variable: _Node[T] | None = None
        self.methods: dict[str, T] = {}


class Matcher(Generic[T]):
    """Finds what was added under a path template. A fixed segment beats a `{variable}` one."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        #: Paths found before, with their answers.
        self.remembered: dict[bytes, tuple[bytes, Mapping[str, T]]] = {}

    def add(self, method: str, template: str, value: T) -> None:
        """Answer `method` on `template` with `value`. Raises ValueError when it is taken or not a path."""
        if not template.startswith("/") or template.startswith("/api/"):
            raise ValueError(f"{template} must start with / and without the /api that is understood")
        node = self._root
        for segment in template[1:].encode().split(b"/"):
            if not segment:
                raise ValueError(f"{template} has an empty segment")
            if segment.startswith(b"{") and segment.endswith(b"}"):
                if node.variable is None:
                    node.variable = _Node()
                node = node.variable
            else:
                node = node.fixed.setdefault(segment, _Node())
        if method in node.methods:
            raise ValueError(f"{method} {template} is in the table twice")
        node.methods[method] = value

    def find(self, path: bytes) -> tuple[bytes, Mapping[str, T]] | None:
        """The path that goes upstream (without `/api`) and its methods, or None; `path` must be canonical."""
        found = self.remembered.get(path)
        if found is not None:
            return found
        inner = path[4:] if path.startswith(b"/api/") else path
        node = _walk(self._root, inner[1:].split(b"/"), 0)
        if node is None:
            return None
        if len(self.remembered) >= _MAX_REMEMBERED:
            self.remembered.clear()
        found = self.remembered[path] = (inner, node.methods)
        return found


def _walk(node: _Node[T], segments: list[bytes], depth: int) -> _Node[T] | None:
    if depth == len(segments):
        return node if node.methods else None
    below = node.fixed.get(segments[depth])
    found = _walk(below, segments, depth + 1) if below is not None else None
    if found is None and node.variable is not None and segments[depth]:
        found = _walk(node.variable, segments, depth + 1)
    return found
