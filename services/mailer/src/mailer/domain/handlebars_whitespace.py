"""A Handlebars program as a tree, and the white space that Handlebars 4 strips from it (whitespace-control.js)."""

import re
from typing import Any

import msgspec

from mailer.domain.handlebars_lexer import JS_SPACE, NOT_JS_SPACE, Literal, Path

_PREV = re.compile(rf"(?:^|{NOT_JS_SPACE})(?:(?!\n){JS_SPACE})*\n{JS_SPACE}*\Z")
_PREV_FIRST = re.compile(rf"^{JS_SPACE}*\Z")
_NEXT = re.compile(rf"{JS_SPACE}*?\r?\n")
_NEXT_LAST = re.compile(rf"{JS_SPACE}*?(\r?\n|\Z)")
_RIGHT_ALL = re.compile(rf"{JS_SPACE}+")
_RIGHT_LINE = re.compile(r"[ \t]*\r?\n?")
_LEFT_CHARS = "".join(char for char in map(chr, range(0x10000)) if re.match(JS_SPACE, char))


class Strip(msgspec.Struct):
    """`~` at the left and right edge of a tag."""

    left: bool = False
    right: bool = False


class Text(msgspec.Struct):
    """Content; `original` as written, `value` as stripped so far."""

    original: str
    value: str
    left_stripped: bool = False
    right_stripped: bool = False


class Mustache(msgspec.Struct):
    """A printed value."""

    path: Path
    escaped: bool
    strip: Strip
    offset: int


class Comment(msgspec.Struct):
    """Prints nothing, but may own its line."""

    strip: Strip


class Block(msgspec.Struct):
    """`{{#name argument}} program {{else}} inverse {{/name}}`; `chained` when the inverse is one `{{else if}}`."""

    name: str
    argument: Path | Literal
    program: list[Any]
    inverse: list[Any] | None
    chained: bool
    open_strip: Strip
    inverse_strip: Strip
    close_strip: Strip
    offset: int


Node = Text | Mustache | Comment | Block


def strip_white_space(body: list[Node], *, is_root: bool = True) -> None:
    """Strip, in place, around `~` and around tags that stand alone on a line."""
    for index, node in enumerate(body):
        if isinstance(node, Text):
            continue
        opens = closes = inline = False
        if isinstance(node, Block):
            opens, closes = _block(node)
            strip = Strip(node.open_strip.left, node.close_strip.right)
        else:
            strip, inline = node.strip, isinstance(node, Comment)
        previous = _is_prev_white(body, index, is_root)
        following = _is_next_white(body, index, is_root)
        if strip.right:
            _omit_right(body, index + 1, every=True)
        if strip.left:
            _omit_left(body, index - 1, every=True)
        if inline and previous and following:
            _omit_right(body, index + 1)
            _omit_left(body, index - 1)
        if isinstance(node, Block) and opens and previous:
            _omit_right(node.program, 0)
            _omit_left(body, index - 1)
        if isinstance(node, Block) and closes and following:
            _omit_right(body, index + 1)
            last = node.inverse if node.inverse is not None else node.program
            _omit_left(last, len(last) - 1)


def _block(block: Block) -> tuple[bool, bool]:
    strip_white_space(block.program, is_root=False)
    if block.inverse is not None:
        strip_white_space(block.inverse, is_root=False)
    program, first = block.program, block.inverse
    if block.inverse is not None and block.chained:
        first = block.inverse[0].program
    opens = _is_next_white(program, -1, False)
    closing = first if first is not None else program
    closes = _is_prev_white(closing, len(closing), False)
    if block.open_strip.right:
        _omit_right(program, 0, every=True)
    if first is not None:
        if block.inverse_strip.left:
            _omit_left(program, len(program) - 1, every=True)
        if block.inverse_strip.right:
            _omit_right(first, 0, every=True)
        if block.close_strip.left:
            _omit_left(first, len(first) - 1, every=True)
        if _is_prev_white(program, len(program), False) and _is_next_white(first, -1, False):
            _omit_left(program, len(program) - 1)
            _omit_right(first, 0)
    elif block.close_strip.left:
        _omit_left(program, len(program) - 1, every=True)
    return opens, closes


def _is_prev_white(body: list[Node], index: int, is_root: bool) -> bool:
    if index < 1:
        return is_root
    previous = body[index - 1]
    if not isinstance(previous, Text):
        return False
    if _PREV.search(previous.original):
        return True
    return index < 2 and is_root and _PREV_FIRST.match(previous.original) is not None


def _is_next_white(body: list[Node], index: int, is_root: bool) -> bool:
    if index + 1 >= len(body):
        return is_root
    following = body[index + 1]
    if not isinstance(following, Text):
        return False
    pattern = _NEXT if index + 2 < len(body) or not is_root else _NEXT_LAST
    return pattern.match(following.original) is not None


def _omit_right(body: list[Node], index: int, *, every: bool = False) -> None:
    text = body[index] if 0 <= index < len(body) else None
    if not isinstance(text, Text) or (not every and text.right_stripped):
        return
    match = (_RIGHT_ALL if every else _RIGHT_LINE).match(text.value)
    stripped = text.value[match.end() :] if match else text.value
    text.right_stripped = stripped != text.value
    text.value = stripped


def _omit_left(body: list[Node], index: int, *, every: bool = False) -> None:
    text = body[index] if 0 <= index < len(body) else None
    if not isinstance(text, Text) or (not every and text.left_stripped):
        return
    stripped = text.value.rstrip(_LEFT_CHARS if every else " \t")
    text.left_stripped = stripped != text.value
    text.value = stripped
