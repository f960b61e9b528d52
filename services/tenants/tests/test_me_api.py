"""Who somebody is and what they may, told to themselves and to nobody else."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from chassis.db import transaction
from tenants import store
from tenants.domain.companies import TenantStatus
from tenants.store.roles import Role

from .sign_in_records import PASSWORD, THEN, a_member, a_tenant, a_user, an_owner, as_user, hash_of

DAY = timedelta(days=1)


@pytest.mark.parametrize("path", ["/auth/me", "/auth/profile"])
async def test_seed_002s_shape(start: Any, path: str) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    answer = await as_user(tenants, user, tenant.tenant_id, "GET", path)
    data = answer.json()["data"]
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert set(data) == {
        *("id", "email", "name", "phone", "avatar", "role", "status", "tenantId", "emailVerified", "lastLoginAt"),
        *("permissions", "preferences", "createdAt", "updatedAt", "twoFactorEnabled"),
    }
    assert (data["id"], data["role"], data["tenantId"]) == (str(user.id), "owner", str(tenant.tenant_id))
    assert data["twoFactorEnabled"] is False
    assert hash_of(PASSWORD) not in answer.text


async def test_permissions_are_the_roles_and_their_own_in_this_tenant(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    other = await a_tenant(tenants.db, "other")
    await a_member(tenants.db, user, other, "affiliate", permissions=["reports:read"], now=THEN + DAY)
    mine, theirs = [
        (await as_user(tenants, user, one.tenant_id, "GET", "/users/permissions/me")).json()["data"]
        for one in (tenant, other)
    ]
    assert (mine["userId"], mine["tenantId"], mine["role"]) == (str(user.id), str(tenant.tenant_id), "owner")
    assert "users:write" in mine["permissions"]
    assert "payments:attest" not in mine["permissions"]
    assert theirs["permissions"] == ["affiliates:write", "campaigns:read", "reports:read"]
    async with transaction(tenants.db, other.tenant_id) as conn:
        role = Role(
            tenant_id=other.tenant_id,
            id=uuid4(),
            name="affiliate",
            description="ours",
            permissions=[],
            version=1,
            created_at=THEN,
            updated_at=THEN,
        )
        await store.roles.upsert_role(conn, other.tenant_id, role)
        await store.roles.replace_role_permissions(conn, other.tenant_id, role.id, ["leads:read"])
    overridden = (await as_user(tenants, user, other.tenant_id, "GET", "/users/permissions/me")).json()["data"]
    assert overridden["permissions"] == ["leads:read", "reports:read"]


async def test_seed_004s_shape(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    closed = await a_tenant(tenants.db, "closed", status=TenantStatus.CLOSED)
    await a_member(tenants.db, user, closed, "user", now=THEN + DAY)
    await an_owner(tenants.db, "rui@example.com", "rui")
    answer = await as_user(tenants, user, tenant.tenant_id, "GET", "/me")
    body = answer.json()
    assert (answer.status_code, body["userId"], body["tenantId"]) == (200, str(user.id), str(tenant.tenant_id))
    assert (body["email"], body["name"], body["isPlatformAdmin"]) == ("ana@example.com", "Ana Lima", False)
    assert [(one["tenant_id"], one["role"], one["active"]) for one in body["memberships"]] == [
        (str(tenant.tenant_id), "owner", True),
        (str(closed.tenant_id), "user", False),
    ]
    assert body["memberships"][0]["tenant_slug"] == "acme"
    assert "rui" not in answer.text


async def test_a_person_of_the_go_core_has_no_account_here(start: Any) -> None:
    tenants = await start()
    tenant = await a_tenant(tenants.db)
    answer = await tenants.call("GET", "/me", tenant.tenant_id, subject="42")
    assert (answer.status_code, answer.json()["userId"], answer.json()["memberships"]) == (200, "42", [])
    for path in ("/auth/me", "/users/permissions/me"):
        answer = await tenants.call("GET", path, tenant.tenant_id, subject="42")
        assert (answer.status_code, answer.json()["success"]) == (404, False)


async def test_a_platform_administrator(start: Any) -> None:
    tenants = await start()
    root = await a_user(tenants.db, is_platform_admin=True)
    tenant = await a_tenant(tenants.db)
    for tenant_id in (None, tenant.tenant_id):
        answer = await tenants.call(
            "GET", "/users/permissions/me", tenant_id, kind="platform_admin", subject=str(root.id)
        )
        assert answer.json()["data"]["role"] == "superadmin"
        assert "payments:attest" in answer.json()["data"]["permissions"]
    answer = await tenants.call("GET", "/me", None, kind="platform_admin", subject=str(root.id))
    assert (answer.json()["isPlatformAdmin"], answer.json()["memberships"]) == (True, [])


@pytest.mark.parametrize("path", ["/auth/me", "/auth/profile", "/users/permissions/me", "/me"])
async def test_nobody_and_other_tenants(start: Any, path: str) -> None:
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    foreign = await a_tenant(tenants.db, "foreign")
    assert (await tenants.http.get(path)).status_code == 401
    for kind in ("public", "webhook", "api_key"):
        answer = await tenants.call("GET", path, None, kind=kind, subject=str(user.id))
        assert answer.status_code == 401, kind
        assert answer.json()["message"] == answer.json()["detail"]
    if path != "/me":
        answer = await as_user(tenants, user, foreign.tenant_id, "GET", path)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_tenant")
