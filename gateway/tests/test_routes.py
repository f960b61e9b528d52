"""The routing table: a policy for every row, all rows of the seeds, and every route of the services that exist."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar

from chassis.identity import PermissionGuard
from chassis.openapi import openapi_json
from gateway.docs import merge, shape
from gateway.policy import ALL_PERMISSIONS, ROLE_PERMISSIONS, permissions_of, rows_of
from gateway.routes import ROUTES
from gateway.routes.row import PUBLIC, Access, Policy, Row
from testkit.tokens import new_key_pair

SERVICES = Path(__file__).parents[2] / "services"

#: One line per route that a seed's text names, in its own order.
SEEDS = """
000 GET /admin/stats /admin/revenue /admin/subscriptions-by-plan /plans /plans/1 /system/credentials
000 POST /plans /admin/credentials/stripe /system/credentials /fcm-tokens /stripe/checkout
000 POST /stripe/portal /stripe/webhook
000 PATCH /plans/1
000 DELETE /plans/1 /system/credentials/stripe
001 GET /agents /agents/1 /whatsapp/1/status /whatsapp/1/sessions /financeiro/historico /financeiro/mrr
001 GET /financeiro/retencao-churn /financeiro/upsell /financeiro/kpis /financeiro/faturas
001 GET /metricas/mensagens-por-periodo /metricas/conversao-por-agente /metricas/evolucao-uso /logs /logs/1 /settings/1
001 GET /debug/agents/1/status /debug/langchain/1 /debug/whatsapp/1/connection
001 POST /agents /whatsapp/1/send-message /whatsapp/1/sessions/init /ia/ask-to-agent
001 POST /ia/flow/1/start /ia/flow/1/continue
001 PATCH /agents/1 /settings/1 /settings/1/tools /settings/1/voice
001 DELETE /agents/1 /whatsapp/1/sessions/2 /logs/1
002 POST /payments/intent /payments/webhook/stripe /users/external/create-from-payment /auth/login
002 GET /users/1
003 POST /pix/create
004 GET /me /tenants/acme/public /marketplace /campaigns /campaigns/1 /leads /kpis/tenant /kpis/campaign/1
004 POST /tenants /campaigns /campaigns/1/prepare /campaigns/1/publish /campaigns/1/pause
004 POST /campaigns/1/end /leads/reengage
004 POST /billing/checkout /billing/portal /billing/webhook/stripe /mercadopago/webhook /webhooks/whatsapp/reply
004 PATCH /tenants/1 /campaigns/1 /leads/1
"""


def test_every_row_has_a_policy_and_says_whose_it_is() -> None:
    rows = list(rows_of(ROUTES))
    assert len(rows) > 200
    assert set(ROUTES) == {
        *("billing", "admin-analytics", "credentials", "notifications", "mailer", "tenants", "agents", "provisioning"),
        "campaigns",
    }
    for service, method, row in rows:
        assert isinstance(row.policy, Policy), row
        assert method in ("GET", "POST", "PUT", "PATCH", "DELETE"), row
        assert row.timeout_s > 0 < row.body_limit_bytes
        assert (row.policy.access is Access.PERMISSION) == bool(row.policy.permission)
        assert (row.policy.access is Access.WEBHOOK) == bool(row.policy.provider)
        if row.policy.access is Access.WEBHOOK and row.policy.provider not in ("meta",):
            assert row.policy.headers, f"{service} {row.path}: which header holds the signature?"
        if row.policy.permission:
            assert re.fullmatch(r"[a-z_]+:[a-z_]+", row.policy.permission)
        if row.policy.access is Access.PUBLIC:
            assert row.tenant_need == "none", row


@pytest.mark.parametrize("policy", [Policy(Access.PERMISSION), Policy(Access.USER, permission="a:b")])
def test_a_row_without_a_usable_policy_fails(policy: Policy) -> None:
    with pytest.raises(ValueError, match="policy"):
        list(rows_of({"mailer": (Row("GET", "/x", policy),)}))
    with pytest.raises(TypeError):
        Row("GET", "/x")  # type: ignore[call-arg]  # that it cannot be left out is the point


def test_the_seeds_routes_are_there() -> None:
    from gateway.match import Matcher

    matcher: Matcher[str] = Matcher()
    for service, method, row in rows_of(ROUTES):
        matcher.add(method, row.path, service)
    for line in SEEDS.strip().splitlines():
        _, method, *paths = line.split()
        for path in paths:
            for mounted in (path, "/api" + path):
                found = matcher.find(mounted.encode())
                assert found is not None, mounted
                assert method in found[1], (method, mounted)


def _environment(name: str) -> dict[str, str]:
    secret = "Zk3v9Qw8Lr2Tn5Xy7Bc1Df4Gh6Jm0PqsUv"
    return {
        "ENVIRONMENT": "local",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "AMQP_URL": "amqp://user:Qw8Lr2Tn5Xy7Bc1@127.0.0.1:1/",
        "DB_ROLE_SECRET": secret,
        "SECRETS_KEY": secret,
        "JWT_SECRET": secret,
        "INTERNAL_PUBLIC_KEY": new_key_pair()[1],
        "PORT": "1",
        "METRICS_PORT": "2",
        "VAR_DIR": f"/nonexistent/{name}",
    }


def _app(service: str) -> Litestar | None:
    """A service of this repository, or None while it has no app."""
    package = service.replace("-", "_")
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(f"{package}.app") is None:
        return None
    app = importlib.import_module(f"{package}.app").build(_environment(service))
    assert isinstance(app, Litestar)
    return app


def _document(service: str) -> dict[str, Any] | None:
    """The OpenAPI document of a service of this repository, or None while it has no app."""
    app = _app(service)
    if app is None:
        return None
    document: dict[str, Any] = msgspec.json.decode(openapi_json(app))
    return document


WITH_APPS = sorted(path.name for path in SERVICES.iterdir() if (path / "pyproject.toml").exists())


@pytest.mark.parametrize("service", WITH_APPS)
def test_every_route_of_a_service_is_in_the_table(service: str) -> None:
    document = _document(service)
    assert document is not None, f"{service} has no app"
    known = {(method.lower(), shape(row.path)) for method, row in _methods(service)}
    described = {(method, shape(path)) for path, item in document["paths"].items() for method in item}
    assert described - known == set(), "routes that the table lacks"
    merged = merge(ROUTES, {service: document})
    assert {(method, shape(path)) for path, item in merged["paths"].items() for method in item} == described


@pytest.mark.parametrize("service", WITH_APPS)
def test_a_route_asks_itself_what_the_table_asks(service: str) -> None:
    """The gateway's check is the first of two: a service that is reached past it asks for the same."""
    app = _app(service)
    assert app is not None
    rows = {(method, shape(row.path)): row.policy for method, row in _methods(service)}
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            guards = list(handler.guards or ())
            asked = {guard.permission for guard in guards if isinstance(guard, PermissionGuard)}
            for method in handler.http_methods:
                policy = rows.get((method, shape(route.path_format)))
                if policy is None:
                    continue
                where = f"{service}: {method} {route.path_format}"
                assert asked == ({policy.permission} if policy.permission else set()), where
                is_admins = any(type(guard).__name__ == "PlatformAdminGuard" for guard in guards)
                assert is_admins == (policy.access is Access.PLATFORM_ADMIN), where


def _methods(service: str) -> list[tuple[str, Row]]:
    return [(method, row) for row in ROUTES[service] for method in row.methods.split()]


def test_roles() -> None:
    for role, permissions in ROLE_PERMISSIONS.items():
        assert permissions <= ALL_PERMISSIONS, role
    assert permissions_of(["owner"], []) == ALL_PERMISSIONS
    assert permissions_of(["nobody"], ["unknown:thing", "emails:read"]) == {"emails:read"}
    assert permissions_of([], ["*"]) == ALL_PERMISSIONS
    assert "billing:configure" not in permissions_of(["manager", "receptionist"], [])
    assert PUBLIC.permission is None
