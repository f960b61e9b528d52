"""Routes of the credentials vault (seed 000)."""

from typing import Final

from gateway.routes.row import PLATFORM_ADMIN, Row

ROWS: Final = (
    Row("POST", "/admin/credentials/stripe", PLATFORM_ADMIN),
    Row("GET POST", "/system/credentials", PLATFORM_ADMIN),
    Row("DELETE", "/system/credentials/{service_name}", PLATFORM_ADMIN),
)
