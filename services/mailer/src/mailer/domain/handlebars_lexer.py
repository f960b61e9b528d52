"""Handlebars source into tokens, by the rules of Handlebars 4's own lexer (handlebars.l)."""

import re
from typing import NoReturn

import msgspec

from contracts.errors import FieldError, Invalid

#: What JavaScript's `\s` matches; Python's differs (it lacks U+FEFF and has U+001C to U+001F and U+0085).
JS_SPACE = r"[\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
NOT_JS_SPACE = "[^" + JS_SPACE[1:]

_IDENTIFIER = re.compile(
    r"""[^\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff!"#%-,./;->@\[-\^`{-~]+"""
)
_AFTER_WORD = re.compile(rf"(?=[=~}}/.)|]|{JS_SPACE})")
_OPENINGS = (
    ("partial", re.compile(r"\{\{(~)?>")),
    ("partial", re.compile(r"\{\{(~)?#>")),
    ("open_block", re.compile(r"\{\{(~)?#(\*)?")),
    ("close_block", re.compile(r"\{\{(~)?/")),
    ("inverse", re.compile(rf"\{{\{{(~)?\^{JS_SPACE}*(~)?\}}\}}")),
    ("inverse", re.compile(rf"\{{\{{(~)?{JS_SPACE}*else{JS_SPACE}*(~)?\}}\}}")),
    ("open_inverse", re.compile(r"\{\{(~)?\^")),
    ("else_chain", re.compile(rf"\{{\{{(~)?{JS_SPACE}*else(?![A-Za-z0-9_])")),
    ("unescaped", re.compile(r"\{\{(~)?\{")),
    ("ampersand", re.compile(r"\{\{(~)?&")),
    ("long_comment", re.compile(r"\{\{(~)?!--")),
    ("comment", re.compile(r"\{\{(~)?!")),
    ("mustache", re.compile(r"\{\{(~)?(\*)?")),
)
_LITERALS = (
    ("true", re.compile(rf"true(?=[~}})]|{JS_SPACE})"), True),
    ("false", re.compile(rf"false(?=[~}})]|{JS_SPACE})"), False),
    ("undefined", re.compile(rf"undefined(?=[~}})]|{JS_SPACE})"), None),
    ("null", re.compile(rf"null(?=[~}})]|{JS_SPACE})"), None),
)
_NUMBER = re.compile(rf"-?[0-9]+(?:\.[0-9]+)?(?=[~}})]|{JS_SPACE})")
_STRING = re.compile(r'"((?:\\"|[^"])*)"|\'((?:\\\'|[^\'])*)\'')
_BRACKETS = re.compile(r"\[(?:\\\]|[^\]])*\]")
_CLOSE = re.compile(r"(~)?\}\}")
_CLOSE_UNESCAPED = re.compile(r"\}(~)?\}\}")
_AS = re.compile(rf"as{JS_SPACE}+\|")
_SPACES = re.compile(rf"{JS_SPACE}+")
_LINE_END = re.compile(r"\r\n?|\n")


class Segment(msgspec.Struct, frozen=True):
    """One part of a path; `literal` when it was written in brackets, so that `[this]` is a name."""

    name: str
    literal: bool


class Path(msgspec.Struct, frozen=True):
    """`a.b`, `../x`, `this`, `@index`: steps up, then names."""

    original: str
    names: tuple[str, ...]
    depth: int
    data: bool
    scoped: bool


class Literal(msgspec.Struct, frozen=True):
    """A string, number, boolean or nothing, written as an argument."""

    value: str | int | float | bool | None


class Tag(msgspec.Struct, frozen=True):
    """One `{{...}}`: its kind, its words, and whether `~` strips to its left and right."""

    kind: str
    words: tuple[Path | Literal, ...]
    offset: int
    strip_left: bool
    strip_right: bool


class Content(msgspec.Struct, frozen=True):
    """Text between tags."""

    text: str


class Lexer:
    """Reads one source once. Raises Invalid with line and column, under `field`, for whatever it cannot read."""

    def __init__(self, source: str, field: str) -> None:
        self._source = source
        self._field = field

    def refuse(self, message: str, offset: int) -> NoReturn:
        """Raise Invalid, saying where."""
        before = self._source[:offset]
        ends = list(_LINE_END.finditer(before))
        column = offset - (ends[-1].end() if ends else 0) + 1
        where = f"line {len(ends) + 1}, column {column}: {message}"
        raise Invalid(
            f"the Handlebars template cannot be taken: {where}",
            code="template_refused",
            errors=[FieldError(self._field, where)],
        )

    def tokens(self) -> list[Content | Tag]:
        """The source as content and tags, in order.

        Raises Invalid.
        """
        source, out, at = self._source, list[Content | Tag](), 0
        if "\x00" in source:
            self.refuse("a NUL character", source.index("\x00"))
        while at < len(source):
            found = source.find("{{", at)
            if found < 0:
                out.append(Content(source[at:]))
                break
            text, escaped = source[at:found], False
            if text.endswith("\\\\"):
                text = text[:-1]
            elif text.endswith("\\"):
                text, escaped = text[:-1], True
            if text:
                out.append(Content(text))
            if escaped:
                at = self._escaped_end(found)
                out.append(Content(source[found:at]))
            else:
                tag, at = self._tag(found)
                out.append(tag)
        return out

    def _escaped_end(self, start: int) -> int:
        # `\{{x}}` is text up to the next tag, or to the backslashes that stand before it.
        found = self._source.find("{{", start + 2)
        if found < 0:
            return len(self._source)
        for backslashes in ("\\\\", "\\"):
            if self._source.endswith(backslashes, start + 2, found):
                return found - len(backslashes)
        return found

    def _tag(self, start: int) -> tuple[Tag, int]:
        source = self._source
        if source.startswith("{{{{", start):
            self.refuse("raw blocks are not supported", start)
        for kind, pattern in _OPENINGS:
            opening = pattern.match(source, start)
            if opening is None:
                continue
            strip_left = opening.group(1) is not None
            if kind in ("long_comment", "comment"):
                return self._comment(kind, opening, strip_left)
            if kind == "partial":
                self.refuse("partials are not supported", start)
            if kind == "open_inverse":
                self.refuse("inverse sections are not supported; write {{#unless}}", start)
            if kind in ("open_block", "mustache") and opening.group(2):
                self.refuse("decorators are not supported", start)
            if kind == "inverse":
                return Tag(kind, (), start, strip_left, opening.group(2) is not None), opening.end()
            words, strip_right, end = self._words(opening.end(), kind)
            return Tag(kind, words, start, strip_left, strip_right), end
        raise AssertionError  # "mustache" matches every "{{"

    def _comment(self, kind: str, opening: re.Match[str], strip_left: bool) -> tuple[Tag, int]:
        source, start = self._source, opening.start()
        if kind == "long_comment":
            # `{{!--}}` ends with the dashes it begins with, as in Handlebars.
            closing = re.compile(r"--(~)?\}\}").search(source, start + 3 + strip_left)
        else:
            closing = re.compile(r"(~)?\}\}").search(source, opening.end())
        if closing is None:
            self.refuse("a comment that does not end", start)
        return Tag("comment", (), start, strip_left, closing.group(1) is not None), closing.end()

    def _words(self, at: int, kind: str) -> tuple[tuple[Path | Literal, ...], bool, int]:
        source, words = self._source, list[Path | Literal]()
        close = _CLOSE_UNESCAPED if kind == "unescaped" else _CLOSE
        while True:
            spaces = _SPACES.match(source, at)
            at = spaces.end() if spaces else at
            closing = close.match(source, at)
            if closing is not None:
                if kind != "unescaped" and _CLOSE_UNESCAPED.match(source, at):
                    self.refuse("unexpected '}'", at)
                return tuple(words), closing.group(1) is not None, closing.end()
            word, at = self._word(at)
            words.append(word)

    def _word(self, at: int) -> tuple[Path | Literal, int]:
        source = self._source
        if at >= len(source):
            self.refuse("a tag that does not end", at)
        if source[at] == "(":
            self.refuse("subexpressions are not supported", at)
        if source[at] in "\"'":
            text = _STRING.match(source, at)
            if text is None:
                self.refuse("a string that does not end", at)
            quote = source[at]
            return Literal(text.group()[1:-1].replace("\\" + quote, quote)), text.end()
        for _, pattern, value in _LITERALS:
            if (match := pattern.match(source, at)) is not None:
                return Literal(value), match.end()
        if (match := _NUMBER.match(source, at)) is not None:
            number = float(match.group())
            return Literal(int(number) if number.is_integer() else number), match.end()
        if _AS.match(source, at):
            self.refuse("block parameters are not supported", at)
        return self._path(at)

    def _path(self, start: int) -> tuple[Path, int]:
        source, at, data = self._source, start, False
        if source[at] == "@":
            data, at = True, at + 1
        segment, at = self._segment(at)
        original, segments = ("@" if data else "") + segment.name, [segment]
        while True:
            # A name may stand apart from its separator: `a . b` is not a path, but `a .b` and `a. b` are.
            spaces = _SPACES.match(source, at)
            next_at = spaces.end() if spaces else at
            if source[next_at : next_at + 1] not in (".", "/") or self._is_dots(next_at):
                break
            spaces = _SPACES.match(source, next_at + 1)
            segment, at = self._segment(spaces.end() if spaces else next_at + 1)
            original += source[next_at] + segment.name
            segments.append(segment)
        if source[at : at + 1] == "=" or (spaces and source[next_at : next_at + 1] == "="):
            self.refuse("named arguments are not supported", start)
        names, depth = list[str](), 0
        for segment in segments:
            if segment.literal or segment.name not in ("..", ".", "this"):
                names.append(segment.name)
            elif names:
                self.refuse(f"invalid path {original}", start)
            elif segment.name == "..":
                depth += 1
        if data and depth:
            self.refuse(f"{original}: data of outer blocks is not supported", start)
        scoped = re.search(r"^\.|this\b", original) is not None
        return Path(original, tuple(names), depth, data, scoped), at

    def _is_dots(self, at: int) -> bool:
        if self._source.startswith("..", at):
            return True
        return self._source[at] == "." and _AFTER_WORD.match(self._source, at + 1) is not None

    def _segment(self, at: int) -> tuple[Segment, int]:
        source = self._source
        if source.startswith("..", at):
            return Segment("..", False), at + 2
        if source.startswith(".", at) and _AFTER_WORD.match(source, at + 1):
            return Segment(".", False), at + 1
        if (bracketed := _BRACKETS.match(source, at)) is not None:
            name = re.sub(r"\\([\\\]])", r"\1", bracketed.group())[1:-1]
            return Segment(name, True), bracketed.end()
        if (word := _IDENTIFIER.match(source, at)) is not None and _AFTER_WORD.match(source, word.end()):
            return Segment(word.group(), False), word.end()
        if word is not None and word.end() == len(source):
            at = word.end()
        return self.refuse("a tag that does not end" if at >= len(source) else f"unexpected {source[at]!r}", at)
