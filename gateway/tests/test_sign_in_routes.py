"""Where a token is got: an old one is ignored there, and the refresh cookie comes from known pages only."""

from collections.abc import Awaitable, Callable

import pytest

from .support import Gateway, Seen, Service, answering, bearer, token
from .test_access import ORIGIN, identity

JSON = {"Content-Type": "application/json"}
SIGN_IN = (
    *("/auth/login", "/auth/register", "/auth/refresh", "/auth/refresh-token", "/auth/logout"),
    *("/auth/forgot-password", "/auth/request-password-reset", "/auth/reset-password", "/auth/reset-password/t"),
    "/auth/2fa/verify",
)


@pytest.fixture
async def gateway(service: Service, launch: Callable[..., Awaitable[Gateway]]) -> Gateway:
    """A gateway whose tenants service is `service`."""
    nowhere = "amqp://nobody:nothing@127.0.0.1:1/"  # what is sent to sign-in does not hang on roles or keys
    return await launch(upstream_tenants=service.url, amqp_url=nowhere, cors_origins="https://app.example.com")


def last(service: Service) -> Seen:
    """The last request of a client; the gateway itself asks for its snapshot meanwhile."""
    return [seen for seen in service.seen if seen.target.startswith("/auth/")][-1]


@pytest.mark.parametrize("path", SIGN_IN)
async def test_an_old_token_does_not_keep_anybody_from_a_new_one(gateway: Gateway, service: Service, path: str) -> None:
    """Seed 002's client adds its token to every request; while an expired one was refused, it could never refresh."""
    expired, other = token(exp=1), token(sub="rui")
    for headers in (
        bearer(expired),
        bearer("garbage"),
        {"Cookie": f"jwt={expired}"},
        {"Cookie": f"jwt={other}", **bearer(expired)},
        {"Cookie": f"jwt={other}; jwt={expired}"},
    ):
        answer = await gateway.request("POST", path, {**JSON, **headers}, b"{}")
        assert answer.status == 200, (headers, answer.body)
        assert identity(last(service), "tenants")["kind"] == "public"
    await gateway.request("POST", path, {**JSON, **bearer(token(sub="ana"))}, b"{}")
    assert identity(last(service), "tenants")["sub"] == "ana"


async def test_the_refresh_cookie_comes_from_known_pages_only(gateway: Gateway, service: Service) -> None:
    cookie = {"Cookie": "refresh_token=abc", **JSON}
    for path in ("/auth/refresh", "/api/auth/refresh", "/auth/refresh-token", "/auth/logout"):
        for origin, passes in (
            (ORIGIN, True),
            ({"Origin": f"http://127.0.0.1:{gateway.port}"}, True),
            ({}, False),
            ({"Origin": "null"}, False),
            ({"Origin": "https://evil.example"}, False),
            ({"Origin": "https://evil.app.example.com"}, False),
            ({"Origin": "https://app.example.com.evil.example"}, False),
        ):
            assert (await gateway.request("POST", path, {**cookie, **origin}, b"{}")).status == 200
            assert last(service).values("cookie") == (["refresh_token=abc"] if passes else []), (path, origin)


async def test_no_other_route_sees_a_cookie_or_a_clients_own_address(gateway: Gateway, service: Service) -> None:
    headers = {**JSON, **ORIGIN, "Cookie": "refresh_token=abc", "X-Forwarded-For": "203.0.113.9"}
    for path in ("/auth/login", "/auth/2fa/verify", "/auth/forgot-password"):
        await gateway.request("POST", path, headers, b"{}")
        assert last(service).values("cookie") == []
        assert last(service).values("x-forwarded-for") == ["127.0.0.1"]


async def test_cookies_are_set_where_they_are_meant_to_be(gateway: Gateway, service: Service) -> None:
    service.script = answering(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"
        b"set-cookie: jwt=a\r\nset-cookie: refresh_token=b; Path=/auth\r\n\r\n{}"
    )
    for path, sets in (("/auth/login", 2), ("/auth/2fa/verify", 2), ("/auth/refresh", 2), ("/auth/register", 0)):
        answer = await gateway.request("POST", path, JSON, b"{}")
        assert len([value for name, value in answer.headers if name == "set-cookie"]) == sets, path
