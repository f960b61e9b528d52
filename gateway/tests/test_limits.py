"""Rate limits, exact and not to be evaded; the breaker's arithmetic; metrics; documents; refusal to start."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.settings import SettingsError
from contracts.errors import TooManyRequests, Unavailable
from gateway.app import build
from gateway.breaker import Breaker
from gateway.rate_limit import RateLimit

from .support import OTHER_TENANT, PRIVATE_KEY, SECRET, TENANT, Gateway, Service, answering, bearer, token

Launch = Callable[..., Awaitable[Gateway]]
ANA = "01890000-0000-7000-8000-000000000007"


def test_the_limit_is_exact_and_refills_evenly() -> None:
    now = [0]
    limit = RateLimit(100, 60, now_ns=lambda: now[0])
    waits: set[int | None] = set()

    def taken(key: str, times: int) -> int:
        count = 0
        for _ in range(times):
            try:
                limit.take(key)
            except TooManyRequests as error:
                waits.add(error.retry_after_s)
            else:
                count += 1
        return count

    assert taken("ana", 1000) == 100
    assert taken("rui", 1000) == 100
    now[0] += 599_999_999
    assert taken("ana", 10) == 0
    now[0] += 1
    assert taken("ana", 10) == 1
    now[0] += 6_000_000_000
    assert taken("ana", 100) == 10
    now[0] += 3600 * 10**9
    assert taken("ana", 1000) == 100
    assert waits == {1}


async def test_an_id_that_is_no_uuid_is_somebody_else_in_another_tenant(service: Service, launch: Launch) -> None:
    """The Go core may number its users: 7 of one company must not use up what 7 of another may."""
    gateway = await launch(upstream_mailer=service.url, rate_limit_requests="2", rate_limit_window_s="3600")
    for home in (TENANT, OTHER_TENANT):
        seven = bearer(token(sub="7", tenant_id=home))
        assert [(await gateway.get("/emails", seven)).status for _ in range(3)] == [200, 200, 429]


def test_keys_are_forgotten_before_memory_is_full() -> None:
    now = [0]
    limit = RateLimit(10, 10, max_keys=100, now_ns=lambda: now[0])
    for _ in range(10):
        limit.take("busy")
    for number in range(10_000):
        limit.take(f"passer-by {number}")
    assert len(limit._arrivals) <= 100
    with pytest.raises(TooManyRequests):
        limit.take("busy")


def one_of_anas(number: int, mine: list[str]) -> tuple[str, str, dict[str, str]]:
    """One of the ways in which one user asks: their tokens, spellings of headers and paths, methods, addresses."""
    value = mine[number % len(mine)]
    name = ("Authorization", "AUTHORIZATION", "aUTHORIZATION", "authorization")[number % 4]
    headers = {"Cookie": f"jwt={value}", "Origin": "https://app.example.com"} if number % 3 == 0 else {}
    headers = headers or {name: f"Bearer {value}"}
    forged = f"10.0.{number % 250}.{number // 250}"
    spelled = ("X-Forwarded-For", "x-forwarded-FOR", "X-FORWARDED-FOR", "X_Forwarded_For", "Forwarded", "X-Real-IP")
    headers[spelled[number % 6]] = f"for={forged}" if number % 6 == 4 else f"{forged}, 127.0.0.{number % 9 + 1}"
    # One of the tokens has no tenant of its own, so each request names one.
    headers["X-Tenant-Id"] = (OTHER_TENANT, OTHER_TENANT.upper(), TENANT)[number % 3]
    method, path = WAYS[number % len(WAYS)]
    return method, path.replace("?", f"?n={number}&"), headers


#: Whatever a client may do under `user` is one allowance: the verb and the spelling of the path make no other.
WAYS = (
    ("GET", "/emails"),
    ("HEAD", "/api/emails"),
    ("POST", "/email-templates"),
    ("PATCH", "/email-templates/1"),
    ("DELETE", "/api/suppressions/1"),
    ("GET", "/email-templates?x=1"),
    ("PATCH", "/email-settings/1"),
)


async def test_a_thousand_at_once(service: Service, launch: Launch) -> None:
    """One user with many tokens, spellings, tenant selectors and methods stays one user (B25)."""
    gateway = await launch(
        upstream_mailer=service.url,
        rate_limit_requests="100",
        rate_limit_window_s="3600",
        cors_origins="https://app.example.com",
    )
    homes = (TENANT, OTHER_TENANT, None)  # whoever belongs to many tenants is one person in all of them
    mine = [token(sub=ANA, tenant_id=homes[n % 3], tenants=[TENANT, OTHER_TENANT], jti=str(n)) for n in range(20)]

    async def call(number: int) -> int:
        method, path, headers = one_of_anas(number, mine)
        body = b"{}" if method in ("POST", "PATCH") else None
        answer = await gateway.request(method, path, headers, body)
        if answer.status == 429 and method != "HEAD":
            assert int(answer.header("retry-after") or 0) >= 1
            assert json.loads(answer.body)["code"] == "too_many_requests"
        return answer.status

    statuses = await asyncio.gather(*(call(number) for number in range(1000)))
    assert (statuses.count(200), statuses.count(429)) == (100, 900)
    assert len(service.seen) == 100
    assert (await gateway.get("/emails", bearer(token(sub="rui")))).status == 200


async def test_of_many_at_once_one_gets_the_last_place(service: Service, launch: Launch) -> None:
    gateway = await launch(upstream_mailer=service.url, rate_limit_requests="100", rate_limit_window_s="3600")
    mine = [token(sub="ana", jti=str(number)) for number in range(5)]
    assert {(await gateway.get("/emails", bearer(mine[number % 5]))).status for number in range(99)} == {200}
    statuses = [
        answer.status
        for answer in await asyncio.gather(*(gateway.get("/emails", bearer(mine[n % 5])) for n in range(200)))
    ]
    assert (statuses.count(200), statuses.count(429)) == (1, 199)


async def test_another_spelling_of_a_path_is_no_way_around(service: Service, launch: Launch) -> None:
    """Neither before the limit nor after it does one that is not the canonical one reach anything."""
    gateway = await launch(upstream_mailer=service.url, rate_limit_requests="3", rate_limit_window_s="3600")
    variants = ("/emails/", "//emails", "/emails//", "/./emails", "/emails/.", "/emails%2f", "/emails;a=b", "/%65mails")
    ana = bearer(token(sub="ana"))

    async def tried() -> set[int]:
        return {(await gateway.get(path, ana)).status for path in (*variants, "/EMAILS", "/emails.")}

    assert await tried() <= {400, 404}
    assert [(await gateway.get("/emails", ana)).status for _ in range(4)] == [200, 200, 200, 429]
    assert await tried() <= {400, 404}
    assert len(service.seen) == 3


@settings(max_examples=200, deadline=None)
@given(
    gaps_ms=st.lists(st.sampled_from([0, 0, 0, 1, 99, 100, 101, 900, 999, 1000, 1001, 5000]), max_size=120),
    requests=st.integers(1, 12),
)
def test_no_moment_is_the_edge_of_a_window(gaps_ms: list[int], requests: int) -> None:
    """Whenever somebody comes, between any two of their requests no more passed than the rate allows (B25).

    A counter that starts anew each window lets twice as many pass around its edge.
    """
    now, window_ns = [0], 1_000_000_000
    limit = RateLimit(requests, 1.0, now_ns=lambda: now[0])
    passed: list[int] = []
    for gap_ms in gaps_ms:
        now[0] += gap_ms * 1_000_000
        try:
            limit.take("ana")
        except TooManyRequests:
            continue
        passed.append(now[0])
    interval_ns = window_ns // requests
    for first, since in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= requests + (passed[last] - since) // interval_ns


async def test_strangers_share_a_limit_by_address(service: Service, launch: Launch) -> None:
    gateway = await launch(
        upstream_billing=service.url,
        upstream_mailer=service.url,
        rate_limit_anonymous_requests="5",
        rate_limit_window_s="3600",
    )
    statuses = [
        (await gateway.get("/plans", {"X-Forwarded-For": f"1.2.3.{number}", "X-Real-IP": str(number)})).status
        for number in range(10)
    ]
    assert statuses == [200] * 5 + [429] * 5
    refused = [(await gateway.get("/emails", bearer(f"guess-{number}"))).status for number in range(10)]
    assert refused == [401] * 5 + [429] * 5
    assert (await gateway.get("/emails", bearer(token()))).status == 200
    assert {(await gateway.request("POST", "/stripe/webhook", {}, b"{}")).status for _ in range(10)} == {200}


def test_the_breaker() -> None:
    now = [1000.0]
    breaker = Breaker(now=lambda: now[0], cool_down_s=5)

    def state() -> str:
        return breaker.state

    def call(*, ok: bool | None) -> None:
        breaker.leave(probe=breaker.enter(), ok=ok)

    for _ in range(19):
        call(ok=False)
    assert state() == "closed"  # too few to judge
    now[0] += 11
    for _ in range(19):
        call(ok=False)
    assert state() == "closed"  # the others are out of the window
    call(ok=None)
    assert state() == "closed"
    call(ok=False)
    assert state() == "open"
    with pytest.raises(Unavailable) as refused:
        breaker.enter()
    assert refused.value.retry_after_s == 5
    now[0] += 5
    assert breaker.enter()
    assert state() == "half_open"
    with pytest.raises(Unavailable):
        breaker.enter()
    breaker.leave(probe=True, ok=None)  # the probe's client left: nothing learnt, so the next call is the probe
    assert breaker.enter()
    breaker.leave(probe=True, ok=False)
    with pytest.raises(Unavailable):
        breaker.enter()
    now[0] += 5
    assert breaker.enter()
    breaker.leave(probe=False, ok=True)  # a call from before it opened ends now, and changes nothing
    assert state() == "half_open"
    breaker.leave(probe=True, ok=True)
    assert state() == "closed"
    for number in range(100):
        call(ok=number % 5 != 0)
    assert state() == "closed"


async def test_metrics_are_private(gateway: Gateway, service: Service) -> None:
    await gateway.get("/emails", bearer(token()))
    await gateway.get("/emails")
    for path in ("/metrics", "/schema", "/debug", "/openapi", "/.env"):
        assert (await gateway.get(path)).status == 404
    public, gateway.port = gateway.port, gateway.metrics_port
    text = (await gateway.get("/metrics")).body.decode()
    gateway.port = public
    assert 'gateway_answers_total{method="GET",route="/emails",service="mailer",status="2xx"} 1.0' in text
    assert 'gateway_refusals_total{code="unauthenticated"} 1.0' in text
    assert 'gateway_request_duration_seconds_count{method="GET",route="/emails",service="mailer"} 2.0' in text


async def test_the_documents_are_merged_and_offline(gateway: Gateway, service: Service) -> None:
    document: Mapping[str, Any] = {
        "openapi": "3.1.0",
        "paths": {
            "/email-templates/{template_id}": {
                "get": {"operationId": "Get", "responses": {"200": {"$ref": "#/components/schemas/Template"}}},
                "put": {"operationId": "NotInTheTable"},
            },
            "/secret": {"get": {}},
        },
        "components": {
            "schemas": {"Template": {"properties": {"x": {"$ref": "#/components/schemas/Other"}}}, "Other": {}}
        },
    }
    raw = json.dumps(document).encode()
    service.script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
    merged = json.loads((await gateway.get("/openapi.json")).body)
    assert list(merged["paths"]) == ["/email-templates/{template_id}"]
    operation = merged["paths"]["/email-templates/{template_id}"]["get"]
    assert "put" not in merged["paths"]["/email-templates/{template_id}"]
    assert operation["x-access"] == "email_templates:read"
    assert operation["responses"]["200"]["$ref"] == "#/components/schemas/mailer.Template"
    template = merged["components"]["schemas"]["mailer.Template"]
    assert template["properties"]["x"]["$ref"] == "#/components/schemas/mailer.Other"
    assert "campaigns" in merged["info"]["description"]
    for prefix in ("", "/api"):
        page = await gateway.get(prefix + "/docs")
        assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
        assert b"//" not in page.body.replace(b"<!doctype html>", b"")
        assert (page.header("content-security-policy") or "").startswith("default-src 'self'")
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "start.js"):
            answer = await gateway.get(f"{prefix}/docs/{asset}")
            assert (answer.status, answer.whole) == (200, True)
            assert answer.body


GOOD_ENV = {"JWT_SECRET": SECRET, "INTERNAL_SIGNING_KEY": PRIVATE_KEY, "METRICS_PORT": "1"}
BAD_ENVS: list[tuple[str, str | None]] = [
    *(
        ("JWT_SECRET", value)
        for value in (None, "", "short", "your-secret-key", "secret" * 8, "a" * 64, "change-me" * 5)
    ),
    *(("JWT_SECRET_PREVIOUS", value) for value in ("short", "your-secret-key-your-secret-key-x")),
    *(("INTERNAL_SIGNING_KEY", value) for value in (None, "", "short", "!" * 43, "A" * 43, "A" * 47)),
    *(("METRICS_PORT", value) for value in (None, "x", "1.5")),
    *(("PORT", value) for value in ("x", "http")),
    *(
        ("UPSTREAM_MAILER", value)
        for value in ("mailer", "https://a", "http://", "http://a/b", "ftp://a", "http://a:x")
    ),
    *(("CORS_ORIGINS", value) for value in ("*", "example.com", "https://*.example.com", "https://a/b", "null")),
    *(("TRUSTED_PROXIES", value) for value in ("everyone", "10.0.0.0/99", "*")),
    *(("RATE_LIMIT_REQUESTS", value) for value in ("many", "1.5")),
    ("ENVIRONMENT", "prod"),
    ("LOG_LEVEL", "LOUD"),
]


@pytest.mark.parametrize(("name", "value"), BAD_ENVS)
def test_a_bad_environment_is_refused_without_its_value(name: str, value: str | None) -> None:
    env = {**GOOD_ENV, name: value or ""}
    with pytest.raises(SettingsError) as refused:
        build(env)
    assert name in str(refused.value)
    if value and len(value) > 5:
        assert value not in str(refused.value).replace(name, "")
    build(GOOD_ENV)
