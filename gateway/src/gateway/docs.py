"""One OpenAPI page for the whole product, served offline: the services' own descriptions, as seen from outside."""

import asyncio
import re
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.errors import ServiceError, Unavailable
from gateway.access import ANONYMOUS
from gateway.identity import IdentityHeaders
from gateway.pages import Page, fixed
from gateway.proxy import Outgoing, fetch
from gateway.routes.row import Access, Row
from gateway.upstream.connection import ClientGone, ConnectionFailed
from gateway.upstream.pool import Upstream

_KEPT_S: Final = 30.0
_TIMEOUT_S: Final = 3.0
_MAX_BYTES: Final = 8 * 1024 * 1024
_VARIABLE: Final = re.compile(r"\{[^}]+\}")
_REF: Final = "#/components/schemas/"
_JSON: Final = b"application/json"

_HTML: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Back office API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"""
_START: Final = b"""window.onload = function () {
  window.ui = SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});
};
"""
#: Files of the swagger-ui-py distribution; its Python code is not used.
_ASSETS: Final = {
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "swagger-ui.css": b"text/css; charset=utf-8",
    "favicon-32x32.png": b"image/png",
}


class Docs:
    """Fetches the services' documents when asked, merges them, and keeps the result for half a minute."""

    def __init__(
        self,
        table: Mapping[str, tuple[Row, ...]],
        upstreams: Mapping[str, Upstream],
        identities: IdentityHeaders,
    ) -> None:
        self._table = table
        self._upstreams = upstreams
        self._identities = identities
        self._kept: tuple[float, bytes] | None = None

    def pages(self) -> dict[bytes, Page]:
        """/docs, /openapi.json and what the page loads: nothing from anywhere else."""
        pages: dict[bytes, Page] = {
            b"/docs": fixed(b"text/html; charset=utf-8", _HTML),
            b"/docs/start.js": fixed(b"text/javascript; charset=utf-8", _START),
            b"/openapi.json": self._document,
        }
        return pages | {b"/docs/" + name.encode(): _asset(name, kind) for name, kind in _ASSETS.items()}

    async def _document(self) -> tuple[int, bytes, bytes]:
        now = time.monotonic()
        if self._kept is None or now - self._kept[0] > _KEPT_S:
            services = list(self._upstreams)
            found = await asyncio.gather(*(self._of_service(service) for service in services))
            documents = dict(zip(services, found, strict=True))
            self._kept = (now, msgspec.json.encode(merge(self._table, documents)))
        return 200, _JSON, self._kept[1]

    async def _of_service(self, service: str) -> dict[str, Any] | None:
        """The service's own document, or None while it cannot be had."""
        upstream = self._upstreams[service]
        identity = self._identities.line(ANONYMOUS, None, service)
        head = b"GET /openapi.json" + upstream.request_line_end + identity
        request = Outgoing("GET", head, has_body=False, content_length=None, body_limit_bytes=0, timeout_s=_TIMEOUT_S)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                connection = await fetch(upstream, request, _never)
                try:
                    raw = b""
                    while part := await connection.read():
                        raw += part
                        if len(raw) > _MAX_BYTES:
                            return None
                finally:
                    upstream.release(connection)
            document = msgspec.json.decode(raw) if connection.status == 200 else None
        except (ServiceError, ConnectionFailed, ClientGone, TimeoutError, msgspec.DecodeError):
            return None
        return document if isinstance(document, dict) else None


def merge(table: Mapping[str, tuple[Row, ...]], documents: Mapping[str, dict[str, Any] | None]) -> dict[str, Any]:
    """One document of all operations that the table lets through, each under its service's name."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for service, document in documents.items():
        if document is None:
            continue
        prefix = service.replace("-", "_") + "."
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            schemas[prefix + name] = _renamed(schema, prefix)
        rows = {(method.lower(), shape(row.path)): row for row in table[service] for method in row.methods.split()}
        for path, item in document.get("paths", {}).items():
            for method, operation in item.items():
                row = rows.get((method, shape(path)))
                if row is not None and isinstance(operation, dict):
                    paths.setdefault(path, {})[method] = _described(_renamed(operation, prefix), service, row, prefix)
    absent = sorted(service for service in table if documents.get(service) is None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Back office",
            "version": "1",
            "description": "Not available at the moment: " + ", ".join(absent) + "." if absent else "",
        },
        "servers": [{"url": "/"}, {"url": "/api"}],
        "tags": [{"name": service} for service, document in documents.items() if document is not None],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "jwt"},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def shape(path: str) -> str:
    """A path template without the names of its variables, to compare two spellings of one."""
    return _VARIABLE.sub("{}", path.rstrip("/") or "/")


def _described(operation: dict[str, Any], service: str, row: Row, prefix: str) -> dict[str, Any]:
    access = row.policy.access
    security: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]
    if access is Access.API_KEY:
        security = [{"api_key": []}]
    elif access in (Access.PUBLIC, Access.WEBHOOK):
        security = []
    described = {**operation, "tags": [service], "security": security}
    described["x-access"] = row.policy.permission or str(access)
    if "operationId" in operation:
        described["operationId"] = prefix + str(operation["operationId"])
    if row.tenant_need != "none":
        schema = {"type": "string", "format": "uuid"}
        parameter = {"name": "x-tenant-id", "in": "header", "schema": schema, "required": False}
        described["parameters"] = [*operation.get("parameters", []), parameter]
    return described


def _renamed(value: Any, prefix: str) -> Any:
    """`value` with its references to schemas pointing at the service's own."""
    if isinstance(value, dict):
        return {
            key: _REF + prefix + inner[len(_REF) :]
            if key == "$ref" and isinstance(inner, str) and inner.startswith(_REF)
            else _renamed(inner, prefix)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_renamed(item, prefix) for item in value]
    return value


async def _never() -> dict[str, Any]:
    """The client of a request of our own, which does not leave."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets that event")


def _asset(name: str, content_type: bytes) -> Page:
    async def page() -> tuple[int, bytes, bytes]:
        spec = find_spec("swagger_ui")
        if spec is None or spec.origin is None:
            raise Unavailable("the documentation page is not installed", code="docs_absent")
        path = Path(spec.origin).parent / "static" / name
        return 200, content_type, await asyncio.to_thread(path.read_bytes)

    return page
