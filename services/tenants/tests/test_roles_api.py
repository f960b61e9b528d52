"""Roles: the defaults, a tenant's own, and nobody who gives what they do not have."""

import asyncio
from typing import Any
from uuid import uuid4

import msgspec

from chassis.db import platform_transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.people import MemberStatus
from tenants.usecases.find_roles import find_roles

from .people import admin_of_platform, at_work, staff_of
from .sign_in_records import a_member, a_tenant, a_user

DEFAULTS = [
    *("admin", "affiliate", "doctor", "manager", "member", "owner", "professional", "receptionist", "user"),
]


async def test_the_defaults_are_there_and_a_role_of_its_name_takes_ones_place(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    other = await staff_of(tenants.db, await a_tenant(tenants.db, "other"))

    async def roles(of: Any) -> dict[str, Any]:
        listed = await at_work(tenants, of.owner, of.tenant, "GET", "/roles")
        return {role["name"]: role for role in listed.json()["data"]}

    before = await roles(staff)
    assert sorted(before) == DEFAULTS
    assert all(role["is_default"] for role in before.values())
    assert set(before["owner"]["permissions"]).isdisjoint({"payments:claim", "payments:attest"})
    made = await at_work(
        tenants,
        staff.owner,
        staff.tenant,
        "POST",
        "/roles",
        json={"name": "receptionist", "description": "Front desk", "permissions": ["leads:read", "leads:read"]},
    )
    assert made.status_code == 201, made.text
    assert made.json() | {"name": "receptionist", "permissions": ["leads:read"], "version": 1} == made.json()
    assert made.json()["is_default"] is False
    after = await roles(staff)
    assert (sorted(after), after["receptionist"]) == (DEFAULTS, made.json())
    assert await roles(other) == before, "nobody else's"
    shown = await at_work(tenants, staff.owner, staff.tenant, "GET", f"/roles/{made.json()['id']}")
    assert shown.json() == made.json()
    default = await at_work(tenants, staff.owner, staff.tenant, "GET", f"/roles/{before['manager']['id']}")
    assert default.json()["name"] == "manager"
    [told] = await tenants.told("tenants.role.changed.v1")
    assert (told["tenant_id"], told["role"], told["permissions"]) == (
        str(staff.tenant.tenant_id),
        "receptionist",
        ["leads:read"],
    )


async def test_the_catalogue(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    listed = (await at_work(tenants, staff.owner, staff.tenant, "GET", "/permissions")).json()["data"]
    assert {"key", "description", "service"} == set(listed[0])
    assert "audit:read" in [one["key"] for one in listed]


async def test_a_role_is_changed_and_every_change_told(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body = {"name": "helper", "permissions": ["agents:read"]}
    made = (await at_work(tenants, staff.owner, staff.tenant, "POST", "/roles", json=body)).json()
    path = f"/roles/{made['id']}"
    patched = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"description": "Helps"})
    assert (patched.json()["description"], patched.json()["permissions"]) == ("Helps", ["agents:read"])
    put = await at_work(
        tenants, staff.owner, staff.tenant, "PUT", path, json={"name": "helper", "permissions": ["leads:read"]}
    )
    assert (put.json()["description"], put.json()["permissions"], put.json()["version"]) == ("", ["leads:read"], 3)
    renamed = await at_work(
        tenants, staff.owner, staff.tenant, "PUT", path, json={"name": "aide", "permissions": ["leads:read"]}
    )
    assert (renamed.status_code, renamed.json()["code"]) == (409, "role_name_fixed")
    again = await at_work(tenants, staff.owner, staff.tenant, "POST", "/roles", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    told = await tenants.told("tenants.role.changed.v1")
    assert [one["permissions"] for one in told] == [["agents:read"], ["agents:read"], ["leads:read"]]


async def test_nobody_gives_or_takes_by_a_role_what_they_do_not_have(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body: dict[str, Any] = {"name": "helper", "permissions": ["agents:read"]}
    cases: list[tuple[Any, dict[str, Any], int, str]] = [
        (staff.manager, {"permissions": ["audit:read"]}, 403, "beyond_own_permissions"),
        (staff.clerk, {"permissions": ["agents:write"]}, 403, "beyond_own_permissions"),
        (staff.manager, {"name": "admin", "permissions": []}, 403, "beyond_own_permissions"),
        (staff.owner, {"permissions": ["payments:claim"]}, 403, "platform_only"),
        (staff.owner, {"permissions": ["payments:attest"]}, 403, "platform_only"),
        (staff.owner, {"permissions": ["agents:fly"]}, 422, "unknown_permission"),
        (staff.owner, {"name": "owner"}, 422, "reserved_name"),
        (staff.owner, {"name": "superadmin"}, 422, "reserved_name"),
        (staff.owner, {"name": "super_admin"}, 422, "reserved_name"),
        (staff.owner, {"name": "platform_admin"}, 422, "reserved_name"),
        (staff.owner, {"name": "guest"}, 422, "reserved_name"),
        (staff.owner, {"name": "Owner"}, 422, "invalid"),
        (staff.owner, {"name": "owner\n"}, 422, "invalid"),
        (staff.owner, {"name": "a b"}, 422, "invalid"),
        (staff.owner, {"name": ""}, 422, "invalid"),
        (staff.owner, {"permissions": "agents:read"}, 422, "invalid"),
        (staff.owner, {"tenant_id": str(PLATFORM_TENANT_ID)}, 422, "invalid"),
    ]
    for who, fields, status, code in cases:
        refused = await at_work(tenants, who, staff.tenant, "POST", "/roles", json=body | fields)
        assert (refused.status_code, refused.json()["code"]) == (status, code), (fields, refused.text)
    strong = await at_work(
        tenants, staff.owner, staff.tenant, "POST", "/roles", json={"name": "strong", "permissions": ["audit:read"]}
    )
    path = f"/roles/{strong.json()['id']}"
    weakened = await at_work(tenants, staff.manager, staff.tenant, "PATCH", path, json={"permissions": []})
    assert weakened.status_code == 403
    assert (await at_work(tenants, staff.manager, staff.tenant, "DELETE", path)).status_code == 403
    assert len(await tenants.told("tenants.role.changed.v1")) == 1


async def test_a_default_is_the_platforms(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    listed = (await at_work(tenants, staff.owner, staff.tenant, "GET", "/roles")).json()["data"]
    manager = next(role for role in listed if role["name"] == "manager")
    path = f"/roles/{manager['id']}"
    for method, body in (("PATCH", {"permissions": []}), ("PUT", {"permissions": []}), ("DELETE", None)):
        options: dict[str, Any] = {} if body is None else {"json": body}
        assert (await at_work(tenants, staff.owner, staff.tenant, method, path, **options)).status_code == 404
    changed = await admin_of_platform(
        tenants, "PATCH", path, json={"permissions": [*manager["permissions"], "audit:read"]}
    )
    assert (changed.status_code, changed.json()["is_default"]) == (200, True)
    [told] = await tenants.told("tenants.role.changed.v1")
    assert (told["tenant_id"], "audit:read" in told["permissions"]) == (str(PLATFORM_TENANT_ID), True)
    kept = await admin_of_platform(tenants, "DELETE", path)
    assert (kept.status_code, kept.json()["code"]) == (409, "default_role")
    refused = await admin_of_platform(tenants, "PATCH", path, json={"permissions": ["payments:attest"]})
    assert refused.status_code == 403, "no role of anybody's attests payments"
    owner = next(role for role in listed if role["name"] == "owner")
    described = await admin_of_platform(tenants, "PATCH", f"/roles/{owner['id']}", json={"description": "All"})
    assert described.status_code == 200


async def test_nor_does_one_go_while_it_is_given_to_somebody(start: Any) -> None:
    """Whoever had it then would get what the next role of that name allows."""
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body = {"name": "receptionist", "permissions": ["leads:read"]}
    made = (await at_work(tenants, staff.owner, staff.tenant, "POST", "/roles", json=body)).json()
    async with platform_transaction(tenants.db) as conn:
        await find_roles(conn, staff.tenant.tenant_id, "receptionist")
        removing = asyncio.create_task(at_work(tenants, staff.owner, staff.tenant, "DELETE", f"/roles/{made['id']}"))
        await asyncio.sleep(0.3)
        assert not removing.done(), "it waits for what is being decided by the role"
        clerk = await store.memberships.get_membership(conn, staff.tenant.tenant_id, staff.clerk.id)
        given = msgspec.structs.replace(clerk, role="receptionist")
        await store.memberships.update_membership(conn, staff.tenant.tenant_id, given)
    used = await removing
    assert (used.status_code, used.json()["code"]) == (409, "role_in_use")


async def test_a_role_that_somebody_has_stays(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body = {"name": "receptionist", "permissions": ["leads:read"]}
    made = (await at_work(tenants, staff.owner, staff.tenant, "POST", "/roles", json=body)).json()
    bia = await a_user(tenants.db, "bia@example.com")
    await a_member(tenants.db, bia, staff.tenant, "receptionist", status=MemberStatus.SUSPENDED)
    path = f"/roles/{made['id']}"
    used = await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)
    assert (used.status_code, used.json()["code"]) == (409, "role_in_use")
    await at_work(tenants, staff.owner, staff.tenant, "DELETE", f"/users/{bia.id}")
    assert (await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)).status_code == 204
    assert (await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)).status_code == 404
    told = await tenants.told("tenants.role.changed.v1")
    assert [one["permissions"] for one in told] == [["leads:read"], None]
    async with platform_transaction(tenants.db) as conn:
        roles = await store.roles.list_roles(conn, staff.tenant.tenant_id)
    assert next(role for role in roles if role.name == "receptionist").tenant_id == PLATFORM_TENANT_ID


async def test_a_role_made_twice_at_once_is_one(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body = {"name": "helper", "permissions": []}
    answers = await asyncio.gather(
        *(at_work(tenants, staff.owner, staff.tenant, "POST", "/roles", json=body) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5


async def test_a_tenant_has_so_many_roles(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    async with platform_transaction(tenants.db) as conn:
        await conn.execute(
            """
            INSERT INTO roles (tenant_id, id, name, description)
            SELECT $1, gen_random_uuid(), 'r' || n, '' FROM generate_series(1, 191) n
            """,
            staff.tenant.tenant_id,
        )
    full = await at_work(tenants, staff.owner, staff.tenant, "POST", "/roles", json={"name": "more", "permissions": []})
    assert (full.status_code, full.json()["code"]) == (409, "too_many_roles")


async def test_whom_only_the_go_core_knows_has_what_its_token_says(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    tenant_id = staff.tenant.tenant_id
    headers = tenants.identities.headers(
        "tenants", tenant_id=tenant_id, permissions=["roles:write"], roles=["manager"], subject="go-7"
    )

    async def make(name: str, *permissions: str) -> int:
        answer = await tenants.http.post(
            "/roles", json={"name": name, "permissions": list(permissions)}, headers=headers
        )
        return int(answer.status_code)

    assert await make("a", "agents:write", "roles:write") == 201
    assert await make("b", "audit:read") == 403
    owner = tenants.identities.headers(
        "tenants", tenant_id=tenant_id, permissions=["users:write"], roles=["owner"], subject="go-8"
    )
    body = {"email": "boss@example.com", "name": "Boss", "role": "owner"}
    assert (await tenants.http.post("/users", json=body, headers=owner)).status_code == 201
    gone = tenants.identities.headers(
        "tenants", tenant_id=tenant_id, permissions=["*"], roles=["owner"], subject=str(uuid4())
    )
    assert (
        await tenants.http.post("/roles", json={"name": "c", "permissions": ["audit:read"]}, headers=gone)
    ).status_code == 201, "no account of ours: the gateway's word counts"
    other = await a_tenant(tenants.db, "other")
    removed = tenants.identities.headers(
        "tenants", tenant_id=other.tenant_id, permissions=["*"], roles=["owner"], subject=str(staff.owner.id)
    )
    answer = await tenants.http.post("/roles", json={"name": "d", "permissions": ["audit:read"]}, headers=removed)
    assert answer.status_code == 403, "an account of ours that is not in this tenant has nothing here"
