"""The text alternative of an HTML body: what a reader without HTML should see, links included."""

import re
from html import unescape

#: One tag, or a run of text. A `<` that opens no tag is text; `[^<>]*` keeps a body of nothing but `<` linear.
_PIECES = re.compile(
    r"""<(/?)([a-zA-Z][a-zA-Z0-9]*)([^<>"']*(?:(?:"[^"<]*"|'[^'<]*')[^<>"']*)*)>|<![^<>]*>|([^<]+|<)"""
)
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_SILENT = re.compile(r"<(?:!--|(head|style|script|title|template|noscript)\b[^<>]*>)", re.IGNORECASE)
_PARAGRAPHS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr"))
_LINES = frozenset(("div", "tr", "li", "section", "article", "header", "footer", "center", "dt", "dd", "tbody"))
_CELLS = frozenset(("td", "th"))
_KNOWN = _PARAGRAPHS | _LINES | _CELLS | {"a", "img", "br"}
#: Marks in the text under way: at least a new line, exactly one more line, an empty line between.
_NEW_LINE, _BREAK, _PARAGRAPH = "\x00", "\x01", "\x02"
_MARKS = re.compile("[\x00-\x02]")
_GAPS = re.compile("[\x00-\x02](?: ?[\x00-\x02])* ?")


def to_plain_text(html: str) -> str:
    """The text of `html`: blocks on their own lines, list items with a dash, a link's address after its words.

    Styles, scripts and comments are left out; the result ends in one line break unless it is empty.
    """
    writer = _Writer()
    for closes, name, attributes, text in _PIECES.findall(_spoken(_MARKS.sub("", html))):
        if text:
            writer.text(text)
        elif name and (name := name.lower()) in _KNOWN:
            writer.tag(name, closes=bool(closes), attributes=attributes)
    return writer.finished()


def _spoken(html: str) -> str:
    """Without comments, and without the elements whose content is not for reading."""
    out, at, unclosed = [], 0, set[str]()
    while (opening := _SILENT.search(html, at)) is not None:
        out.append(html[at : opening.start()])
        name = (opening.group(1) or "").lower()
        if not name:
            end = html.find("-->", opening.end())
            at = len(html) if end < 0 else end + 3
            continue
        closing = (
            None if name in unclosed else re.compile(rf"</{name}\b[^<>]*>", re.IGNORECASE).search(html, opening.end())
        )
        if closing is None:
            # An unclosed <title> or <style> must not swallow the mail, nor be looked for again and again.
            unclosed.add(name)
            at = opening.end()
        else:
            at = closing.end()
    return "".join(out) + html[at:]


def _closing(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}\b[^<>]*>", re.IGNORECASE)


class _Writer:
    def __init__(self) -> None:
        self._out: list[str] = []
        self._link: tuple[str, int] | None = None

    def text(self, raw: str) -> None:
        self._out.append(unescape(raw) if "&" in raw else raw)

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
        text = _GAPS.sub(_gap, _one_blank("".join(self._out))).replace(" \n", "\n").strip(" \n")
        return text + "\n" if text else ""


def _one_blank(text: str) -> str:
    # Ten times as fast as a pattern that matches every blank of the mail.
    for blank in "\t\r\n\f\v":
        text = text.replace(blank, " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def _gap(marks: re.Match[str]) -> str:
    return "\n\n" if _PARAGRAPH in marks.group() else "\n" * min(2, max(1, marks.group().count(_BREAK)))


def _attribute(pattern: re.Pattern[str], attributes: str) -> str:
    found = pattern.search(attributes)
    if found is None:
        return ""
    value = next((group for group in found.groups() if group is not None), "")
    return _one_blank(unescape(value)).strip()
