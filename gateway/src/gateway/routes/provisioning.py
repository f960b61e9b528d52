"""Routes of hosting (seed 003's SERVICE and SERVER; that seed names no paths, so these are ours)."""

from typing import Final

from gateway.routes.row import PLATFORM_ADMIN, Row, permission

ROWS: Final = (
    Row("GET", "/services", permission("hosting:read")),
    Row("GET", "/services/{id}", permission("hosting:read")),
    Row("GET POST", "/servers", PLATFORM_ADMIN),
    Row("GET PATCH DELETE", "/servers/{id}", PLATFORM_ADMIN),
)
