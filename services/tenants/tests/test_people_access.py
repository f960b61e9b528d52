"""Every route about people, tenants, roles and keys: 401, 403, and another tenant's things look like none."""

from typing import Any
from uuid import uuid4

from contracts.tenancy import PLATFORM_TENANT_ID
from testkit.service import RunningService

from .people import at_work, staff_of
from .sign_in_records import a_tenant

#: method, path (`{name}` is of the tenant), body, permission (None: see below)
OPERATIONS: list[tuple[str, str, dict[str, Any] | None, str]] = [
    ("GET", "/users", None, "users:read"),
    ("GET", "/auth/users", None, "users:read"),
    ("POST", "/users", {"email": "new@example.com", "name": "New"}, "users:write"),
    ("GET", "/users/{user}", None, "users:read"),
    ("PUT", "/users/{user}", {"name": "X"}, "users:write"),
    ("PATCH", "/users/{user}", {"name": "X"}, "users:write"),
    ("POST", "/users/{user}/resend-welcome-email", None, "users:write"),
    ("DELETE", "/users/{user}", None, "users:write"),
    ("GET", "/tenants/{tenant}", None, "tenants:read"),
    ("PATCH", "/tenants/{tenant}", {"name": "Other"}, "tenants:write"),
    ("GET", "/tenants/{tenant}/members", None, "members:read"),
    ("PATCH", "/tenants/{tenant}/members/{user}", {"role": "user"}, "members:write"),
    ("DELETE", "/tenants/{tenant}/members/{user}", None, "members:write"),
    ("GET", "/tenants/{tenant}/invitations", None, "members:read"),
    ("POST", "/tenants/{tenant}/invitations", {"email": "guest@example.com"}, "members:write"),
    ("DELETE", "/tenants/{tenant}/invitations/{invitation}", None, "members:write"),
    ("GET", "/roles", None, "roles:read"),
    ("POST", "/roles", {"name": "other", "permissions": []}, "roles:write"),
    ("GET", "/roles/{role}", None, "roles:read"),
    ("PUT", "/roles/{role}", {"permissions": []}, "roles:write"),
    ("PATCH", "/roles/{role}", {"description": "x"}, "roles:write"),
    ("DELETE", "/roles/{role}", None, "roles:write"),
    ("GET", "/permissions", None, "roles:read"),
    ("GET", "/integrations/api-keys", None, "api_keys:read"),
    ("POST", "/integrations/api-keys", {"name": "k", "scopes": ["read"]}, "api_keys:write"),
    ("GET", "/integrations/api-keys/stats", None, "api_keys:read"),
    ("GET", "/integrations/api-keys/{key}", None, "api_keys:read"),
    ("PUT", "/integrations/api-keys/{key}", {"name": "x"}, "api_keys:write"),
    ("POST", "/integrations/api-keys/{key}/revoke", None, "api_keys:write"),
    ("POST", "/integrations/api-keys/{key}/activate", None, "api_keys:write"),
    ("DELETE", "/integrations/api-keys/{key}", None, "api_keys:write"),
]
PLATFORM_ONLY: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/tenants", None),
    ("GET", "/admin/tenants", None),
    ("POST", "/tenants/{tenant}/suspend", {"reason": "abuse"}),
    ("POST", "/tenants/{tenant}/reactivate", {"reason": "sorry"}),
    ("POST", "/users/{user}/suspend", {"reason": "abuse"}),
    ("POST", "/users/{user}/reactivate", {"reason": "sorry"}),
]


async def things(tenants: RunningService) -> tuple[Any, dict[str, str]]:
    """One thing of each kind that a path can name."""
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    ids = {"tenant": str(staff.tenant.tenant_id), "user": str(staff.clerk.id)}
    for name, path, body, found in (
        ("invitation", f"/tenants/{ids['tenant']}/invitations", {"email": "i@example.com"}, ("id",)),
        ("role", "/roles", {"name": "reader", "permissions": ["agents:read"]}, ("id",)),
        ("key", "/integrations/api-keys", {"name": "k", "scopes": ["read"]}, ("apiKey", "id")),
    ):
        made = await at_work(tenants, staff.owner, staff.tenant, "POST", path, json=body)
        assert made.status_code == 201, made.text
        value: Any = made.json()
        for member in found:
            value = value[member]
        ids[name] = value
    return staff, ids


async def test_nobody_passes_without_identity_permission_and_tenant(start: Any) -> None:
    tenants = await start()
    staff, ids = await things(tenants)
    for method, template, body, permission in OPERATIONS:
        path = template.format(**ids)
        options: dict[str, Any] = {} if body is None else {"json": body}
        assert (await tenants.http.request(method, path, **options)).status_code == 401, (method, path)
        refused = await at_work(tenants, staff.owner, staff.tenant, method, path, "some:other", **options)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_permission"), (method, path)
        for kind in ("public", "webhook", "api_key"):
            nobody = await tenants.call(method, path, staff.tenant.tenant_id, "a:b", kind=kind, **options)
            assert nobody.status_code == 403, (method, path, kind)
        nowhere = await tenants.call(method, path, None, permission, subject=str(staff.owner.id), **options)
        assert nowhere.status_code == (404 if "/tenants/" in path else 400), (method, path, nowhere.text)
        if "{" in template:
            other = await tenants.call(method, path, uuid4(), permission, subject=str(uuid4()), **options)
            assert other.status_code == 404, (method, path, other.text)
            nothing = {name: str(uuid4()) for name in ids}
            own_tenants = nothing | ({"tenant": ids["tenant"]} if template.count("{") > 1 else {})
            for unknown in (template.format(**nothing), template.format(**own_tenants)):
                lost = await at_work(tenants, staff.owner, staff.tenant, method, unknown, permission, **options)
                assert lost.status_code == 404, (method, unknown, lost.text)
            for spelled in (f"urn:uuid:{ids['user']}", "x", "1"):
                odd = template.format(**dict.fromkeys(ids, spelled))
                lost = await at_work(tenants, staff.owner, staff.tenant, method, odd, permission, **options)
                assert lost.status_code in (404, 405), (method, odd, lost.text)


async def test_another_tenant_sees_and_harms_nothing(start: Any) -> None:
    """Item 16: the seed let anybody with the permission change anybody, whatever tenant they were of."""
    tenants = await start()
    staff, ids = await things(tenants)
    other = await staff_of(tenants.db, await a_tenant(tenants.db, "other"))
    before = [one["_type"] for one in await tenants.told()]
    for method, template, body, permission in OPERATIONS:
        options: dict[str, Any] = {} if body is None else {"json": body}
        if "{" in template:
            path = template.format(**ids)
            answer = await at_work(tenants, other.owner, other.tenant, method, path, permission, **options)
            assert answer.status_code == 404, (method, path, answer.text)
        elif method == "GET":
            answer = await at_work(tenants, other.owner, other.tenant, method, template, permission)
            assert answer.status_code == 200, (method, template, answer.text)
            for foreign in ids.values():
                assert foreign not in answer.text, (template, foreign)
    told = [one["_type"] for one in await tenants.told()]
    assert told == before, "nothing was done"
    assert str(staff.clerk.email) not in (await at_work(tenants, other.owner, other.tenant, "GET", "/users")).text


async def test_a_member_of_two_tenants_is_changed_in_the_one_that_the_path_and_the_token_name(start: Any) -> None:
    tenants = await start()
    staff, ids = await things(tenants)
    other = await staff_of(tenants.db, await a_tenant(tenants.db, "other"))
    crossed = f"/tenants/{ids['tenant']}/members/{other.clerk.id}"
    answer = await at_work(tenants, other.owner, other.tenant, "PATCH", crossed, json={"role": "manager"})
    assert answer.status_code == 404
    crossed = f"/tenants/{ids['tenant']}/members/{other.clerk.id}"
    answer = await at_work(tenants, staff.owner, staff.tenant, "PATCH", crossed, json={"role": "manager"})
    assert answer.status_code == 404


async def test_what_only_the_platform_does(start: Any) -> None:
    """2.4, item 1: an owner of any tenant passed for an administrator of all."""
    tenants = await start()
    staff, ids = await things(tenants)
    for method, template, body in PLATFORM_ONLY:
        path = template.format(**ids)
        options: dict[str, Any] = {} if body is None else {"json": body}
        assert (await tenants.http.request(method, path, **options)).status_code == 401, path
        for kind in ("user", "api_key", "public", "webhook", "gateway"):
            refused = await tenants.call(
                method, path, staff.tenant.tenant_id, kind=kind, subject=str(staff.owner.id), **options
            )
            assert (refused.status_code, refused.json()["code"]) == (403, "platform_admin_only"), (path, kind)
        assert refused.json()["message"] == refused.json()["detail"], "where seed 004 looks for it"
    for kind in ("api_key", "public", "webhook"):
        founding = {"name": "Mine", "slug": f"mine-{kind.replace('_', '-')}"}
        assert (await tenants.call("POST", "/tenants", None, kind=kind, json=founding)).status_code == 403
    assert (await tenants.http.post("/tenants", json={"name": "Mine", "slug": "mine"})).status_code == 401


async def test_a_platform_administrator_without_a_tenant_is_in_none(start: Any) -> None:
    tenants = await start()
    staff, ids = await things(tenants)
    lost = await tenants.call("GET", f"/users/{ids['user']}", None, kind="platform_admin")
    assert lost.status_code == 404
    listed = await tenants.call("GET", "/users", None, kind="platform_admin")
    assert listed.json()["data"]["total"] == 0
    shown = await tenants.call("GET", f"/tenants/{ids['tenant']}", None, kind="platform_admin")
    assert shown.json()["id"] == ids["tenant"]
    elsewhere = await tenants.call("GET", f"/tenants/{ids['tenant']}", uuid4(), kind="platform_admin")
    assert elsewhere.status_code == 404
    named = await tenants.call("GET", f"/users/{ids['user']}", staff.tenant.tenant_id, kind="platform_admin")
    assert named.status_code == 200
    assert str(PLATFORM_TENANT_ID) not in named.text
