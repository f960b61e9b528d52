"""The guard on every route of a service: parameters nobody declared, answers nobody can read, ids spelled oddly.

One guard, and a coroutine: Litestar copies the handler for each guard, and runs one that is no coroutine in a thread.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from litestar import Litestar, MediaType
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import HTTPRoute

from contracts.errors import FieldError, Invalid, Malformed, NotFound, ServiceError

AnyConnection = ASGIConnection[Any, Any, Any, Any]

#: (path template, method) -> declared query parameter -> whether it may repeat.
Queries = Mapping[tuple[str, str], Mapping[str, bool]]


class NotAcceptable(ServiceError):
    """The client reads none of what the operation writes."""

    status = 406
    default_code = "not_acceptable"
    title = "Not acceptable"


def declared_queries(app: Litestar) -> Queries:
    """What each route of `app` takes in its query, its dependencies' parameters included."""
    return {
        (route.path_format, method): {param.field_alias: param.is_sequence for param in model.expected_query_params}
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method, (_, model) in route.route_handler_map.items()
    }


def route_guard(declared: Callable[[], Queries]) -> Callable[[AnyConnection, BaseRouteHandler], Awaitable[None]]:
    """A guard that refuses what no route takes; `declared` is asked once requests come.

    It raises Malformed for a query parameter that is unknown or repeated, Invalid for U+0000 in one, NotAcceptable when
    the client reads no JSON and the route writes nothing else, and NotFound for `{uuid}`, `urn:uuid:` and the like,
    which Python's UUID would accept.
    """

    async def guard(connection: AnyConnection, handler: BaseRouteHandler) -> None:
        if connection.scope["query_string"]:
            template, method = connection.scope["path_template"], str(connection.scope.get("method"))
            _refuse_query(connection.scope["query_string"], declared().get((template, method), {}))
        _refuse_unacceptable(connection, handler)
        _refuse_odd_uuid(connection)

    return guard


def _refuse_query(query: bytes, known: Mapping[str, bool]) -> None:
    seen: set[str] = set()
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise Malformed("The query cannot be read.", code="malformed_query") from None
    for name, value in pairs:
        if name not in known:
            raise _bad(name, "unknown query parameter")
        if name in seen and not known[name]:
            raise _bad(name, "given more than once")
        if "\0" in value:
            raise Invalid(
                "A parameter is refused.",
                code="bad_parameter",
                errors=(FieldError(f"query.{name}", "U+0000 is refused"),),
            )
        seen.add(name)


def _refuse_unacceptable(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    accept = connection.headers.get("accept", "*/*").lower()
    media_type = getattr(handler, "media_type", "") or MediaType.JSON
    if "json" in media_type and not any(kind in accept for kind in ("*/*", "application/*", "json")):
        raise NotAcceptable("This operation answers application/json.")


def _refuse_odd_uuid(connection: AnyConnection) -> None:
    for value in connection.path_params.values():
        if isinstance(value, UUID) and str(value) not in connection.scope["path"].lower().split("/"):
            raise NotFound("Not found.")


def _bad(name: str, message: str) -> Malformed:
    shown = name.encode("ascii", "backslashreplace").decode()[:100]
    return Malformed("A parameter is refused.", code="bad_parameter", errors=(FieldError(f"query.{shown}", message),))
