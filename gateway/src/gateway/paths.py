"""The one canonical spelling of a path; every other spelling is refused, so no two parts can read it differently."""

import re
from urllib.parse import unquote_to_bytes

from contracts.errors import Malformed
from gateway.refusals import UriTooLong

MAX_TARGET_BYTES = 8192

# A segment is made of characters that need no escape, except `;` (path parameters), and of upper-case escapes.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9\-_~!$&'()*+,=:@](?:[A-Za-z0-9\-._~!$&'()*+,=:@]*[A-Za-z0-9\-_~!$&'()*+,=:@])?)+")
_ESCAPED = re.compile(rb"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-F]{2})+)+")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")
_NEEDLESS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@")
_FORBIDDEN = frozenset(b"/\\%;")
_QUERY = re.compile(rb"[!-~]*")


def check_target(path: bytes, query: bytes) -> None:
    """Pass a path that is spelled canonically and a query of printable ASCII.

    Canonical: `/`, or segments without `//`, dot segments, a trailing slash or dot, `;` or a backslash. Escapes are in
    upper case, only for what needs one, never for a slash, a backslash, `%`, `;` or a control character; all is UTF-8.
    Raises Malformed, or UriTooLong over 8192 bytes.
    """
    if len(path) + len(query) > MAX_TARGET_BYTES:
        raise UriTooLong(f"path and query together may have {MAX_TARGET_BYTES} bytes")
    if query and (_QUERY.fullmatch(query) is None or b"#" in query):
        raise Malformed("the query holds characters that must be escaped", code="malformed_query")
    if path == b"/" or _PLAIN.fullmatch(path) is not None:
        return
    if _ESCAPED.fullmatch(path) is None or not _is_canonical(path):
        raise Malformed("the path is not in its canonical form", code="malformed_path")


def _is_canonical(path: bytes) -> bool:
    for escape in _ESCAPE.findall(path):
        byte = int(escape, 16)
        if byte < 0x20 or byte == 0x7F or byte in _FORBIDDEN or byte in _NEEDLESS:
            return False
    for segment in path[1:].split(b"/"):
        if segment.endswith(b"."):
            return False
        try:
            text = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            return False
        # U+0080 to U+009F are control characters too; U+2028 and its like break lines in logs and headers.
        if any(not char.isprintable() and char != " " for char in text):
            return False
        if text != text.strip():
            return False
    return True
