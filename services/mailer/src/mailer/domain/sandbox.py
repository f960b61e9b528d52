"""The Jinja that a mail may use: plain data, listed filters and tests, no call, no import, no way to an attribute.

The list is applied to the parsed tree when a template is saved, and again in the worker before it is compiled; the
environment refuses the same at run time. Two layers, because each has had its own escapes (CVE-2016-10745, 2019-10906,
2024-56326, 2025-27516).
"""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, cast

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import SandboxedEnvironment

from mailer.domain import handlebars_runtime

#: Filter -> most positional arguments. Left out: attr, map and its kin, format, xmlattr, safe, tojson, pprint, random.
FILTERS = {
    "abs": 0, "batch": 2, "capitalize": 0, "center": 1, "d": 2, "default": 2, "e": 0, "escape": 0, "first": 0,
    "float": 1,
    "indent": 3, "int": 2, "items": 0, "join": 1, "last": 0, "length": 0, "count": 0, "list": 0, "lower": 0, "max": 1,
    "min": 1, "replace": 3, "reverse": 0, "round": 2, "slice": 2, "sort": 2, "string": 0, "striptags": 0, "sum": 0,
    "title": 0, "trim": 1, "truncate": 4, "unique": 1, "upper": 0, "urlencode": 0, "wordcount": 0, "wordwrap": 4,
}  # fmt: skip
_KEYWORDS = frozenset(
    ("boolean", "case_sensitive", "default_value", "default", "precision", "method", "reverse", "length", "killwords",
     "end", "leeway", "width", "first", "blank", "d", "chars")
)  # fmt: skip
TESTS = frozenset(
    ("boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "greaterthan", "gt", "in",
     "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sequence",
     "string", "true", "undefined", "upper", "==", "!=", ">", ">=", "<", "<=")
)  # fmt: skip
#: What a translated Handlebars template calls instead.
HANDLEBARS_FILTERS: dict[str, Callable[..., Any]] = {
    "hb_html": handlebars_runtime.html,
    "hb_text": handlebars_runtime.text,
    "hb_if": handlebars_runtime.truthy,
    "hb_each": handlebars_runtime.each,
    "hb_with": handlebars_runtime.entered,
}
_LOOP = frozenset(
    ("index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "previtem", "nextitem")
)
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Tuple, nodes.List,
    nodes.Dict, nodes.Pair, nodes.If, nodes.For, nodes.Assign, nodes.CondExpr, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.Filter, nodes.Test, nodes.Not, nodes.And, nodes.Or, nodes.Compare, nodes.Operand, nodes.Concat,
    nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Keyword,
)  # fmt: skip
_SHOWN = {
    nodes.Call: "a call", nodes.Include: "include", nodes.Import: "import", nodes.FromImport: "import",
    nodes.Extends: "extends", nodes.Macro: "a macro", nodes.Block: "a block", nodes.CallBlock: "a call block",
    nodes.FilterBlock: "a filter block", nodes.AssignBlock: "a set block", nodes.With: "with", nodes.Pow: "**",
    nodes.ScopedEvalContextModifier: "autoescape",
}  # fmt: skip


class Unset(Undefined):
    """A name that the data lacks. Using it notes it as missing and goes on, so that all of them can be named."""

    __slots__ = ()

    @property
    def noted(self) -> list[str]:
        """Where this environment's missing names are kept."""
        # The list rides in the slot that Jinja keeps for a hint: a subclass of Undefined cannot add one of its own.
        return cast("list[str]", self._undefined_hint)

    @property
    def path(self) -> str:
        """The name as far as it is known."""
        return str(self._undefined_name)

    def note(self) -> "Unset":
        """Add the name to the missing ones."""
        if self.path not in self.noted:
            self.noted.append(self.path)
        return self

    def _fail(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        # What nothing sensible can be returned for ends the rendering; the name is noted all the same.
        self.note()
        raise UndefinedError

    __int__ = __float__ = __complex__ = __round__ = __index__ = __neg__ = __pos__ = __abs__ = _fail
    __lt__ = __le__ = __gt__ = __ge__ = __call__ = __getitem__ = _fail

    def __str__(self) -> str:
        self.note()
        return ""

    def __html__(self) -> str:
        return str(self)

    def __len__(self) -> int:
        self.note()
        return 0

    def __iter__(self) -> Iterator[Any]:
        self.note()
        return iter(())

    def __bool__(self) -> bool:
        self.note()
        return False

    def __eq__(self, other: object) -> bool:
        self.note()
        return False

    def __ne__(self, other: object) -> bool:
        self.note()
        return True

    def __hash__(self) -> int:
        self.note()
        return 0


class PlainDataEnvironment(SandboxedEnvironment):
    """Looks things up in dicts, lists and text only: no attribute of any object is ever read, no object ever called."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))

    def __init__(self, *, autoescape: bool, missing: list[str], handlebars: bool) -> None:
        super().__init__(autoescape=autoescape, keep_trailing_newline=True, optimized=False, finalize=_finalize)
        self.globals.clear()
        allowed = {name: self.filters[name] for name in FILTERS}
        self.filters = dict(HANDLEBARS_FILTERS) if handlebars else allowed
        self.tests = {name: test for name, test in self.tests.items() if name in TESTS}
        self._missing = missing
        self.undefined = self._unset  # type: ignore[assignment]  # Jinja only ever calls it

    def _unset(self, hint: Any = None, obj: Any = None, name: Any = None, exc: Any = None) -> Unset:
        return Unset(self._missing, obj, name)  # type: ignore[arg-type]  # see Unset.noted

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The item of that name: `order.items` is the data's, never a method."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A key of a dict, an index or slice of a list or text, a listed fact about the loop; else unset."""
        kind = type(obj)
        if kind is dict:
            if isinstance(argument, str | int | float) and argument in obj:
                return obj[argument]
        elif kind in (list, tuple) or isinstance(obj, str):
            if type(argument) is slice or (type(argument) is int and -len(obj) <= argument < len(obj)):
                return obj[argument]
        elif kind is LoopContext and argument in _LOOP:
            return getattr(obj, argument)
        if isinstance(obj, Unset):
            return Unset(obj.noted, None, f"{obj.path}.{argument}")  # type: ignore[arg-type]
        # The dot says that it was looked up in something, not at the top; the worker finds the whole path.
        return self._unset(None, obj, f".{argument}")

    def call(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raise SecurityError: there is nothing that a template may call."""
        raise SecurityError("calls are not allowed")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; `+` also joins text. `%` on text would be the format operator."""
        for operand in (left, right):
            if isinstance(operand, Unset):
                return operand.note()
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if numbers or (operator == "+" and isinstance(left, str) and isinstance(right, str)):
            return super().call_binop(context, operator, left, right)
        raise SecurityError(f"{operator} is for numbers")


def parse(source: str) -> nodes.Template:
    """The tree of a template, not compiled: nothing of it runs.

    Raises jinja2.TemplateSyntaxError.
    """
    return _PARSER.parse(source)


def problems_of(tree: nodes.Template, *, handlebars: bool = False) -> list[tuple[int, str]]:
    """What the tree uses and may not: line and words."""
    found: list[tuple[int, str]] = []
    for node in _walk(tree):
        problem = _problem(node, handlebars)
        if problem:
            found.append((node.lineno, problem))
    return found[:20]


def chains_of(tree: nodes.Template) -> list[str]:
    """The dotted paths that the tree reads, `user.name` and `user` alike."""
    return [chain for node in _walk(tree) if (chain := _chain(node)) is not None]


def _chain(node: nodes.Node) -> str | None:
    names: list[str] = []
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            names.append(node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            names.append(str(node.arg.value))
        else:
            return None
        node = node.node
    return ".".join([node.name, *reversed(names)])


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())


def _problem(node: nodes.Node, handlebars: bool) -> str | None:
    if not isinstance(node, _NODES):
        return f"{_SHOWN.get(type(node), type(node).__name__)} is not allowed"
    if isinstance(node, nodes.Filter):
        if handlebars:
            return None if node.name in HANDLEBARS_FILTERS else f"filter {node.name} is not allowed"
        if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
            return f"filter {node.name} is not allowed here"
        if node.name not in FILTERS or len(node.args) > FILTERS[node.name]:
            return f"filter {node.name} is not allowed" + (" with these arguments" if node.name in FILTERS else "")
        for keyword in node.kwargs:
            if keyword.key not in _KEYWORDS:
                return f"argument {keyword.key} of filter {node.name} is not allowed"
    if isinstance(node, nodes.Test) and (node.name not in TESTS or node.dyn_args or node.dyn_kwargs):
        return f"test {node.name} is not allowed"
    if isinstance(node, nodes.For) and node.recursive:
        return "a recursive loop is not allowed"
    name = node.attr if isinstance(node, nodes.Getattr) else node.name if isinstance(node, nodes.Name) else None
    if name is None and isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        name = node.arg.value
    if isinstance(name, str) and (name.startswith("_") or name in ("self", "caller", "varargs", "kwargs")):
        return f"the name {name} is not allowed"
    return None


def _finalize(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, Iterator | LoopContext):  # `{{ x|items }}`, `{{ loop }}`: their text is a memory address
        raise SecurityError("only plain data can be printed")
    return value


_PARSER = Environment(autoescape=True)

__all__ = ["FILTERS", "PlainDataEnvironment", "TemplateSyntaxError", "Unset", "chains_of", "parse", "problems_of"]
