"""The service's OpenAPI document: Litestar's own, plus what the chassis itself answers on every operation."""

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.routes import HTTPRoute
from litestar.serialization import encode_json

from chassis.problems import MEDIA_TYPE, Problem

_ALWAYS = {400: "Malformed", 401: "Not authenticated", 403: "Not allowed", 404: "Not found", 406: "Not acceptable"}
_ALWAYS |= {
    409: "The state does not allow it",
    422: "Refused values",
    429: "Too many requests",
    503: "Away for now; see Retry-After",
}
_WITH_BODY = {413: "Too large", 415: "Not JSON"}


def openapi_config(name: str) -> OpenAPIConfig:
    """What Litestar needs to know to describe the service."""
    return OpenAPIConfig(title=name, version="1", render_plugins=[], path="/openapi", use_handler_docstrings=True)


def openapi_json(app: Litestar) -> bytes:
    """The document, with the problems that any operation may answer."""
    document: dict[str, Any] = msgspec.json.decode(encode_json(app.openapi_schema.to_schema()))
    components = document.setdefault("components", {})
    # The bodies as the strict decoder sees them: Litestar leaves out that unknown fields are refused.
    bodies = [handler.parsed_data_field.annotation for handler in _handlers(app) if handler.parsed_data_field]
    _, schemas = msgspec.json.schema_components([Problem, *bodies], ref_template="#/components/schemas/{name}")
    components.setdefault("schemas", {}).update(schemas)
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    document["security"] = [{"bearer": []}]
    for item in document.get("paths", {}).values():
        for operation in item.values():
            if not isinstance(operation, dict):
                continue
            statuses = dict(_ALWAYS)
            if "requestBody" in operation:
                statuses |= _WITH_BODY
                _say_whether_required(operation["requestBody"])
            for status, description in statuses.items():
                responses = operation.setdefault("responses", {})
                responses[str(status)] = _response(description, responses.get(str(status), {}).get("content", {}))
    return msgspec.json.encode(document)


def _say_whether_required(body: dict[str, Any]) -> None:
    """A body that may be null may be missing; Litestar calls every one required."""
    body["required"] = not any(
        {"type": "null"} in media.get("schema", {}).get("oneOf", ()) for media in body["content"].values()
    )


def _handlers(app: Litestar) -> Iterator[HTTPRouteHandler]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from route.route_handlers


def _response(description: str, declared: dict[str, Any]) -> dict[str, Any]:
    """A problem, beside what the route declares it may say instead; JSON there is Litestar's own error, never sent."""
    content = {media: schema for media, schema in declared.items() if media != "application/json"}
    content[MEDIA_TYPE] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {"description": description, "content": content}
