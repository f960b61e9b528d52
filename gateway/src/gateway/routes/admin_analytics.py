"""Routes of statistics: the platform's (seed 000) and a tenant's own figures and reports (seed 001)."""

from typing import Final

from gateway.routes.row import PLATFORM_ADMIN, Row, permission

ROWS: Final = (
    Row("GET", "/admin/stats", PLATFORM_ADMIN),
    Row("GET", "/admin/revenue", PLATFORM_ADMIN),
    Row("GET", "/admin/subscriptions-by-plan", PLATFORM_ADMIN),
    Row("GET", "/financeiro/mrr", permission("finance:read"), "named"),
    Row("GET", "/financeiro/retencao-churn", permission("finance:read"), "named"),
    Row("GET", "/financeiro/upsell", permission("finance:read"), "named"),
    Row("GET", "/financeiro/kpis", permission("finance:read"), "named"),
    Row("GET", "/dashboard/kpis", permission("reports:read"), "named"),
    Row("GET", "/dashboard/graficos-combo", permission("reports:read"), "named"),
    Row("GET", "/relatorios/detalhados", permission("reports:read"), "named", timeout_s=60),
    Row("POST", "/relatorios/exportar", permission("reports:export"), "named", timeout_s=120),
)
