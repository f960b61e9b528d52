"""The text alternative of an HTML body: what a reader without HTML should see, links included."""

import re
from html import unescape

#: One tag, or a run of text. A `<` that opens no tag is text; `[^<>]*` keeps a body of nothing but `<` linear.
_PIECES = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*)>|<![^<>]*>|[^<]+|<")
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_SILENT = frozenset(("head", "style", "script", "title", "template", "noscript"))
_PARAGRAPHS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr"))
_LINES = frozenset(("div", "tr", "li", "section", "article", "header", "footer", "center", "dt", "dd", "br", "tbody"))
_CELLS = frozenset(("td", "th"))
_HOLD = "\x00"


def to_plain_text(html: str) -> str:
    """The text of `html`: blocks on their own lines, list items with a dash, a link's address after its words.

    Styles, scripts and comments are left out; the result ends in one line break unless it is empty.
    """
    writer = _Writer()
    at, end = 0, len(html)
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
            closing = re.compile(rf"</{name}\b[^<>]*>", re.IGNORECASE).search(html, at)
            # An unclosed <title> or <style> must not swallow the mail.
            at = closing.end() if closing else at
            continue
        writer.tag(name, closes=bool(piece.group(1)), attributes=piece.group(3))
    return writer.finished()


class _Writer:
    def __init__(self) -> None:
        self._out: list[str] = []
        self._link: tuple[str, int] | None = None

    def text(self, raw: str) -> None:
        self._out.append(_SPACES.sub(" ", unescape(raw) if "&" in raw else raw).replace(_HOLD, ""))

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
        elif name in _PARAGRAPHS:
            self._out.append(_HOLD * 2 + ("---" + _HOLD * 2 if name == "hr" else ""))
        elif name in _LINES:
            self._out.append(_HOLD)
            if name == "li" and not closes:
                self._out.append("- ")

    def _end_link(self) -> None:
        if self._link is None:
            return
        href, start = self._link
        self._link = None
        words = "".join(self._out[start:]).replace(_HOLD, " ").strip()
        target = href.removeprefix("mailto:").removeprefix("tel:")
        if target.startswith("#") or words in (href, target):
            return
        self._out.append(f" ({target})" if words else target)

    def finished(self) -> str:
        self._end_link()
        lines = [_SPACES.sub(" ", line).strip(" ") for line in "".join(self._out).split(_HOLD)]
        out: list[str] = []
        for line in lines:
            # Two breaks in a row make one empty line, more make no more.
            if line or (out and out[-1]):
                out.append(line)
        while out and not out[-1]:
            out.pop()
        return "\n".join(out) + "\n" if out else ""


def _attribute(pattern: re.Pattern[str], attributes: str) -> str:
    found = pattern.search(attributes)
    if found is None:
        return ""
    value = next((group for group in found.groups() if group is not None), "")
    return _SPACES.sub(" ", unescape(value)).strip()
