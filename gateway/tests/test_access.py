"""Who gets past the edge, as whom and for which tenant: over real sockets, seen from the service's side."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import jwt
import pytest

from chassis.identity import IdentityVerifier
from contracts.errors import Unauthenticated
from gateway.tokens import tenant_id

from .support import OTHER_TENANT, PUBLIC_KEY, TENANT, Gateway, Seen, Service, admin_token, bearer, token

ORIGIN = {"Origin": "https://app.example.com"}


def identity(seen: Seen, audience: str = "mailer") -> dict[str, Any]:
    """What the service is told, verified as a service does."""
    values = seen.values("x-internal-identity")
    assert len(values) == 1
    claims: dict[str, Any] = jwt.decode(values[0], options={"verify_signature": False})
    IdentityVerifier((PUBLIC_KEY,), audience).verify(values[0])
    return claims


async def test_a_token_reaches_the_service_as_an_internal_identity(gateway: Gateway, service: Service) -> None:
    answer = await gateway.get("/emails?status=sent&q=a%2Fb", bearer(token(sub="ana")))
    assert (answer.status, answer.body) == (200, b"{}")
    [seen] = service.seen
    assert (seen.method, seen.target) == ("GET", "/emails?status=sent&q=a%2Fb")
    claims = identity(seen)
    assert (claims["sub"], claims["tenant"], claims["kind"]) == ("ana", TENANT, "user")
    assert claims["exp"] - claims["iat"] == 60
    assert "emails:read" in claims["permissions"]
    assert not any(name.startswith("plans") or name == "*" for name in claims["permissions"])
    assert seen.values("authorization") == []


async def test_the_internal_token_is_for_one_service_only(gateway: Gateway, service: Service) -> None:
    await gateway.get("/emails", bearer(token()))
    with pytest.raises(Unauthenticated):
        identity(service.seen[0], audience="billing")


@pytest.mark.parametrize("path", ["/emails", "/api/emails"])
async def test_the_table_is_mounted_twice(gateway: Gateway, service: Service, path: str) -> None:
    assert (await gateway.get(path, bearer(token()))).status == 200
    assert service.seen[0].target == "/emails"


async def test_without_a_token(gateway: Gateway, service: Service) -> None:
    answer = await gateway.get("/emails")
    assert answer.status == 401
    assert answer.header("www-authenticate") == "Bearer"
    assert answer.header("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["code"] == "unauthenticated"
    assert problem["instance"] == "/emails"
    assert problem["trace_id"] == answer.header("x-request-id")
    assert not service.seen


async def test_bearer_and_cookie(gateway: Gateway, service: Service) -> None:
    ana, rui = token(sub="ana"), token(sub="rui")
    cases: list[tuple[dict[str, str], int, str | None]] = [
        ({"Cookie": f"jwt={ana}"}, 200, "ana"),
        ({"Cookie": f"theme=dark; jwt={ana}; x=y"}, 200, "ana"),
        ({"Cookie": f"jwt={ana}", **bearer(ana)}, 200, "ana"),
        ({"Cookie": f"jwt={rui}", **bearer(ana)}, 401, None),
        ({"Cookie": "jwt=garbage", **bearer(ana)}, 401, None),
        ({"Cookie": f"jwt={ana}", **bearer("garbage")}, 401, None),
        ({"Cookie": f"jwt={ana}; jwt={rui}"}, 401, None),
        ({"Cookie": f"xjwt={ana}"}, 401, None),
        ({"Cookie": f'jwt="{ana}"'}, 401, None),
        ({"Cookie": "jwt="}, 401, None),
        ({"Cookie": f"jwt={ana}", "Authorization": "Basic YTpi"}, 401, None),
        ({"Authorization": f"bearer {ana}"}, 401, None),
        ({"Authorization": f"Bearer  {ana}"}, 401, None),
        ({"Authorization": f"Bearer {ana} "}, 401, None),
        ({"Authorization": ana}, 401, None),
        ({"Authorization": "Bearer"}, 401, None),
        ({"X-Authorization": f"Bearer {ana}"}, 401, None),
    ]
    for headers, status, subject in cases:
        service.seen.clear()
        answer = await gateway.get("/emails", headers)
        assert answer.status == status, headers
        assert [identity(seen)["sub"] for seen in service.seen] == ([subject] if subject else [])
    for target in (f"/emails?token={ana}", f"/emails?access_token={ana}", f"/emails?jwt={ana}&api_key={ana}"):
        assert (await gateway.get(target)).status == 401


async def test_public_routes(gateway: Gateway, service: Service) -> None:
    """A bad Bearer token is refused even here; a bad cookie is only ignored."""
    for headers, status, subject in (
        ({}, 200, "anonymous"),
        (bearer(token(sub="ana")), 200, "ana"),
        (bearer("garbage"), 401, None),
        ({"Cookie": "jwt=garbage"}, 200, "anonymous"),
        ({"Cookie": f"jwt={token(sub='ana')}"}, 200, "ana"),
        ({"Authorization": "Basic YTpi"}, 200, "anonymous"),
        ({"x-tenant-id": TENANT}, 200, "anonymous"),
    ):
        service.seen.clear()
        assert (await gateway.get("/plans", headers)).status == status
        if subject:
            claims = identity(service.seen[0], "billing")
            assert claims["sub"] == subject
            if subject == "anonymous":
                assert (claims["kind"], claims["tenant"], claims["permissions"]) == ("public", None, [])


async def test_a_cookie_on_an_unsafe_method_needs_a_known_origin(gateway: Gateway, service: Service) -> None:
    cookie = {"Cookie": f"jwt={token()}"}
    own = {"Origin": f"http://127.0.0.1:{gateway.port}"}
    foreign: list[dict[str, str]] = [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "https://app.example.com.evil.com"},
        {"Origin": "https://xapp.example.com"},
        {"Origin": "http://app.example.com"},
        {"Origin": "https://app.example.com:8443"},
        {"Origin": "https://app.example.com/"},
        {"Origin": "HTTPS://APP.EXAMPLE.COM"},
        {"Referer": "https://app.example.com/page"},
    ]
    for headers in foreign:
        for method, path in (
            ("POST", "/email-templates"),
            ("PATCH", "/email-templates/1"),
            ("DELETE", "/suppressions/1"),
        ):
            answer = await gateway.request(method, path, {**cookie, **headers}, b"{}")
            assert (answer.status, json.loads(answer.body)["code"]) == (403, "unknown_origin"), headers
    assert not service.seen
    assert (await gateway.request("POST", "/email-templates", {**cookie, **ORIGIN}, b"{}")).status == 200
    assert (await gateway.request("POST", "/email-templates", {**cookie, **own}, b"{}")).status == 200
    assert (await gateway.request("POST", "/email-templates", bearer(token()), b"{}")).status == 200
    assert (await gateway.get("/emails", cookie)).status == 200


async def test_a_cookie_from_a_foreign_page_counts_for_nobody_on_a_public_route(
    gateway: Gateway, service: Service
) -> None:
    headers = {"Cookie": f"jwt={token()}", "Origin": "https://evil.example.com"}
    assert (await gateway.request("POST", "/contact", headers, b"{}")).status == 200
    assert identity(service.seen[0], "billing")["kind"] == "public"


async def test_the_tenant_of_a_request(gateway: Gateway, service: Service) -> None:
    two = token(tenants=[OTHER_TENANT])
    only_listed = token(tenant_id=None, tenants=[TENANT, OTHER_TENANT])
    word = token(tenant_id="default")
    for headers, status, tenant in (
        (bearer(token()), 200, TENANT),
        ({**bearer(token()), "x-tenant-id": TENANT}, 200, TENANT),
        ({**bearer(token()), "X-Tenant-Id": TENANT.upper()}, 200, TENANT),
        ({**bearer(token()), "x-tenant-id": OTHER_TENANT}, 403, None),
        ({**bearer(token()), "x-tenant-id": str(UUID(int=0))}, 403, None),
        ({**bearer(token()), "x-tenant-id": "{" + TENANT + "}"}, 403, None),
        ({**bearer(token()), "x-tenant-id": f"{TENANT},{OTHER_TENANT}"}, 403, None),
        ({**bearer(token()), "x-tenant-id": ""}, 400, None),
        ({**bearer(token()), "x-tenant-id": "a b"}, 400, None),
        ({**bearer(token()), "x_tenant_id": OTHER_TENANT}, 200, TENANT),
        ({**bearer(two), "x-tenant-id": OTHER_TENANT}, 200, OTHER_TENANT),
        (bearer(two), 200, TENANT),
        (bearer(only_listed), 400, None),
        ({**bearer(only_listed), "x-tenant-id": OTHER_TENANT}, 200, OTHER_TENANT),
        (bearer(word), 200, str(tenant_id("default"))),
        ({**bearer(word), "x-tenant-id": "default"}, 200, str(tenant_id("default"))),
        ({**bearer(word), "x-tenant-id": "other"}, 403, None),
        (bearer(token(tenant_id=None)), 400, None),
        (bearer(admin_token()), 200, None),
        ({**bearer(admin_token()), "x-tenant-id": TENANT}, 200, TENANT),
        ({**bearer(admin_token()), "x-tenant-id": str(UUID(int=0))}, 200, None),
    ):
        service.seen.clear()
        answer = await gateway.get("/emails", headers)
        assert answer.status == status, headers
        assert [identity(seen)["tenant"] for seen in service.seen] == ([tenant] if status == 200 else [])


async def test_seed_001s_message_where_a_tenant_is_needed(gateway: Gateway, service: Service) -> None:
    nobodys = token(tenant_id=None, permissions=["agents:read"])
    for value in (nobodys, admin_token()):
        answer = await gateway.get("/agents", bearer(value))
        assert answer.status == 400
        problem = json.loads(answer.body)
        assert (problem["detail"], problem["code"]) == (
            "TenantId é obrigatório no header (x-tenant-id).",
            "tenant_required",
        )
    assert (await gateway.get("/agents", {**bearer(admin_token()), "x-tenant-id": TENANT})).status == 200


async def test_policies(gateway: Gateway, service: Service) -> None:
    reader = token(role=None, permissions=["emails:read"])
    for value, method, path, status in (
        (reader, "GET", "/emails", 200),
        (reader, "GET", "/email-settings", 403),
        (reader, "POST", "/email-templates", 403),
        (token(role="user"), "GET", "/email-templates", 200),
        (token(role="user"), "POST", "/email-templates", 403),
        (token(role="unheard-of"), "GET", "/emails", 403),
        (token(role=None), "GET", "/emails", 403),
        (token(role="owner"), "POST", "/plans", 403),
        (token(role="superadmin"), "POST", "/plans", 403),  # it has a tenant: no platform administrator
        (token(role=None, permissions=["*"]), "GET", "/emails", 200),
        (token(role=None, permissions=["*"]), "POST", "/plans", 403),
        (token(role="user,manager"), "POST", "/email-templates", 200),
        (admin_token(), "POST", "/plans", 200),
        (admin_token(), "POST", "/email-templates", 200),
        (token(tenant_id=None, role="admin"), "POST", "/plans", 403),
        (token(role=None), "POST", "/stripe/checkout", 200),
    ):
        assert (await gateway.request(method, path, bearer(value), b"")).status == status, (method, path)


async def test_the_deployment_may_name_its_administrators(
    service: Service, launch: Callable[..., Awaitable[Gateway]]
) -> None:
    gateway = await launch(upstream_billing=service.url, platform_admin_roles="superadmin,admin")
    admin = token(tenant_id=None, role="admin")
    assert (await gateway.request("POST", "/plans", bearer(admin), b"{}")).status == 200
    assert identity(service.seen[0], "billing")["kind"] == "platform_admin"


async def test_keys_and_webhooks_pass_with_their_own_headers(gateway: Gateway, service: Service) -> None:
    raw = b'{"id": "evt_1",\n "x":1}'
    headers = {
        "Stripe-Signature": "t=1,v1=ab",
        "Authorization": "Bearer x",
        "Cookie": "jwt=x",
        "asaas-access-token": "y",
    }
    assert (await gateway.request("POST", "/stripe/webhook", headers, raw)).status == 200
    [seen] = service.seen
    assert seen.body == raw
    assert seen.values("stripe-signature") == ["t=1,v1=ab"]
    assert not seen.values("authorization") + seen.values("asaas-access-token") + seen.values("cookie")
    claims = identity(seen, "billing")
    assert (claims["kind"], claims["sub"], claims["tenant"]) == ("webhook", "stripe", None)


async def test_an_absent_service_is_a_problem(gateway: Gateway) -> None:
    answer = await gateway.get("/campaigns", bearer(token()))
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "service_absent")
    assert answer.header("retry-after") == "60"


async def test_unknown_paths_and_methods(gateway: Gateway, service: Service) -> None:
    assert (await gateway.get("/nothing", bearer(token()))).status == 404
    assert (await gateway.get("/api", bearer(token()))).status == 404
    assert (await gateway.get("/api/api/emails", bearer(token()))).status == 404
    answer = await gateway.request("PUT", "/email-templates/1", bearer(token()), b"{}")
    assert (answer.status, answer.header("allow")) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH")
    answer = await gateway.request("OPTIONS", "/emails")
    assert (answer.status, answer.header("allow")) == (204, "GET, HEAD, OPTIONS")
    for method in ("TRACE", "PROPFIND", "SEARCH"):
        answer = await gateway.request(method, "/emails", bearer(token()))
        assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS")
    assert (await gateway.request("CONNECT", "/emails", bearer(token()))).status in (400, 405)
    assert not service.seen


async def test_head_follows_get(gateway: Gateway, service: Service) -> None:
    async def script(seen: Seen, reader: Any, writer: Any) -> bool:
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 12345\r\netag: "1"\r\n\r\n')
        return True

    service.script = script
    answer = await gateway.request("HEAD", "/emails", bearer(token()))
    assert (answer.status, answer.header("content-length"), answer.header("etag")) == (200, "12345", '"1"')
    assert answer.body == b""
    assert service.seen[0].method == "HEAD"
    answer = await gateway.request("HEAD", "/emails")
    assert (answer.status, answer.body) == (401, b"")


async def test_cors(gateway: Gateway, service: Service) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = await gateway.request("OPTIONS", "/email-templates", {**ORIGIN, **asked})
    assert (answer.status, answer.header("access-control-allow-origin")) == (204, ORIGIN["Origin"])
    assert answer.header("access-control-allow-methods") == "GET, HEAD, OPTIONS, POST"
    assert "x-tenant-id" in (answer.header("access-control-allow-headers") or "")
    for origin in (
        "https://evil.com",
        "null",
        "https://app.example.com.evil.com",
        "https://app.example.com\\@evil.com",
    ):
        answer = await gateway.request("OPTIONS", "/email-templates", {"Origin": origin, **asked})
        assert answer.header("access-control-allow-origin") is None
        answer = await gateway.get("/emails", {"Origin": origin, **bearer(token())})
        assert answer.header("access-control-allow-origin") is None
        assert answer.header("vary") == "Origin"
    answer = await gateway.get("/emails", {**ORIGIN, **bearer(token())})
    assert answer.header("access-control-allow-credentials") == "true"
    answer = await gateway.get("/emails", ORIGIN)
    assert (answer.status, answer.header("access-control-allow-origin")) == (401, ORIGIN["Origin"])


async def test_health(gateway: Gateway) -> None:
    for prefix in ("", "/api"):
        answer = await gateway.get(prefix + "/health")
        body = json.loads(answer.body)
        assert (answer.status, body["status"]) == (200, "ok")
        assert body["timestamp"].endswith("Z")
        assert (await gateway.get(prefix + "/health/live")).status == 200
        assert (await gateway.get(prefix + "/health/ready")).status == 200
        assert (await gateway.request("POST", prefix + "/health", {}, b"")).status == 405
    gateway.served.health.drain()
    answer = await gateway.get("/health/ready")
    assert (answer.status, answer.header("connection")) == (503, "close")
