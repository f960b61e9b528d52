"""One OpenAPI page for the whole product, served offline: the services' own descriptions, as seen from outside."""

from collections.abc import Mapping

from gateway.edge import Page
from gateway.routes.row import Row
from gateway.upstream.pool import Upstream


class Docs:
    def __init__(self, table: Mapping[str, tuple[Row, ...]], upstreams: Mapping[str, Upstream]) -> None:
        pass

    def pages(self) -> dict[bytes, Page]:
        return {}
