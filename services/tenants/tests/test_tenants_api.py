"""Tenants in seed 004's shapes: founded, changed, shown to anybody, shut and opened."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from chassis.db import platform_transaction
from tenants import store
from tenants.domain.companies import TenantStatus
from tenants.domain.people import UserStatus

from .people import admin_of_platform, at_work, membership_of
from .sign_in_records import THEN, a_member, a_tenant, a_user, an_owner, as_user, log_in, public

NEW = {"name": "Clínica Nova", "slug": "clinica-nova"}
MEMBERS = {
    *("id", "slug", "name", "category", "address", "phone", "brand_color", "logo_url", "domain", "limits", "plan_slug"),
    *("status", "status_reason", "access_until", "parent_tenant_id", "created_at", "updated_at"),
}
PUBLIC = {"id", "slug", "name", "category", "address", "phone", "brand_color", "logo_url"}


async def test_whoever_founds_a_tenant_owns_it_and_nothing_else(start: Any) -> None:
    tenants = await start()
    user = await a_user(tenants.db)
    body = NEW | {"category": "saude", "address": {"city": "São Paulo"}, "phone": "+55"}
    made = await as_user(tenants, user, None, "POST", "/tenants", json=body)
    assert made.status_code == 201, made.text
    tenant = made.json()
    assert set(tenant) == MEMBERS
    assert (tenant["name"], tenant["slug"], tenant["status"], tenant["address"], tenant["brand_color"]) == (
        "Clínica Nova",
        "clinica-nova",
        "active",
        {"city": "São Paulo"},
        "#D62598",
    )
    async with platform_transaction(tenants.db) as conn:
        member = await store.memberships.get_membership(conn, UUID(tenant["id"]), user.id)
    assert member.role == "owner"
    [created] = await tenants.told("tenants.tenant.created.v1")
    assert (created["slug"], created["status"]) == ("clinica-nova", "active")
    session = await log_in(tenants)
    assert session["user"]["tenantId"] == tenant["id"]


async def test_nobody_founds_one_with_a_password_that_others_may_know(start: Any) -> None:
    tenants = await start()
    user = await a_user(tenants.db, email_verified_at=None)
    refused = await as_user(tenants, user, None, "POST", "/tenants", json=NEW)
    assert (refused.status_code, refused.json()["code"]) == (403, "own_password_needed")


async def test_a_tenant_that_cannot_be_is_refused_where_the_seed_looks_for_it(start: Any) -> None:
    tenants = await start()
    user = await a_user(tenants.db)
    wrong: list[dict[str, Any]] = [
        {"name": "X"},
        {"name": 7},
        {"name": "Nova\r\nBcc: x@example.com"},
        {"name": "Nova\n"},
        {"name": "   "},
        {"name": "Nova\u2028"},
        {"slug": ""},
        {"slug": "Nova"},
        {"slug": "nova/x"},
        {"slug": "nova\n"},
        {"slug": "x" * 64},
        {"slug": None},
        {"owner_id": str(user.id)},
        {"parent_tenant_id": str(uuid4())},
        {"status": "active"},
        {"address": {"a": "x" * 9000}},
    ]
    for fields in wrong:
        refused = await as_user(tenants, user, None, "POST", "/tenants", json=NEW | fields)
        assert refused.status_code == 422, (fields, refused.text)
        assert refused.json()["message"] == refused.json()["detail"]
        assert refused.json()["details"] == refused.json()["errors"]
    assert await tenants.told("tenants.tenant.created.v1") == []


async def test_a_slug_is_one_tenants(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    answers = await asyncio.gather(*(as_user(tenants, user, None, "POST", "/tenants", json=NEW) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert (refused.json()["code"], refused.json()["message"]) == ("slug_taken", "this slug is taken")
    path = f"/tenants/{tenant.tenant_id}"
    moved = await at_work(tenants, user, tenant, "PATCH", path, json={"slug": "clinica-nova"})
    assert moved.status_code == 409
    moved = await at_work(tenants, user, tenant, "PATCH", path, json={"slug": "acme-2"})
    assert moved.json()["slug"] == "acme-2"
    freed = await as_user(tenants, user, None, "POST", "/tenants", json={"name": "Acme", "slug": "acme"})
    assert freed.status_code == 201, "what nobody has any more is free"


@pytest.mark.parametrize("status", [UserStatus.PENDING, UserStatus.SUSPENDED, UserStatus.INACTIVE])
async def test_who_may_not_come_in_founds_nothing(start: Any, status: UserStatus) -> None:
    tenants = await start()
    user = await a_user(tenants.db, status=status)
    refused = await as_user(tenants, user, None, "POST", "/tenants", json=NEW)
    assert (refused.status_code, refused.json()["code"]) == (403, "unknown_user")
    stranger = await tenants.call("POST", "/tenants", None, subject="go-core-user-7", json=NEW)
    assert stranger.status_code == 403


async def test_the_platform_founds_tenants_too(start: Any) -> None:
    tenants = await start()
    root = await a_user(tenants.db, "root@example.com", is_platform_admin=True)
    made = await as_user(tenants, root, None, "POST", "/tenants", json=NEW)
    assert made.status_code == 201
    tenant = await a_tenant(tenants.db)
    assert await membership_of(tenants.db, root, msgspec.structs.replace(tenant, tenant_id=UUID(made.json()["id"])))
    bare = await admin_of_platform(tenants, "POST", "/tenants", json=NEW | {"slug": "bare"})
    assert bare.status_code == 201
    async with platform_transaction(tenants.db) as conn:
        assert await store.memberships.count_people(conn, UUID(bare.json()["id"])) == 0


async def test_a_tenant_changes_what_it_is_called_and_looks_like(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    path = f"/tenants/{tenant.tenant_id}"
    changed = await at_work(
        tenants,
        user,
        tenant,
        "PATCH",
        path,
        json={"name": "Acme 2", "brandColor": "#00aaFF", "logoUrl": "https://cdn.example.com/l.png", "phone": None},
    )
    assert changed.status_code == 200, changed.text
    assert changed.json() | {"name": "Acme 2", "brand_color": "#00aaFF"} == changed.json()
    dropped = await at_work(tenants, user, tenant, "PATCH", path, json={"logoUrl": None, "address": {"city": "SP"}})
    assert (dropped.json()["logo_url"], dropped.json()["brand_color"]) == (None, "#00aaFF")
    assert dropped.json() == (await at_work(tenants, user, tenant, "GET", path)).json()
    assert len(await tenants.told("tenants.tenant.updated.v1")) == 2
    assert (await at_work(tenants, user, tenant, "PATCH", path, json={})).status_code == 200
    assert len(await tenants.told("tenants.tenant.updated.v1")) == 2
    wrong: list[dict[str, Any]] = [
        {"brandColor": "red"},
        {"brandColor": "#12345"},
        {"brandColor": "#00aaff;background:url(x)"},
        {"brandColor": "#00aaff\n"},
        {"logoUrl": "javascript:alert(1)"},
        {"logoUrl": 'https://x.example.com/"onload="'},
        {"status": "active"},
        {"limits": {"agents": 99}},
        {"plan_slug": "enterprise"},
        {"access_until": None},
    ]
    for fields in wrong:
        refused = await at_work(tenants, user, tenant, "PATCH", path, json=fields)
        assert refused.status_code == 422, (fields, refused.text)


async def test_domain_and_reseller_are_the_platforms_to_set(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    other = await a_tenant(tenants.db, "other")
    path = f"/tenants/{tenant.tenant_id}"
    for fields in ({"domain": "acme.example.com"}, {"parent_tenant_id": str(other.tenant_id)}, {"domain": None}):
        refused = await at_work(tenants, user, tenant, "PATCH", path, json=fields)
        assert (refused.status_code, refused.json()["code"]) == (403, "platform_admin_only")
    set_by_root = await admin_of_platform(
        tenants, "PATCH", path, json={"domain": "acme.example.com", "parent_tenant_id": str(other.tenant_id)}
    )
    assert (set_by_root.json()["domain"], set_by_root.json()["parent_tenant_id"]) == (
        "acme.example.com",
        str(other.tenant_id),
    )
    taken = await admin_of_platform(
        tenants, "PATCH", f"/tenants/{other.tenant_id}", json={"domain": "acme.example.com"}
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "domain_taken")
    for parent in (tenant.tenant_id, other.tenant_id, uuid4()):
        circle = await admin_of_platform(
            tenants, "PATCH", f"/tenants/{other.tenant_id}", json={"parent_tenant_id": str(parent)}
        )
        assert (circle.status_code, circle.json()["code"]) == (422, "bad_parent"), parent
    for domain in ("acme", "-a.com", "a b.com", "acme.example.com.", "ACME.com", "a..b.com", "x.com\n"):
        refused = await admin_of_platform(tenants, "PATCH", path, json={"domain": domain})
        assert refused.status_code == 422, domain
    freed = await admin_of_platform(tenants, "PATCH", path, json={"domain": None, "parent_tenant_id": None})
    assert (freed.json()["domain"], freed.json()["parent_tenant_id"]) == (None, None)
    lost = await admin_of_platform(tenants, "PATCH", f"/tenants/{uuid4()}", json={"name": "Nobody"})
    assert lost.status_code == 404
    assert (await admin_of_platform(tenants, "GET", f"/tenants/{uuid4()}")).status_code == 404


async def test_anybody_sees_a_tenants_page_and_nothing_internal(start: Any) -> None:
    """2.4, item 5: the seed's page was SELECT *, a verification token included."""
    tenants = await start()
    tenant = await a_tenant(
        tenants.db,
        branding={"brand_color": "#123456", "secret_note": "internal"},
        limits={"agents": 3},
        plan_slug="pro",
        access_until=THEN,
    )
    async with platform_transaction(tenants.db) as conn:
        await store.tenants.claim_name(conn, tenant.tenant_id, "slug", "acme")
    shown = await public(tenants, "/tenants/acme/public", method="GET")
    assert shown.status_code == 200
    assert set(shown.json()) == {"tenant", "page"}
    assert shown.json()["page"] is None
    assert set(shown.json()["tenant"]) == PUBLIC
    assert (shown.json()["tenant"]["id"], shown.json()["tenant"]["brand_color"]) == (str(tenant.tenant_id), "#123456")
    assert "internal" not in shown.text
    for status in (TenantStatus.PENDING, TenantStatus.SUSPENDED, TenantStatus.CLOSED):
        other = await a_tenant(tenants.db, status.value, status=status)
        async with platform_transaction(tenants.db) as conn:
            await store.tenants.claim_name(conn, other.tenant_id, "slug", other.slug)
    for slug in ("pending", "suspended", "closed", "nosuch", str(tenant.tenant_id), "x" * 300, "%25", "acme%0A"):
        lost = await public(tenants, f"/tenants/{slug}/public", method="GET")
        assert lost.status_code in (400, 404), slug
        assert lost.json().get("message") in (None, "Tenant not found"), slug
    assert (await tenants.http.get("/tenants/acme/public")).status_code == 401, "through the gateway only"


async def test_every_tenant_is_listed_for_the_platform(start: Any) -> None:
    tenants = await start()
    for slug in ("acme", "bravo", "charlie"):
        await a_tenant(tenants.db, slug)
    await a_tenant(tenants.db, "delta", status=TenantStatus.SUSPENDED)
    for path in ("/tenants", "/admin/tenants"):
        everything = (await admin_of_platform(tenants, "GET", path)).json()
        assert ({one["slug"] for one in everything["data"]}, everything["next_after"]) == (
            {"acme", "bravo", "charlie", "delta"},
            None,
        )
        assert set(everything["data"][0]) == MEMBERS
        found = (await admin_of_platform(tenants, "GET", path, params={"search": "RAV"})).json()
        assert [one["slug"] for one in found["data"]] == ["bravo"]
        shut = (await admin_of_platform(tenants, "GET", path, params={"status": "suspended"})).json()
        assert [one["slug"] for one in shut["data"]] == ["delta"]
        seen, after = [], None
        for _ in range(3):
            query = {"limit": "2"} | ({"after": after} if after else {})
            page = (await admin_of_platform(tenants, "GET", path, params=query)).json()
            seen += [one["slug"] for one in page["data"]]
            after = page["next_after"]
            if after is None:
                break
        assert sorted(seen) == ["acme", "bravo", "charlie", "delta"]
        for query in ({"limit": "0"}, {"after": "x"}, {"status": "asleep"}, {"q": "a"}):
            assert (await admin_of_platform(tenants, "GET", path, params=query)).status_code == 400, query


async def test_a_shut_tenant_lets_nobody_in_until_it_is_opened(start: Any) -> None:
    tenants = await start()
    _, tenant = await an_owner(tenants.db)
    session = await log_in(tenants)
    path = f"/tenants/{tenant.tenant_id}"
    for body in ({}, {"reason": ""}, {"reason": "x" * 501}, {"reason": "a", "until": "b"}):
        refused = await admin_of_platform(tenants, "POST", f"{path}/suspend", json=body)
        assert refused.status_code == 422, body
    shut = await admin_of_platform(tenants, "POST", f"{path}/suspend", json={"reason": "abuse"})
    assert (shut.status_code, shut.json()["status"], shut.json()["status_reason"]) == (200, "suspended", "abuse")
    [told] = await tenants.told("tenants.tenant.suspended.v1")
    assert told["reason"] == "abuse"
    body = {"email": "ana@example.com", "password": "correct horse battery"}
    assert (await public(tenants, "/auth/login", body)).status_code == 403
    assert (await public(tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})).status_code == 403
    again = await admin_of_platform(tenants, "POST", f"{path}/suspend", json={"reason": "abuse"})
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    opened = await admin_of_platform(tenants, "POST", f"{path}/reactivate", json={"reason": "settled"})
    assert (opened.json()["status"], opened.json()["status_reason"]) == ("active", None)
    assert len(await tenants.told("tenants.tenant.reactivated.v1")) == 1
    await log_in(tenants)
    twice = await admin_of_platform(tenants, "POST", f"{path}/reactivate", json={"reason": "settled"})
    assert (twice.status_code, twice.json()["code"]) == (409, "wrong_state")
    for action in ("suspend", "reactivate"):
        lost = await admin_of_platform(tenants, "POST", f"/tenants/{uuid4()}/{action}", json={"reason": "x"})
        assert lost.status_code == 404
    closed = await a_tenant(tenants.db, "closed", status=TenantStatus.CLOSED)
    for action in ("suspend", "reactivate"):
        over = await admin_of_platform(tenants, "POST", f"/tenants/{closed.tenant_id}/{action}", json={"reason": "x"})
        assert over.status_code == 409
    actions = [one["action"] for one in await tenants.told("tenants.audit.recorded.v1")]
    assert [one for one in actions if one.startswith("tenant.")] == ["tenant.suspended", "tenant.reactivated"]


async def test_members_in_snake_case(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    clerk = await a_user(tenants.db, "clerk@example.com")
    await a_member(tenants.db, clerk, tenant, "user")
    path = f"/tenants/{tenant.tenant_id}/members"
    listed = (await at_work(tenants, user, tenant, "GET", path, params={"role": "user"})).json()
    assert (listed["total"], listed["page"], listed["limit"]) == (1, 1, 50)
    [row] = listed["data"]
    assert (row["user_id"], row["tenant_id"], row["role"]) == (str(clerk.id), str(tenant.tenant_id), "user")
    changed = await at_work(
        tenants,
        user,
        tenant,
        "PATCH",
        f"{path}/{clerk.id}",
        json={"role": "manager", "permissions": ["audit:read"], "status": "active"},
    )
    assert (changed.status_code, changed.json()["permissions"]) == (200, ["audit:read"])
    for body in ({"name": "X"}, {"status": "pending"}, {"status": "erased"}, {"role": 7}):
        refused = await at_work(tenants, user, tenant, "PATCH", f"{path}/{clerk.id}", json=body)
        assert refused.status_code == 422, body
        assert refused.json()["message"]
    assert (await at_work(tenants, user, tenant, "DELETE", f"{path}/{clerk.id}")).status_code == 204
    last = await at_work(tenants, user, tenant, "DELETE", f"{path}/{user.id}")
    assert (last.status_code, last.json()["code"]) == (409, "last_owner")
