"""Handlebars 4 templates as Jinja2 with the same output; what has no translation is refused where it stands.

Taken: `{{x}} {{a.b}} {{a/b}} {{../x}} {{[odd name]}} {{this}} {{{x}}} {{&x}}`, `#if #unless #each #with`, `else`,
`else if` (and `else each` and its kin), `@index @key @first @last @root`, comments, `~`, `\\{{`. It carries
the scopes as frames (`f0`, `f1`, ...) and leaves every look-up to the filters of `handlebars_runtime`, which follow
JavaScript.

Unlike Handlebars, a printed path that the data lacks is an error when the mail is rendered; one that is only tested,
looped over or entered is not. A key that is there and null prints nothing, as in Handlebars.
"""

import re
from collections.abc import Sequence
from typing import cast

import msgspec

from mailer.domain.handlebars_lexer import Content, Lexer, Literal, Path, Tag
from mailer.domain.handlebars_whitespace import Block, Comment, Mustache, Node, Strip, Text, strip_white_space

BLOCKS = frozenset(("if", "unless", "each", "with"))
_HELPERS = BLOCKS | {"log", "lookup", "helperMissing", "blockHelperMissing"}
_TESTS = {"if": "", "unless": "not "}
_DATA = frozenset(("index", "key", "first", "last"))
#: Python compiles at most 20 nested loops into one function; each #each and #with becomes one.
_DEEPEST = 16
_LONGEST_CHAIN = 64
#: Text that Jinja would read as its own, or whose carriage returns it would drop.
_NEEDS_QUOTES = re.compile(r"\{[{%#]|\{\Z|\r")


class Translation(msgspec.Struct, frozen=True):
    """Jinja source, and the top-level names of the data that the template uses."""

    jinja: str
    names: tuple[str, ...]


class _Scope(msgspec.Struct, frozen=True):
    root: bool
    label: str


def to_jinja(source: str, *, escape_html: bool, field: str = "body_html") -> str:
    """The Jinja source that prints what Handlebars would; `escape_html` is off for text such as a subject.

    Raises Invalid with line and column for what has no translation.
    """
    return translate(source, escape_html=escape_html, field=field).jinja


def translate(source: str, *, escape_html: bool, field: str = "body_html") -> Translation:
    """The Jinja source and the names it uses.

    Raises Invalid with line and column, under `field`.
    """
    lexer = Lexer(source, field)
    parser = _Parser(lexer)
    body = parser.program(0)
    strip_white_space(body)
    writer = _Writer(lexer, escape_html)
    writer.body(body, [_Scope(root=True, label="")])
    return Translation("".join(writer.out), tuple(sorted(writer.names)))


class _Parser:
    def __init__(self, lexer: Lexer) -> None:
        self._lexer = lexer
        self._tokens = lexer.tokens()
        self._at = 0

    def program(self, depth: int, opened: Tag | None = None) -> list[Node]:
        """Nodes up to the tag that ends them (`else` or a close), which stays unread; or to the end of the source."""
        body: list[Node] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if isinstance(token, Content):
                body.append(Text(token.text, token.text))
            elif token.kind in ("close_block", "inverse", "else_chain"):
                if opened is None:
                    self._lexer.refuse("a closing tag or an else without its block", token.offset)
                return body
            elif token.kind == "open_block":
                self._at += 1
                body.append(self._block(token, depth + 1))
                continue
            elif token.kind == "comment":
                body.append(Comment(_strip(token)))
            else:
                body.append(self._mustache(token))
            self._at += 1
        if opened is not None:
            self._lexer.refuse("a block that is not closed", opened.offset)
        return body

    def _mustache(self, tag: Tag) -> Mustache:
        if not tag.words:
            self._lexer.refuse("an empty tag", tag.offset)
        path = tag.words[0]
        if len(tag.words) > 1 or (isinstance(path, Path) and _is_helper(path)):
            self._lexer.refuse("helpers are not supported", tag.offset)
        if isinstance(path, Literal):
            self._lexer.refuse("a literal cannot be printed", tag.offset)
        self._check_data(path, tag)
        return Mustache(path, tag.kind == "mustache", _strip(tag), tag.offset)

    def _opening(self, tag: Tag) -> tuple[str, Path | Literal]:
        name = tag.words[0] if tag.words else None
        if not isinstance(name, Path) or name.original not in BLOCKS:
            shown = name.original if isinstance(name, Path) else ""
            self._lexer.refuse(f"block helper {shown!r} is not supported", tag.offset)
        if len(tag.words) != 2:
            self._lexer.refuse(f"#{name.original} takes exactly one argument", tag.offset)
        argument = tag.words[1]
        if isinstance(argument, Path):
            self._check_data(argument, tag)
        return name.original, argument

    def _check_data(self, path: Path, tag: Tag) -> None:
        if path.data and not (path.names[:1] == ("root",) or (len(path.names) == 1 and path.names[0] in _DATA)):
            self._lexer.refuse(f"{path.original} is not supported", tag.offset)

    def _block(self, opening: Tag, depth: int) -> Block:
        if depth > _DEEPEST:
            self._lexer.refuse(f"blocks nested deeper than {_DEEPEST}", opening.offset)
        name, argument = self._opening(opening)
        program = self.program(depth, opening)
        block = Block(name, argument, program, None, False, _strip(opening), Strip(), Strip(), opening.offset)
        self._inverses(block, depth, opening)
        close = cast("Tag", self._tokens[self._at])
        closed = close.words[0] if len(close.words) == 1 else None
        if close.kind != "close_block" or not isinstance(closed, Path) or closed.original != name:
            self._lexer.refuse(f"#{name} is closed by another tag", close.offset)
        self._at += 1
        block.close_strip = _strip(close)
        if block.chained and block.inverse is not None:
            block.inverse[0].close_strip = _strip(close)
        return block

    def _inverses(self, block: Block, depth: int, opening: Tag, links: int = 0) -> None:
        """Read `{{else}}` or a chain of `{{else if}}` into the block, up to the close, which stays unread."""
        tag = cast("Tag", self._tokens[self._at])
        if tag.kind == "close_block":
            return
        self._at += 1
        block.inverse_strip = _strip(tag)
        if tag.kind == "inverse":
            block.inverse = self.program(depth, opening)
            return
        if links == _LONGEST_CHAIN:
            self._lexer.refuse("a chain of else that is too long", tag.offset)
        name, argument = self._opening(tag)
        program = self.program(depth, opening)
        chained = Block(name, argument, program, None, False, _strip(tag), Strip(), Strip(), tag.offset)
        self._inverses(chained, depth, opening, links + 1)
        # As Handlebars' grammar has it: a link closes with the strip of its `else`, the first with the block's.
        chained.close_strip = chained.inverse_strip
        if chained.chained and chained.inverse is not None:
            chained.inverse[0].close_strip = chained.inverse_strip
        block.inverse, block.chained = [chained], True


class _Writer:
    def __init__(self, lexer: Lexer, escape_html: bool) -> None:
        self.out: list[str] = []
        self.names: set[str] = set()
        self._lexer = lexer
        self._escape_html = escape_html

    def body(self, body: Sequence[Node], scopes: list[_Scope]) -> None:
        frame = f"f{len(scopes) - 1}"
        for node in body:
            if isinstance(node, Text):
                self.out.append(_text(node.value))
            elif isinstance(node, Mustache):
                label, where = self._path(node.path, scopes)
                printed = "hb_html" if node.escaped and self._escape_html else "hb_text"
                self.out.append(f"{{{{ {frame}|{printed}({_quote(label)}, {where}) }}}}")
            elif isinstance(node, Block):
                self._block(node, scopes, frame)

    def _block(self, block: Block, scopes: list[_Scope], frame: str, *, keyword: str = "if") -> None:
        if isinstance(block.argument, Literal):
            label, where = "", f"-2, ({_constant(block.argument.value)},)"
        else:
            label, where = self._path(block.argument, scopes)
        if block.name in _TESTS:
            self.out.append(f"{{% {keyword} {_TESTS[block.name]}{frame}|hb_if({where}) %}}")
            self.body(block.program, scopes)
            closing = "{% endif %}"
            following = block.inverse[0] if block.chained and block.inverse else None
            if isinstance(following, Block) and following.name in _TESTS:
                # The chain stays flat: Python's indentation ends at 100 levels.
                self._block(following, scopes, frame, keyword="elif")
                return
        else:
            if len(scopes) > _DEEPEST:
                self._lexer.refuse(f"blocks nested deeper than {_DEEPEST}", block.offset)
            self.out.append(f"{{% for f{len(scopes)} in {frame}|hb_{block.name}({where}) %}}")
            inner = _Scope(root=False, label=f"{label}[]" if block.name == "each" else label)
            self.body(block.program, [*scopes, inner])
            closing = "{% endfor %}"
        if block.inverse is not None:
            self.out.append("{% else %}")
            self.body(block.inverse, scopes)
        self.out.append(closing)

    def _path(self, path: Path, scopes: list[_Scope]) -> tuple[str, str]:
        """What to call the path in an error, and the arguments that look it up at render."""
        where = f"{-1 if path.data else path.depth}, ({''.join(_quote(name) + ', ' for name in path.names)})"
        if path.data and path.names[0] != "root":
            return "", where
        names = path.names[1:] if path.data else path.names
        scope = scopes[0] if path.data or path.depth >= len(scopes) else scopes[-1 - path.depth]
        if scope.root and names:
            self.names.add(names[0])
        return ".".join(([scope.label] if scope.label else []) + list(names)) or "this", where


def _strip(tag: Tag) -> Strip:
    return Strip(tag.strip_left, tag.strip_right)


def _is_helper(path: Path) -> bool:
    # `{{log}}` calls the helper, `{{this.log}}` and `{{../log}}` print the value.
    return not path.data and not path.scoped and path.depth == 0 and len(path.names) == 1 and path.names[0] in _HELPERS


def _text(text: str) -> str:
    return f"{{{{ {_quote(text)} }}}}" if _NEEDS_QUOTES.search(text) else text


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'


def _constant(value: str | float | bool | None) -> str:
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else repr(value)
