"""What the gateway reads from the environment."""

from typing import Literal

import msgspec

from chassis.settings import Port, Secret, SecretUrl


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """One field, one variable: `jwt_secret` is JWT_SECRET. Lists are separated by commas."""

    jwt_secret: Secret
    jwt_secret_previous: Secret | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_claim_subject: tuple[str, ...] = ("sub", "userId", "user_id")
    jwt_claim_tenant: tuple[str, ...] = ("tenant_id", "tenantId")
    jwt_claim_tenants: tuple[str, ...] = ("tenants", "tenant_ids")
    jwt_claim_roles: tuple[str, ...] = ("role", "roles")
    jwt_claim_permissions: tuple[str, ...] = ("permissions",)
    platform_admin_roles: tuple[str, ...] = ("superadmin", "super_admin", "platform_admin")
    internal_signing_key: Secret
    amqp_url: SecretUrl | None = None  # needed where there is a tenants service: roles, keys and revocations come by it
    admin_email: str | None = None  # who is told by mail when a service is away, fails or is slow
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()

    rate_limit_requests: int = 600
    rate_limit_anonymous_requests: int = 120
    rate_limit_webhook_requests: int = 6000
    rate_limit_window_s: float = 60.0

    upstream_billing: str | None = None
    upstream_admin_analytics: str | None = None
    upstream_credentials: str | None = None
    upstream_notifications: str | None = None
    upstream_mailer: str | None = None
    upstream_tenants: str | None = None
    upstream_agents: str | None = None
    upstream_provisioning: str | None = None
    upstream_campaigns: str | None = None
    upstream_connections: int = 128
    upstream_connect_s: float = 1.0
    upstream_connect_budget_s: float = 5.0
    upstream_idle_s: float = 30.0
    upstream_total_s: float = 300.0
    breaker_cool_down_s: float = 5.0

    host: str = "127.0.0.1"
    port: Port = 3001
    metrics_host: str = "127.0.0.1"
    metrics_port: Port
    environment: Literal["production", "local"] = "production"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otel_exporter_otlp_endpoint: str | None = None
    drain_wait_s: float = 2.0
    shutdown_grace_s: float = 15.0

    def __post_init__(self) -> None:
        if self.upstream_tenants and self.amqp_url is None:
            raise ValueError("AMQP_URL is missing: with a tenants service, revocations come by it")
