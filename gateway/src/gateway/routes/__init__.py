"""The routing table: every route of the product, the service that owns it, and who may pass."""

from collections.abc import Mapping
from typing import Final

from gateway.routes import (
    admin_analytics,
    agents,
    billing,
    campaigns,
    credentials,
    mailer,
    notifications,
    provisioning,
    tenants,
)
from gateway.routes.row import Row

#: service -> its rows. A service that is not deployed answers 503 on each of them.
ROUTES: Final[Mapping[str, tuple[Row, ...]]] = {
    "billing": billing.ROWS,
    "admin-analytics": admin_analytics.ROWS,
    "credentials": credentials.ROWS,
    "notifications": notifications.ROWS,
    "mailer": mailer.ROWS,
    "tenants": tenants.ROWS,
    "agents": agents.ROWS,
    "provisioning": provisioning.ROWS,
    "campaigns": campaigns.ROWS,
}
