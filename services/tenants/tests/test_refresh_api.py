"""Refresh tokens: each is good once, a replay ends the sign-in, and nobody comes back who was shut out."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from chassis.db import platform_transaction
from gateway.tokens import TokenVerifier
from tenants import store
from tenants.domain.tokens import sha256_of
from testkit.tokens import Identities

from .sign_in_records import THEN, a_member, a_tenant, a_user, an_owner, as_user, log_in, public

DAY = timedelta(days=1)


async def refreshed(tenants: Any, token: str, path: str = "/auth/refresh", **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await public(tenants, path, {"refreshToken": token, **body})
    return answer.status_code, answer.json()


async def change(tenants: Any, statement: str, *args: Any) -> None:
    async with platform_transaction(tenants.db) as conn:
        await conn.execute(statement, *args)


async def test_it_rotates(start: Any, identities: Identities) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    for path, spelling in (
        ("/auth/refresh", "refreshToken"),
        ("/auth/refresh-token", "refreshToken"),
        ("/auth/refresh", "refresh_token"),
    ):
        answer = await public(tenants, path, {spelling: token})
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"success", "data"}
        assert answer.json()["success"] is True
        assert set(answer.json()["data"]) == {"accessToken", "refreshToken"}
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        principal = TokenVerifier([identities.jwt_secret]).verify(answer.json()["data"]["accessToken"].encode())
        assert (principal.subject, principal.tenants) == (str(user.id), (tenant.tenant_id,))
        assert answer.json()["data"]["refreshToken"] != token
        token = answer.json()["data"]["refreshToken"]


async def let_pass(tenants: Any, seconds: float) -> None:
    """That long ago is when every token was spent."""
    await change(tenants, "UPDATE refresh_tokens SET used_at = used_at - make_interval(secs => $1)", seconds)


async def test_a_replay_ends_the_whole_sign_in_and_no_other(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    first, other = (await log_in(tenants))["refreshToken"], (await log_in(tenants))["refreshToken"]
    _, second = await refreshed(tenants, first)
    await let_pass(tenants, 10)
    newest = second["data"]["refreshToken"]
    for token in (first, newest, first):
        status, body = await refreshed(tenants, token)
        assert (status, body["message"], body["success"]) == (401, "Invalid refresh token", False)
    assert (await refreshed(tenants, other))[0] == 200
    records = await tenants.told("tenants.audit.recorded.v1")
    replayed = [record for record in records if record["action"] == "refresh_token.replayed"]
    assert len(replayed) == 1, "once: the sign-in has ended"
    assert (replayed[0]["tenant_id"], replayed[0]["subject_ref"]) == (str(tenant.tenant_id), str(user.id))
    assert replayed[0]["context"]["location"] == "203.0.113.7"


async def test_twenty_tabs_at_once_go_on_with_one_token(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    outcomes = await asyncio.gather(*(refreshed(tenants, token) for _ in range(20)))
    assert {status for status, _ in outcomes} <= {200, 503}, "503: a loaded machine"
    [next_token] = {body["data"]["refreshToken"] for status, body in outcomes if status == 200}
    async with platform_transaction(tenants.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM refresh_tokens") == 2, "one line, not twenty"
    await let_pass(tenants, 4)
    assert (await refreshed(tenants, token))[1]["data"]["refreshToken"] == next_token
    assert (await refreshed(tenants, next_token))[0] == 200
    records = await tenants.told("tenants.audit.recorded.v1")
    assert "refresh_token.replayed" not in [record["action"] for record in records]


async def test_only_the_token_before_is_answered_again(start: Any) -> None:
    """Were older ones, a thief could follow a sign-in for as long as it is busy."""
    tenants = await start()
    await an_owner(tenants.db)
    first = (await log_in(tenants))["refreshToken"]
    second = (await refreshed(tenants, first))[1]["data"]["refreshToken"]
    third = (await refreshed(tenants, second))[1]["data"]["refreshToken"]
    assert (await refreshed(tenants, second))[1]["data"]["refreshToken"] == third
    assert (await refreshed(tenants, first))[0] == 401
    for token in (second, third):
        assert (await refreshed(tenants, token))[0] == 401, "it was a replay: the sign-in has ended"


async def test_whoever_follows_a_stolen_token_is_found_out(start: Any) -> None:
    """Thief and owner get the same next token in the ten seconds, so one of them replays it."""
    tenants = await start()
    await an_owner(tenants.db)
    stolen = (await log_in(tenants))["refreshToken"]
    owners, thiefs = [(await refreshed(tenants, stolen))[1]["data"]["refreshToken"] for _ in range(2)]
    assert owners == thiefs
    newest = (await refreshed(tenants, thiefs))[1]["data"]["refreshToken"]
    await let_pass(tenants, 11)
    assert (await refreshed(tenants, owners))[0] == 401
    assert (await refreshed(tenants, newest))[0] == 401


async def test_nobody_comes_back_by_a_token_that_is_answered_again(start: Any) -> None:
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    ended, barred = [(await log_in(tenants))["refreshToken"] for _ in range(2)]
    for token in (ended, barred):
        assert (await refreshed(tenants, token))[0] == 200
    await sign_out(tenants, {"refreshToken": ended})
    assert (await refreshed(tenants, ended))[0] == 401
    await change(tenants, "UPDATE users SET status = 'suspended' WHERE id = $1", user.id)
    assert (await refreshed(tenants, barred))[0] == 403


async def test_what_took_its_place_is_kept_sealed_and_forgotten(start: Any) -> None:
    tenants = await start(ROLE="api")
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    next_token = (await refreshed(tenants, token))[1]["data"]["refreshToken"]
    async with platform_transaction(tenants.db) as conn:
        rows = await conn.fetch("SELECT token_sha256, successor, to_jsonb(t)::text FROM refresh_tokens t")
        sealed = {row["token_sha256"]: row["successor"] for row in rows}
        assert next_token.encode() not in sealed[sha256_of(token)]
        assert not any(secret in row[2] for row in rows for secret in (token, next_token))
        assert sealed[sha256_of(next_token)] is None
        await store.sessions.purge(conn, datetime.now(UTC) + timedelta(seconds=61))
        assert await conn.fetchval("SELECT count(successor) FROM refresh_tokens") == 0
    assert (await refreshed(tenants, token))[0] == 401


async def test_what_is_no_refresh_token(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    data = await log_in(tenants)
    for token in ("", "x", data["accessToken"], data["refreshToken"][:-1], data["refreshToken"] + " ", "\u202e" * 40):
        status, body = await refreshed(tenants, token)
        assert (status, body["code"]) == (401, "invalid_refresh_token"), token
    assert (await public(tenants, "/auth/refresh", {})).status_code == 401
    assert (await public(tenants, "/auth/refresh")).status_code == 401
    for body, status in (
        ({"refreshToken": 1}, 422),
        ({"refreshToken": "x" * 2000}, 422),
        ({"token": data["refreshToken"]}, 422),
        ({"refreshToken": data["refreshToken"], "role": "superadmin"}, 422),
    ):
        assert (await public(tenants, "/auth/refresh", body)).status_code == status
    form = {"Content-Type": "text/plain"}
    content = f'{{"refreshToken":"{data["refreshToken"]}"}}'
    assert (await public(tenants, "/auth/refresh", headers=form, content=content)).status_code == 415
    assert (await refreshed(tenants, data["refreshToken"]))[0] == 200


async def test_the_description_says_that_the_body_may_be_left_out(start: Any) -> None:
    tenants = await start()
    paths = (await tenants.call("GET", "/openapi.json", None)).json()["paths"]
    required = {
        path: paths[path]["post"]["requestBody"]["required"]
        for path in paths
        if path.startswith("/auth/")
        if "requestBody" in paths[path].get("post", {})
    }
    assert {path for path, is_required in required.items() if not is_required} == {
        "/auth/refresh",
        "/auth/refresh-token",
        "/auth/logout",
    }


async def test_only_hashes_are_stored(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    async with platform_transaction(tenants.db) as conn:
        stored = [row[0] for row in await conn.fetch("SELECT token_sha256 FROM refresh_tokens")]
        everything = str(await conn.fetch("SELECT to_jsonb(t) FROM refresh_tokens t")) + str(
            await conn.fetch("SELECT to_jsonb(t) FROM refresh_families t")
        )
    assert stored == [sha256_of(token)]
    assert token not in everything
    assert token not in str(await tenants.told())


async def test_a_sign_in_ends_after_thirty_days(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    async with platform_transaction(tenants.db) as conn:
        ends = await conn.fetchval("SELECT expires_at - created_at FROM refresh_families")
    assert ends == timedelta(days=30)
    token = (await refreshed(tenants, token))[1]["data"]["refreshToken"]
    await change(tenants, "UPDATE refresh_families SET expires_at = now() - interval '1 second'")
    assert (await refreshed(tenants, token))[0] == 401, "rotating prolongs nothing"


SHUT_OUT = [
    ("UPDATE users SET status = 'suspended'", "UPDATE users SET status = 'active'"),
    ("UPDATE users SET status = 'inactive'", "UPDATE users SET status = 'active'"),
    ("UPDATE memberships SET status = 'suspended'", "UPDATE memberships SET status = 'active'"),
    ("UPDATE tenants SET status = 'suspended', status_reason = 'x'", "UPDATE tenants SET status = 'active'"),
    ("UPDATE tenants SET status = 'closed'", "UPDATE tenants SET status = 'active'"),
]


@pytest.mark.parametrize(("shut_out", "let_in"), SHUT_OUT)
async def test_whoever_was_shut_out_stays_out(start: Any, shut_out: str, let_in: str) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    await change(tenants, shut_out)
    for _ in range(2):
        status, body = await refreshed(tenants, token)
        assert status == 403, body
        assert body["success"] is False
    await change(tenants, let_in)
    assert (await refreshed(tenants, token))[0] == 200, "nothing was spent by asking in vain"


async def test_the_new_token_says_what_the_person_is_now(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    await change(tenants, "UPDATE memberships SET role = 'user', permissions = '{reports:read}'")
    valid_from = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    await change(tenants, "UPDATE users SET tokens_valid_from = $1", valid_from)
    _, body = await refreshed(tenants, token)
    claims = jwt.decode(body["data"]["accessToken"], options={"verify_signature": False})
    assert (claims["role"], claims["permissions"]) == ("user", ["reports:read"])
    assert claims["iat"] == int(valid_from.timestamp())


async def test_it_takes_a_sign_in_over_into_another_tenant(start: Any) -> None:
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    other, foreign = await a_tenant(tenants.db, "other"), await a_tenant(tenants.db, "foreign")
    await a_member(tenants.db, user, other, "user", now=THEN + DAY)
    token = (await log_in(tenants))["refreshToken"]
    for wanted in (foreign.tenant_id, uuid4()):
        status, body = await refreshed(tenants, token, tenantId=str(wanted))
        assert (status, body["code"]) == (403, "foreign_tenant")
    for spelling in ({"tenant_id": str(other.tenant_id)}, {}):  # and it stays there
        _, body = await refreshed(tenants, token, **spelling)
        claims = jwt.decode(body["data"]["accessToken"], options={"verify_signature": False})
        assert (claims["tenantId"], claims["role"]) == (str(other.tenant_id), "user")
        assert claims["tenants"] == [str(other.tenant_id)]
        token = body["data"]["refreshToken"]
    async with platform_transaction(tenants.db) as conn:
        await store.sessions.mark_families_revoked(conn, user.id, "removed", datetime.now(UTC), other.tenant_id)
    assert (await refreshed(tenants, token))[0] == 401, "it counts as one of that tenant's"


async def test_whoever_had_no_tenant_gets_theirs_by_a_refresh(start: Any) -> None:
    tenants = await start()
    user = await a_user(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    tenant = await a_tenant(tenants.db)
    await a_member(tenants.db, user, tenant)
    _, body = await refreshed(tenants, token)
    claims = jwt.decode(body["data"]["accessToken"], options={"verify_signature": False})
    assert (claims["tenantId"], claims["role"]) == (str(tenant.tenant_id), "owner")


async def test_an_administrator_of_the_platform_stays_one(start: Any) -> None:
    tenants = await start()
    await a_user(tenants.db, is_platform_admin=True)
    _, body = await refreshed(tenants, (await log_in(tenants))["refreshToken"])
    claims = jwt.decode(body["data"]["accessToken"], options={"verify_signature": False})
    assert claims["role"] == "superadmin"
    assert "tenantId" not in claims


async def test_the_cookie_does_what_the_body_does(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    answer = await public(tenants, "/auth/refresh", headers={"Cookie": f"theme=dark; refresh_token={token}"})
    assert answer.status_code == 200, answer.text
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) == 3
    assert cookies[0].startswith(f"jwt={answer.json()['data']['accessToken']};")
    token = answer.json()["data"]["refreshToken"]
    other = (await log_in(tenants))["refreshToken"]
    planted = {"Cookie": f"refresh_token={other}; refresh_token={token}"}
    assert (await public(tenants, "/auth/refresh", headers=planted)).status_code == 401
    answer = await public(tenants, "/auth/refresh", {"refreshToken": token, "cookie": True})
    assert answer.status_code == 200, "two cookies that differ spend nothing"
    assert len(answer.headers.get_list("set-cookie")) == 3


async def sign_out(tenants: Any, body: dict[str, Any] | None = None, **options: Any) -> Any:
    answer = await public(tenants, "/auth/logout", body, **options)
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"] is True
    cookies = answer.headers.get_list("set-cookie")
    assert [cookie.split(";")[0].strip('"') for cookie in cookies] == ["jwt=", "refresh_token=", "refresh_token="]
    assert all("max-age=0" in cookie.lower() and "httponly" in cookie.lower() for cookie in cookies)
    return answer


async def test_signing_out_ends_that_sign_in(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    for spelling in ("refreshToken", "refresh_token", "cookie"):
        token, other = (await log_in(tenants))["refreshToken"], (await log_in(tenants))["refreshToken"]
        if spelling == "cookie":
            await sign_out(tenants, headers={"Cookie": f"refresh_token={token}"})
        else:
            await sign_out(tenants, {spelling: token})
        assert (await refreshed(tenants, token))[0] == 401
        assert (await refreshed(tenants, other))[0] == 200
    await sign_out(tenants, {"refreshToken": token})  # again is no error
    await sign_out(tenants, {"refreshToken": "unknown"})
    await sign_out(tenants)
    records = await tenants.told("tenants.audit.recorded.v1")
    ended = [record for record in records if record["action"] == "user.signed_out"]
    assert {record["tenant_id"] for record in ended} == {str(tenant.tenant_id)}
    assert {record["actor"]["id"] for record in ended} == {str(user.id)}


async def test_a_spent_token_ends_its_sign_in_too(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = (await log_in(tenants))["refreshToken"]
    newest = (await refreshed(tenants, token))[1]["data"]["refreshToken"]
    await sign_out(tenants, {"refreshToken": token})
    assert (await refreshed(tenants, newest))[0] == 401


async def test_signing_out_without_a_token_ends_the_callers_sign_ins(start: Any) -> None:
    """Seed 002's front end sends none; a sign-out that left the refresh token alive would be a lie."""
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    rui, _ = await an_owner(tenants.db, "rui@example.com", "rui")
    token, others = (await log_in(tenants))["refreshToken"], (await log_in(tenants, "rui@example.com"))["refreshToken"]
    answer = await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/logout")
    assert answer.status_code == 200
    assert (await refreshed(tenants, token))[0] == 401
    assert (await refreshed(tenants, others))[0] == 200
    async with platform_transaction(tenants.db) as conn:
        assert (await store.users.get_user(conn, user.id)).tokens_valid_from == user.tokens_valid_from
        assert (await store.users.get_user(conn, rui.id)).tokens_valid_from == rui.tokens_valid_from


@pytest.mark.parametrize("by", ["token", "cookie", "identity"])
async def test_signing_out_everywhere_calls_every_token_back(start: Any, by: str) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    other = await a_tenant(tenants.db, "other")
    await a_member(tenants.db, user, other, "user")
    first, second = (await log_in(tenants))["refreshToken"], (await log_in(tenants))["refreshToken"]
    before = datetime.now(UTC)
    if by == "identity":
        answer = await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/logout", json={"all": True})
        assert answer.status_code == 200
    elif by == "cookie":
        await sign_out(tenants, {"all": True}, headers={"Cookie": f"refresh_token={first}"})
    else:
        await sign_out(tenants, {"all": True, "refreshToken": first})
    for token in (first, second):
        assert (await refreshed(tenants, token))[0] == 401
    events = await tenants.told("tenants.user.updated.v1")
    assert {event["tenant_id"] for event in events} == {str(tenant.tenant_id), str(other.tenant_id)}
    for event in events:
        assert datetime.fromisoformat(event["tokens_valid_from"]) > before
    again = jwt.decode((await log_in(tenants))["accessToken"], options={"verify_signature": False})
    assert again["iat"] >= datetime.fromisoformat(events[0]["tokens_valid_from"]).timestamp()


async def test_nobody_is_signed_out_everywhere_by_a_stranger(start: Any) -> None:
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    spent = (await log_in(tenants))["refreshToken"]
    newest = (await refreshed(tenants, spent))[1]["data"]["refreshToken"]
    for body in ({"all": True}, {"all": True, "refreshToken": "x"}, {"all": True, "refreshToken": spent}):
        assert (await public(tenants, "/auth/logout", body)).status_code == 401, body
    assert (await refreshed(tenants, newest))[0] == 200
    async with platform_transaction(tenants.db) as conn:
        assert (await store.users.get_user(conn, user.id)).tokens_valid_from == user.tokens_valid_from


async def test_an_administrator_without_a_tenant_is_told_of_under_the_platforms(start: Any) -> None:
    tenants = await start()
    root = await a_user(tenants.db, is_platform_admin=True)
    await log_in(tenants)
    answer = await as_user(tenants, root, None, "POST", "/auth/logout", json={"all": True})
    assert answer.status_code == 200
    [event] = await tenants.told("tenants.user.updated.v1")
    assert (event["tenant_id"], event["user_id"], event["role"]) == (str(UUID(int=0)), str(root.id), "superadmin")
