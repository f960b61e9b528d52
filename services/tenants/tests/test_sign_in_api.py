"""Signing in: seed 002's shapes, nothing that tells which accounts exist, tokens that the gateway takes."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import jwt
import pytest

from chassis.db import platform_transaction
from gateway.tokens import TokenVerifier
from tenants import store
from tenants.domain.companies import TenantStatus
from tenants.domain.people import MemberStatus, UserStatus
from testkit.tokens import Identities

from .sign_in_records import PASSWORD, THEN, a_member, a_tenant, a_user, an_owner, hash_of, log_in, public

DAY = timedelta(days=1)
USER_FIELDS = {
    *("id", "email", "name", "phone", "avatar", "role", "status", "tenantId", "emailVerified", "lastLoginAt"),
    *("permissions", "preferences", "createdAt", "updatedAt"),
}


def verified(identities: Identities, token: str) -> Any:
    return TokenVerifier([identities.jwt_secret], platform_admin_roles=frozenset({"superadmin"})).verify(token.encode())


async def test_it_answers_as_seed_002_did_and_no_secret_with_it(start: Any, identities: Identities) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    answer = await public(tenants, "/auth/login", {"email": " ANA@example.com", "password": PASSWORD})
    body = answer.json()
    assert (answer.status_code, body["success"], body["message"]) == (200, True, "Login successful")
    assert set(body["data"]) == {"user", "accessToken", "refreshToken"}
    assert set(body["data"]["user"]) == USER_FIELDS
    assert body["data"]["user"] | {"permissions": []} == {
        "id": str(user.id),
        "email": "ana@example.com",
        "name": "Ana Lima",
        "phone": None,
        "avatar": None,
        "role": "owner",
        "status": "active",
        "tenantId": str(tenant.tenant_id),
        "emailVerified": True,
        "lastLoginAt": None,
        "permissions": [],
        "preferences": {},
        "createdAt": "2026-05-04T12:00:00Z",
        "updatedAt": "2026-05-04T12:00:00Z",
    }
    assert "users:write" in body["data"]["user"]["permissions"]
    assert hash_of(PASSWORD) not in answer.text
    assert "argon2" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers


async def test_the_gateway_takes_the_token_for_one_tenant_only(start: Any, identities: Identities) -> None:
    """A token that let its holder select their other tenants would take the owner's rights there."""
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    other = await a_tenant(tenants.db, "other")
    await a_member(tenants.db, user, other, "affiliate", permissions=["reports:read"], now=THEN + DAY)
    data = await log_in(tenants)
    principal = verified(identities, data["accessToken"])
    assert (principal.subject, principal.kind, principal.roles) == (str(user.id), "user", ("owner",))
    assert (principal.tenants, principal.default_tenant) == ((tenant.tenant_id,), tenant.tenant_id)
    claims = jwt.decode(data["accessToken"], identities.jwt_secret, ["HS256"], options={"verify_iat": False})
    assert claims["userId"] == str(user.id)
    assert claims["tenantId"] == claims["tenant_id"] == str(tenant.tenant_id)
    assert (claims["email"], claims["role"], claims["permissions"]) == ("ana@example.com", "owner", [])
    assert claims["exp"] - claims["iat"] <= 900
    chosen = await log_in(tenants, tenantId=str(other.tenant_id))
    principal = verified(identities, chosen["accessToken"])
    assert (principal.roles, principal.tenants) == (("affiliate",), (other.tenant_id,))
    assert "reports:read" in principal.permissions
    assert "users:write" not in principal.permissions
    assert chosen["user"]["role"] == "affiliate"
    assert chosen["user"]["permissions"] == ["affiliates:write", "campaigns:read", "reports:read"]


async def test_which_tenant(start: Any) -> None:
    tenants = await start()
    user = await a_user(tenants.db)
    for number, (tenant_status, status) in enumerate(
        [
            (TenantStatus.SUSPENDED, MemberStatus.ACTIVE),
            (TenantStatus.CLOSED, MemberStatus.ACTIVE),
            (TenantStatus.PENDING, MemberStatus.ACTIVE),
            (TenantStatus.ACTIVE, MemberStatus.SUSPENDED),
            (TenantStatus.ACTIVE, MemberStatus.INACTIVE),
            (TenantStatus.ACTIVE, MemberStatus.PENDING),
        ]
    ):
        closed = await a_tenant(tenants.db, f"closed-{number}", status=tenant_status)
        await a_member(tenants.db, user, closed, status=status)
        for body in ({}, {"tenantId": str(closed.tenant_id)}, {"tenant_id": str(closed.tenant_id)}):
            answer = await public(
                tenants,
                "/auth/login",
                {"email": "ana@example.com", "password": PASSWORD, **body},
                address=f"10.0.0.{number}",
            )
            assert answer.status_code == 403, (number, answer.text)
            assert answer.json()["code"] == ("foreign_tenant" if body else "account_inactive")
            async with platform_transaction(tenants.db) as conn:
                await conn.execute("DELETE FROM rate_limits")
    first, second = await a_tenant(tenants.db, "first"), await a_tenant(tenants.db, "second")
    await a_member(tenants.db, user, first)
    await a_member(tenants.db, user, second, "manager", now=THEN + DAY)
    assert (await log_in(tenants))["user"]["tenantId"] == str(first.tenant_id)
    for spelling in ("tenantId", "tenant_id"):
        for tenant, role in ((first, "owner"), (second, "manager")):
            found = (await log_in(tenants, **{spelling: str(tenant.tenant_id)}))["user"]
            assert (found["tenantId"], found["role"]) == (str(tenant.tenant_id), role)
    stranger = await a_tenant(tenants.db, "stranger")
    for wanted in (str(stranger.tenant_id), str(uuid4()), str(UUID(int=0))):
        body = {"email": "ana@example.com", "password": PASSWORD, "tenantId": wanted}
        answer = await public(tenants, "/auth/login", body)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_tenant")
        assert answer.json()["success"] is False
    both = {"tenantId": str(first.tenant_id), "tenant_id": str(second.tenant_id)}
    answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": PASSWORD, **both})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "$.tenantId")


@pytest.mark.parametrize("status", ["pending", "inactive", "suspended"])
async def test_that_an_account_is_not_active_is_said_to_its_owner_only(start: Any, status: str) -> None:
    tenants = await start()
    user = await a_user(tenants.db, status=UserStatus(status))
    await a_member(tenants.db, user, await a_tenant(tenants.db))
    answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": PASSWORD})
    assert (answer.status_code, answer.json()["message"]) == (403, "Account is not active")
    answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": "wrong password"})
    assert (answer.status_code, answer.json()["message"]) == (401, "Invalid credentials")


async def test_whoever_belongs_to_no_tenant_is_nobody_in_particular(start: Any, identities: Identities) -> None:
    """They may found a tenant of their own, for which no permission is asked."""
    tenants = await start()
    await a_user(tenants.db)
    data = await log_in(tenants)
    assert (data["user"]["role"], data["user"]["tenantId"], data["user"]["permissions"]) == ("guest", None, [])
    principal = verified(identities, data["accessToken"])
    assert (principal.kind, principal.tenants, principal.permissions) == ("user", (), frozenset())


async def test_a_platform_administrator_needs_no_tenant(start: Any, identities: Identities) -> None:
    tenants = await start()
    root = await a_user(tenants.db, "root@example.com", is_platform_admin=True)
    tenant = await a_tenant(tenants.db)
    await a_member(tenants.db, root, tenant, "user")
    data = await log_in(tenants, "root@example.com")
    assert (data["user"]["role"], data["user"]["tenantId"]) == ("superadmin", None)
    assert {"users:write", "payments:attest"} <= set(data["user"]["permissions"])
    principal = verified(identities, data["accessToken"])
    assert (principal.kind, principal.tenants) == ("platform_admin", ())
    within = await log_in(tenants, "root@example.com", tenantId=str(tenant.tenant_id))
    principal = verified(identities, within["accessToken"])
    assert (principal.kind, principal.roles, principal.tenants) == ("user", ("user",), (tenant.tenant_id,))


async def test_a_token_is_never_older_than_what_was_called_back(start: Any, identities: Identities) -> None:
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    async with platform_transaction(tenants.db) as conn:
        valid_from = await conn.fetchval(
            """
            UPDATE users SET tokens_valid_from = date_trunc('second', now()) + interval '5 seconds'
            RETURNING tokens_valid_from
            """
        )
    data = await log_in(tenants)
    claims = jwt.decode(data["accessToken"], options={"verify_signature": False})
    assert claims["iat"] == int(valid_from.timestamp())
    assert verified(identities, data["accessToken"]).subject == str(user.id)


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
async def test_an_imported_bcrypt_hash_gives_way_to_argon2_at_the_first_sign_in(start: Any, prefix: bytes) -> None:
    tenants = await start()
    imported = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix)).decode()
    user = await a_user(tenants.db, password_hash=imported)
    wrong = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": "wrong password"})
    assert wrong.status_code == 401
    await log_in(tenants)
    async with platform_transaction(tenants.db) as conn:
        found = await store.users.get_user(conn, user.id)
    assert found.password_hash is not None
    assert found.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await log_in(tenants)


async def test_a_password_has_one_spelling(start: Any) -> None:
    tenants = await start()
    await a_user(tenants.db, password="caf\u00e9 au lait")
    body = {"email": "ana@example.com", "password": "cafe\u0301 au lait"}
    assert (await public(tenants, "/auth/login", body)).status_code == 200


async def test_cookies_are_set_for_whoever_asks(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": PASSWORD, "cookie": True})
    data = answer.json()["data"]
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) == 3
    parts = [{part.strip().lower() for part in cookie.split(";")[1:]} for cookie in cookies]
    assert [cookie.split(";")[0] for cookie in cookies] == [
        f"jwt={data['accessToken']}",
        f"refresh_token={data['refreshToken']}",
        f"refresh_token={data['refreshToken']}",
    ]
    for part in parts:
        assert {"httponly", "secure", "samesite=lax"} <= part
        assert not any(item.startswith("domain") for item in part)
    assert {"path=/", "max-age=900"} <= parts[0]
    assert ["path=/auth" in part for part in parts] == [False, True, False]
    assert ["path=/api/auth" in part for part in parts] == [False, False, True]


async def test_cookies_of_a_plain_http_deployment(start: Any) -> None:
    tenants = await start(COOKIE_SECURE="false", COOKIE_SAME_SITE="strict")
    await an_owner(tenants.db)
    answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": PASSWORD, "cookie": True})
    for cookie in answer.headers.get_list("set-cookie"):
        assert "secure" not in cookie.lower()
        assert "samesite=strict" in cookie.lower()


async def test_it_is_told_and_stands_in_the_log(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    await log_in(tenants)
    [event] = await tenants.told("tenants.user.signed_in.v1")
    assert (event["tenant_id"], event["user_id"]) == (str(tenant.tenant_id), str(user.id))
    assert event["with_second_factor"] is False
    [record] = await tenants.told("tenants.audit.recorded.v1")
    assert (record["action"], record["tenant_id"], record["subject_ref"]) == (
        "user.signed_in",
        str(tenant.tenant_id),
        str(user.id),
    )
    assert (record["actor"]["type"], record["actor"]["id"]) == ("user", str(user.id))
    assert record["context"] == {"location": "203.0.113.7", "user_agent": "tests/1"}
    async with platform_transaction(tenants.db) as conn:
        assert (await store.users.get_user(conn, user.id)).last_sign_in_at is not None
        membership = await store.memberships.get_membership(conn, tenant.tenant_id, user.id)
    assert membership.last_sign_in_at is not None
    assert membership.version == 1


async def test_refusals_stand_in_the_log_of_whom_they_are_about(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    await public(tenants, "/auth/login", {"email": "ana@example.com", "password": "wrong password"})
    await public(tenants, "/auth/login", {"email": "nobody@example.com", "password": "wrong password"})
    await public(tenants, "/auth/login", {"email": "ana@example.com", "password": PASSWORD, "tenantId": str(uuid4())})
    known, unknown, foreign = await tenants.told("tenants.audit.recorded.v1")
    assert [record["action"] for record in (known, unknown, foreign)] == ["sign_in.refused"] * 3
    assert [record["metadata"]["reason"] for record in (known, unknown, foreign)] == [
        "invalid_credentials",
        "invalid_credentials",
        "foreign_tenant",
    ]
    assert known["tenant_id"] == foreign["tenant_id"] == str(tenant.tenant_id)
    assert known["targets"][0]["id"] == known["subject_ref"] == str(user.id)
    assert (unknown["tenant_id"], unknown["targets"], unknown["subject_ref"]) == (str(UUID(int=0)), [], None)
    assert "nobody" not in str(unknown)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"email": "ana@example.com"}, 422),
        ({"email": 1, "password": "x"}, 422),
        ({"email": "", "password": "x"}, 422),
        ({"email": "a" * 400, "password": "x"}, 422),
        ({"email": "ana@example.com", "password": "x" * 2000}, 422),
        ({"email": "ana@example.com", "password": "x", "role": "superadmin"}, 422),
        ({"email": "ana@example.com", "password": "x", "tenantId": "default"}, 422),
        ({"email": "ana@example.com", "password": "x", "cookie": "true"}, 422),
        ({"email": "not an address", "password": "x"}, 401),
        ({"email": "a@b@c", "password": "x"}, 401),
        ({"email": "ana@exämple.com\u202e", "password": ""}, 401),
        ({"email": "ana@example.com' OR 1=1 --", "password": "x"}, 401),
    ],
)
async def test_odd_input_is_refused(start: Any, body: dict[str, Any], status: int) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    answer = await public(tenants, "/auth/login", body)
    assert answer.status_code == status, answer.text
    assert (answer.json()["success"], answer.json()["message"]) == (False, answer.json()["detail"])
