"""JSON bodies read once, strictly and within limits, so that no input becomes a 500.

A handler takes `data: CreateThing`, a `msgspec.Struct` declared with `forbid_unknown_fields=True` and bounds from
`msgspec.Meta`; it then sees valid UTF-8 JSON of the declared types only: no duplicate keys, NaN, U+0000, lone
surrogates, integers beyond 64 bits or nesting past 64. Another limit than 1 MiB is `request_max_body_size` on the
route. A webhook that needs the raw bytes awaits `request.body()` instead, and nothing here looks at them.
"""

import json
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State

from chassis.identity import Identity
from chassis.problems import field_error
from contracts.errors import FieldError, Invalid, Malformed, UnsupportedMedia

MAX_BODY_BYTES = 1_048_576
MAX_DEPTH = 64
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_SUSPECT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89aAbBcCdDeEfF])")
_INT64 = range(-(2**63), 2**63)


class StrictRequest(Request[Identity, Any, State]):
    """Litestar's request with `json()` replaced: Litestar's own converts leniently ("5" would pass for 5)."""

    __slots__ = ()

    async def json(self) -> Any:
        """The body as the type of the handler's `data`. Raises UnsupportedMedia, Malformed or Invalid."""
        field = self.route_handler.parsed_data_field
        refuse_media(self.scope["headers"])
        body = await self.body()
        refuse_json(body)
        try:
            return _decoder(field.annotation if field else Any).decode(body)
        except msgspec.ValidationError as error:
            raise Invalid("The body is refused.", errors=(field_error(str(error)),)) from None
        except msgspec.DecodeError:
            raise Malformed("The body is not valid JSON.", code="malformed_json") from None


def refuse_media(headers: Any) -> None:
    """Nothing, for exactly one Content-Type that is JSON in UTF-8, uncompressed. Raises UnsupportedMedia."""
    types = [value.decode("latin-1").lower() for name, value in headers if name == b"content-type"]
    codings = [value for name, value in headers if name == b"content-encoding" and value.strip().lower() != b"identity"]
    if codings:
        raise UnsupportedMedia("A compressed body is not read here.", code="unsupported_content_encoding")
    essence, _, parameters = (types[0] if len(types) == 1 else "").partition(";")
    is_json = essence.strip() == "application/json" or re.fullmatch(r"application/[\w.-]+\+json", essence.strip())
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters)
    if not is_json or (charset and charset[1] not in ("utf-8", "utf8")):
        raise UnsupportedMedia("The body must be sent once as Content-Type: application/json.")


def refuse_json(body: bytes) -> None:
    """Nothing, for JSON that every program reads alike and Postgres can store. Raises Malformed or Invalid."""
    if _too_deep(body):
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels, or not closed.", code="too_deep")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Malformed("The body is not valid UTF-8.", code="malformed_json") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=_int64, parse_float=_finite, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise Malformed("The body is not valid JSON.", code="malformed_json") from None
    if _SUSPECT_ESCAPE.search(text):
        for path, string in _strings(value, "$"):
            if "\0" in string or not _encodable(string):
                message = "U+0000 and lone surrogates are refused"
                raise Invalid("The body is refused.", code="unstorable_text", errors=(FieldError(path, message),))


def _too_deep(body: bytes) -> bool:
    # Only brackets are left, all as [ and ]; whether they match in kind is the parser's to say. Each pass in C removes
    # the innermost level: a loop over the characters would cost a second per megabyte.
    brackets = _STRINGS.sub(b"", body).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("An object in the body names one key twice.", code="duplicate_key")
    return found


def _int64(digits: str) -> int:
    if len(digits) > 20 or (value := int(digits)) not in _INT64:
        raise Invalid("A number in the body is beyond 64 bits.", code="number_out_of_range")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Invalid("A number in the body is out of range.", code="number_out_of_range")
    return value


def _no_constant(name: str) -> None:
    raise Malformed(f"{name} is not JSON.", code="malformed_json")


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield path, key
            yield from _strings(item, f"{path}.{key.encode('ascii', 'backslashreplace').decode()}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")


def _encodable(string: str) -> bool:
    try:
        string.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(512)
def _decoder(annotation: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(annotation)
