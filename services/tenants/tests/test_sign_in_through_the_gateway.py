"""The whole way of a browser: over sockets, through the gateway, with cookies that only known pages may use."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from chassis.db import Database
from chassis.serve import serve_apps
from gateway.app import build as build_gateway
from tenants.app import build, main
from testkit.embedded.process import free_port
from testkit.tokens import Identities

from .sign_in_records import PASSWORD, a_member, a_tenant, a_user, an_owner

APP = "https://app.example.com"
LOGIN = {"email": "ana@example.com", "password": PASSWORD}


class Edge:
    """A gateway in front of the service, the service's database and its environment."""

    def __init__(self, url: str, db: Database, env: dict[str, str]) -> None:
        self.url = url
        self.db = db
        self.env = env

    def browser(self, origin: str | None = APP) -> httpx.AsyncClient:
        """A client that keeps cookies, as a page of `origin` would."""
        return httpx.AsyncClient(base_url=self.url, headers={"Origin": origin} if origin else {}, timeout=30)


@pytest_asyncio.fixture
async def edge(request: pytest.FixtureRequest, service_env: Any, identities: Identities) -> AsyncIterator[Edge]:
    """Without a relay, unless a test asks for the role `all`."""
    role = getattr(request, "param", "api")
    env = await service_env(
        "tenants", JWT_SECRET=identities.jwt_secret, COOKIE_SECURE="false", ROLE=role, SHUTDOWN_GRACE_S="3"
    )
    port = free_port()
    gateway = build_gateway(
        {
            "JWT_SECRET": identities.jwt_secret,
            "INTERNAL_SIGNING_KEY": identities.private_key,
            "PORT": str(port),
            "METRICS_PORT": str(free_port()),
            "LOG_LEVEL": "error",
            "ENVIRONMENT": "local",
            "CORS_ORIGINS": APP,
            "RATE_LIMIT_ANONYMOUS_REQUESTS": "0",
            "RATE_LIMIT_REQUESTS": "0",
            "AMQP_URL": env["AMQP_URL"],
            "UPSTREAM_TENANTS": f"http://127.0.0.1:{env['PORT']}",
            "DRAIN_WAIT_S": "0",
        }
    )
    app = build(env)
    stop, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve_apps([app.state.served, gateway], stop=stop, on_started=started.set))
    await asyncio.wait({task, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert started.is_set(), "they did not start"
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url) as http:
        for _ in range(200):
            if (await http.post("/auth/login", json=LOGIN)).status_code == 401:
                break
            await asyncio.sleep(0.05)
    async with app.state.runtime.db.platform.acquire() as conn:
        await conn.execute("DELETE FROM rate_limits")
    yield Edge(url, app.state.runtime.db, env)
    stop.set()
    await task


async def test_a_browser_lives_on_its_cookies(edge: Edge) -> None:
    user, tenant = await an_owner(edge.db)
    async with edge.browser() as browser:
        answer = await browser.post("/api/auth/login", json=LOGIN | {"cookie": True})
        assert answer.status_code == 200, answer.text
        me = await browser.get("/auth/me")
        assert (me.status_code, me.json()["data"]["tenantId"]) == (200, str(tenant.tenant_id))
        old = browser.cookies.get("jwt")
        for path in ("/auth/refresh", "/api/auth/refresh"):
            answer = await browser.post(path)
            # The first one spends the token that the other path's cookie holds too; both are set anew.
            assert answer.status_code == 200, answer.text
        assert browser.cookies.get("jwt") != old
        assert (await browser.get("/api/me")).json()["userId"] == str(user.id)
        assert (await browser.post("/auth/logout")).status_code == 200
        assert (await browser.get("/auth/me")).status_code == 401
        assert (await browser.post("/auth/refresh")).status_code == 401


async def test_a_foreign_page_changes_nothing(edge: Edge) -> None:
    """Were a browser to send the cookies along: neither refreshed nor signed out, and no token shown (B7)."""
    await an_owner(edge.db)
    async with edge.browser() as browser:
        await browser.post("/auth/login", json=LOGIN | {"cookie": True})
        jar = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar if cookie.path != "/api/auth")
    tried = 0
    for origin in ("https://evil.example", "null", "https://evil.app.example.com", None, "http://app.example.com"):
        for path in ("/auth/refresh", "/auth/refresh-token", "/api/auth/refresh", "/auth/logout"):
            for kind, content in (("application/json", b"{}"), ("text/plain", b"{}"), (None, b"")):
                headers = (
                    {"Cookie": jar} | ({"Content-Type": kind} if kind else {}) | ({"Origin": origin} if origin else {})
                )
                async with httpx.AsyncClient(base_url=edge.url) as http:
                    answer = await http.post(path, headers=headers, content=content)
                assert answer.status_code in ((401, 415) if "refresh" in path else (200, 415)), (origin, path, kind)
                assert "accessToken" not in answer.text
                tried += 1
    assert tried == 60
    async with edge.db.platform.acquire() as conn:
        assert await conn.fetchval("SELECT count(*) FROM refresh_families WHERE revoked_at IS NOT NULL") == 0
        assert await conn.fetchval("SELECT count(*) FROM refresh_tokens WHERE used_at IS NOT NULL") == 0


async def all_that_is_stored(db: Database) -> dict[str, str | None]:
    """A digest of each table's rows; limits of tries aside."""
    async with db.platform.acquire() as conn:
        tables = await conn.fetch("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'tenants'")
        found = {}
        for (table,) in tables:
            if table not in ("rate_limits", "schema_migrations", "idempotency_keys"):
                query = f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM tenants.{table} t"
                found[table] = await conn.fetchval(query)
        return found


async def test_a_foreign_page_writes_nothing_by_the_cookie(edge: Edge) -> None:
    """Every way in which a page can have a browser send it: 40 tries, none of them changes a row (B7)."""
    await an_owner(edge.db)
    async with edge.browser() as browser:
        session = (await browser.post("/auth/login", json=LOGIN | {"cookie": True})).json()["data"]
        mine = browser.cookies.get("jwt")
        theirs = (await browser.post("/auth/login", json=LOGIN | {"cookie": True})).cookies.get("jwt")
    bodies = {
        "/tenants": b'{"name":"Evil","slug":"evil"}',
        "/users": b'{"email":"eve@example.com","name":"Eve","role":"owner"}',
    }
    assert session["accessToken"] == mine
    before = await all_that_is_stored(edge.db)
    tried = 0
    kinds = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    for origin in (None, "null", "https://evil.example", "https://evil.app.example.com", "http://app.example.com"):
        for kind in kinds:
            for path, body in bodies.items():
                headers = {"Cookie": f"jwt={mine}", "Content-Type": kind} | ({"Origin": origin} if origin else {})
                async with httpx.AsyncClient(base_url=edge.url) as http:
                    answer = await http.post(path, headers=headers, content=body)
                assert (answer.status_code, answer.json()["code"]) == (403, "unknown_origin"), (origin, kind, path)
                tried += 1
    assert tried == 40
    for cookies in (f"jwt={mine}; jwt={theirs}", f"jwt=planted; jwt={mine}", f"jwt={mine}; jwt="):
        async with httpx.AsyncClient(base_url=edge.url, headers={"Origin": APP, "Cookie": cookies}) as http:
            answer = await http.post("/tenants", json={"name": "Evil", "slug": "evil"})
        assert answer.status_code == 401, cookies  # one of the two was tossed in by a neighbouring host
    assert await all_that_is_stored(edge.db) == before
    for path, body in bodies.items():  # from our own page each of them does something
        headers = {"Origin": APP, "Cookie": f"jwt={mine}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(base_url=edge.url) as http:
            assert (await http.post(path, headers=headers, content=body)).status_code == 201
    assert await all_that_is_stored(edge.db) != before


async def test_an_expired_token_beside_it_does_not_stop_a_refresh(edge: Edge) -> None:
    await an_owner(edge.db)
    async with edge.browser(None) as client:
        data = (await client.post("/auth/login", json=LOGIN)).json()["data"]
        headers = {"Authorization": "Bearer " + data["accessToken"][:-4] + "AAAA"}
        body = {"refreshToken": data["refreshToken"]}
        answer = await client.post("/auth/refresh", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert (await client.get("/auth/me", headers=headers)).status_code == 401
        fresh = {"Authorization": "Bearer " + answer.json()["data"]["accessToken"]}
        assert (await client.get("/auth/profile", headers=fresh)).status_code == 200


async def guess(client: httpx.AsyncClient, n: int, path: str = "/auth/login") -> int:
    """A wrong password at an account of its own, with an address that is forged in one of many ways."""
    forged = f"198.51.{n // 250}.{n % 250}"
    names = ("X-Forwarded-For", "x-forwarded-for", "X-Real-IP", "Forwarded", "X-Client-IP", "X_Forwarded_For")
    headers = {names[n % 6]: f"for={forged}" if n % 6 == 3 else forged, "CF-Connecting-IP": forged}
    body = {"email": f"user{n}@example.com", "password": "a guess"}
    return (await client.post(path, json=body, headers=headers)).status_code


async def test_a_forged_address_gives_no_more_tries(edge: Edge) -> None:
    """Seed 002 believed any X-Forwarded-For: each spelling of it, each header like it, and many at once (B8, B25)."""
    await an_owner(edge.db)
    async with edge.browser(None) as client:
        statuses = [await guess(client, n, ("/auth/login", "/api/auth/login")[n % 2]) for n in range(39)]
        assert statuses == [401] * 39
        for method in ("GET", "PUT", "PATCH", "DELETE", "HEAD"):
            assert (await client.request(method, "/auth/login")).status_code == 405
        for path in (
            "/auth/login/",
            "/auth//login",
            "/auth/login%2f",
            "/auth/%6Cogin",
            "/auth/LOGIN",
            "/auth/login;x=1",
        ):
            assert await guess(client, 99, path) in (400, 404), path
        last = await asyncio.gather(*(guess(client, n) for n in range(100, 120)))
        assert sorted(last) == [401] + [429] * 19, "twenty race for the fortieth"


async def test_one_account_is_one_however_it_is_written(edge: Edge) -> None:
    await an_owner(edge.db)
    spellings = ("ana@example.com", "Ana@Example.com", " ana@example.com ", "ANA@EXAMPLE.COM", "ana@EXAMPLE.com")
    async with edge.browser(None) as client:

        async def at(n: int) -> int:
            body = {"email": spellings[n % 5], "password": "a guess"}
            return (await client.post("/auth/login", json=body, headers={"X-Forwarded-For": f"10.0.0.{n}"})).status_code

        assert [await at(n) for n in range(7)] == [401] * 7
        assert sorted(await asyncio.gather(*(at(n) for n in range(20)))) == [401] + [429] * 19
        assert (await client.post("/auth/login", json=LOGIN)).status_code == 429


@pytest.mark.parametrize("edge", ["all"], indirect=True)
async def test_who_is_shut_out_is_out_everywhere_within_two_seconds(edge: Edge) -> None:
    ana, acme = await an_owner(edge.db)
    other = await a_tenant(edge.db, "other")
    await a_member(edge.db, ana, other, "user")
    await a_user(edge.db, "root@example.com", is_platform_admin=True)
    async with edge.browser(None) as client:

        async def signed_in(email: str, tenant: Any = None) -> dict[str, str]:
            body = {"email": email, "password": PASSWORD} | ({"tenantId": str(tenant)} if tenant else {})
            data = (await client.post("/auth/login", json=body)).json()["data"]
            return {"Authorization": f"Bearer {data['accessToken']}", "refresh": data["refreshToken"]}

        sessions = [await signed_in("ana@example.com", home.tenant_id) for home in (acme, other)]
        root = await signed_in("root@example.com")
        tokens = [{"Authorization": session["Authorization"]} for session in (*sessions, root)]

        async def seen() -> list[int]:
            return [(await client.get("/auth/me", headers=token)).status_code for token in tokens]

        async def told(verb: str) -> int:
            path = f"/users/{ana.id}/{verb}"
            return (await client.post(path, json={"reason": "abuse"}, headers=tokens[2])).status_code

        assert await seen() == [200, 200, 200]
        assert await told("suspend") == 200
        began = time.monotonic()
        while await seen() != [401, 401, 200]:
            assert time.monotonic() - began < 2.0, "their tokens still work"
        for session in sessions:
            assert (await client.post("/auth/refresh", json={"refreshToken": session["refresh"]})).status_code == 401
        refused = await client.post("/auth/login", json=LOGIN)
        assert (refused.status_code, refused.json()["message"]) == (403, "Account is not active")
        assert await told("reactivate") == 200
        began = time.monotonic()
        while True:  # a new token is good, the old ones stay called back
            tokens[1] = {"Authorization": (await signed_in("ana@example.com"))["Authorization"]}
            if await seen() == [401, 200, 200]:
                break
            assert time.monotonic() - began < 4.0, "they cannot come in again"


@pytest.mark.parametrize("edge", ["all"], indirect=True)
async def test_the_operators_command_opens_and_shuts_the_platform(edge: Edge) -> None:
    """From an empty database: the mailed link, a password, a sign-in, what only administrators may; and no more."""
    assert await asyncio.to_thread(main, ["platform-admin", "root@example.com"], edge.env) == 0
    body = await edge.db.relay.fetchval("SELECT convert_from(body, 'UTF8') FROM outbox WHERE type = 'mail_queue'")
    link = json.loads(body)["variables"]["link"].partition("token=")[2]
    async with edge.browser(None) as client:
        chosen = await client.post("/auth/reset-password", json={"token": link, "password": PASSWORD})
        assert chosen.status_code == 200, chosen.text

        async def signed_in() -> dict[str, str]:
            answer = await client.post("/auth/login", json={"email": "root@example.com", "password": PASSWORD})
            return {"Authorization": f"Bearer {answer.json()['data']['accessToken']}"}

        root = await signed_in()
        me = (await client.get("/me", headers=root)).json()
        assert (me["isPlatformAdmin"], me["tenantId"]) == (True, None)
        why, nobody = {"reason": "a try"}, f"/users/{UUID(int=7)}/suspend"
        assert (await client.post(nobody, headers=root, json=why)).status_code == 404
        assert await asyncio.to_thread(main, ["platform-admin", "root@example.com", "--revoke"], edge.env) == 0
        began = time.monotonic()
        while (await client.post(nobody, headers=root, json=why)).status_code != 401:
            assert time.monotonic() - began < 2.0, "the token still works"
        assert (await client.post(nobody, headers=await signed_in(), json=why)).status_code == 403
