"""Routes of push notifications (seed 000) and of the support inbox (seed 004)."""

from typing import Final

from gateway.routes.row import PLATFORM_ADMIN, USER, Row

ROWS: Final = (
    Row("POST", "/fcm-tokens", USER),
    Row("GET POST", "/admin/support-messages", PLATFORM_ADMIN),
)
