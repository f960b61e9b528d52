"""The text alternative of an HTML body: what a reader without HTML should see, links included."""

import re
from html import unescape

#: One tag, or a run of text. A `<` that opens no tag is text; `[^<>]*` keeps a body of nothing but `<` linear.
_PIECES = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*)>|<![^<>]*>|[^<]+|<")
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_SILENT = frozenset(("head", "style", "script", "title", "template", "noscript"))
_CLOSINGS = {name: re.compile(rf"</{name}\b[^<>]*>", re.IGNORECASE) for name in _SILENT}
_PARAGRAPHS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr"))
_LINES = frozenset(("div", "tr", "li", "section", "article", "header", "footer", "center", "dt", "dd", "tbody"))
_CELLS = frozenset(("td", "th"))
#: Marks in the text under way: at least a new line, exactly one more line, an empty line between.
_NEW_LINE, _BREAK, _PARAGRAPH = "\x00", "\x01", "\x02"
_MARKS = re.compile("[\x00-\x02]")
_GAPS = re.compile(" ?[\x00-\x02](?: ?[\x00-\x02])* ?")


def to_plain_text(html: str) -> str:
    """The text of `html`: blocks on their own lines, list items with a dash, a link's address after its words.

    Styles, scripts and comments are left out; the result ends in one line break unless it is empty.
    """
    writer = _Writer()
    at, end = 0, len(html)
    unclosed: set[str] = set()
    while at < end:
        if html.startswith("<!--", at):
            comment_end = html.find("-->", at + 4)
            at = end if comment_end < 0 else comment_end + 3
            continue
        piece = _PIECES.match(html, at)
        assert piece is not None  # every character is text, a tag or a lone "<"
        at = piece.end()
        name = piece.group(2)
        if name is None:
            if not piece.group().startswith("<!"):
                writer.text(piece.group())
            continue
        name = name.lower()
        if name in _SILENT and not piece.group(1):
            closing = None if name in unclosed else _CLOSINGS[name].search(html, at)
            if closing is None:
                # An unclosed <title> or <style> must not swallow the mail, nor be looked for again and again.
                unclosed.add(name)
            at = closing.end() if closing else at
            continue
        writer.tag(name, closes=bool(piece.group(1)), attributes=piece.group(3))
    return writer.finished()


class _Writer:
    def __init__(self) -> None:
        self._out: list[str] = []
        self._link: tuple[str, int] | None = None

    def text(self, raw: str) -> None:
        self._out.append(_MARKS.sub("", _SPACES.sub(" ", unescape(raw) if "&" in raw else raw)))

    def tag(self, name: str, *, closes: bool, attributes: str) -> None:
        if name == "a":
            self._end_link()
            href = _attribute(_HREF, attributes)
            if not closes and href:
                self._link = (href, len(self._out))
        elif name == "img":
            self.text(_attribute(_ALT, attributes))
        elif name in _CELLS:
            self._out.append(" " if closes else "")
        elif name == "br":
            self._out.append(_BREAK)
        elif name in _PARAGRAPHS:
            self._out.append(_PARAGRAPH + ("---" + _PARAGRAPH if name == "hr" else ""))
        elif name in _LINES:
            self._out.append(_NEW_LINE)
            if name == "li" and not closes:
                self._out.append("- ")

    def _end_link(self) -> None:
        if self._link is None:
            return
        href, start = self._link
        self._link = None
        words = _MARKS.sub(" ", "".join(self._out[start:])).strip()
        target = href.removeprefix("mailto:").removeprefix("tel:")
        if target.startswith("#") or words in (href, target):
            return
        self._out.append(f" ({target})" if words else target)

    def finished(self) -> str:
        self._end_link()
        text = _GAPS.sub(_gap, _SPACES.sub(" ", "".join(self._out))).strip(" \n")
        return text + "\n" if text else ""


def _gap(marks: re.Match[str]) -> str:
    return "\n\n" if _PARAGRAPH in marks.group() else "\n" * min(2, max(1, marks.group().count(_BREAK)))


def _attribute(pattern: re.Pattern[str], attributes: str) -> str:
    found = pattern.search(attributes)
    if found is None:
        return ""
    value = next((group for group in found.groups() if group is not None), "")
    return _SPACES.sub(" ", unescape(value)).strip()
