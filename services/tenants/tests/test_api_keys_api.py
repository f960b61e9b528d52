"""API keys in seed 002's shapes: shown once, scoped, ending, and never more than their maker has."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from chassis.db import platform_transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.usecases import create_api_key

from .people import admin_of_platform, at_work, staff_of
from .sign_in_records import a_tenant

PATH = "/integrations/api-keys"
MEMBERS = {
    *("id", "name", "description", "prefix", "status", "scopes", "permissions", "allowedIps", "rateLimit"),
    *("expiresAt", "lastUsedAt", "usageCount", "replacesId", "createdBy", "createdAt", "updatedAt", "revokedAt"),
}


async def test_a_key_is_shown_once_and_kept_as_a_hash(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    made = await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json={"name": "n8n", "scopes": ["read"]})
    assert made.status_code == 201, made.text
    assert set(made.json()) == {"apiKey", "key", "message"}
    key, shown = made.json()["key"], made.json()["apiKey"]
    assert re.fullmatch(r"nxs_[0-9a-f]{64}", key)
    assert set(shown) == MEMBERS
    assert (shown["prefix"], shown["status"], shown["rateLimit"], shown["usageCount"]) == (key[:10], "active", 1000, 0)
    assert "agents:read" in shown["permissions"]
    assert shown["createdBy"] == str(staff.owner.id)
    async with platform_transaction(tenants.db) as conn:
        found = await store.api_keys.find_by_hash(conn, hashlib.sha256(key.encode()).digest())
    assert found == (staff.tenant.tenant_id, UUID(shown["id"])), "SHA-256, as seed 002 stores it"
    one = await at_work(tenants, staff.owner, staff.tenant, "GET", f"{PATH}/{shown['id']}")
    assert one.json() == {"apiKey": shown}
    listed = await at_work(tenants, staff.owner, staff.tenant, "GET", PATH)
    assert listed.json() == {"apiKeys": [shown], "total": 1, "page": 1, "limit": 50}
    [told] = await tenants.told("tenants.api_key.created.v1")
    assert (told["key"]["key_sha256"], told["key"]["scopes"]) == (
        hashlib.sha256(key.encode()).hexdigest(),
        ["read"],
    )
    assert told["key"]["permissions"] == shown["permissions"]
    everything = one.text + listed.text + msgspec.json.encode(await tenants.told()).decode()
    assert key not in everything


async def test_what_a_key_opens_is_no_more_than_its_maker_has(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body: dict[str, Any] = {"name": "k", "scopes": ["read"]}
    cases: list[tuple[Any, dict[str, Any], int, str]] = [
        (staff.manager, {"scopes": ["full"]}, 403, "beyond_own_permissions"),
        (staff.clerk, {"scopes": ["write"]}, 403, "beyond_own_permissions"),
        (staff.manager, {"permissions": ["audit:read"]}, 403, "beyond_own_permissions"),
        (staff.owner, {"permissions": ["payments:claim"]}, 403, "beyond_own_permissions"),
        (staff.owner, {"permissions": ["payments:attest"]}, 403, "beyond_own_permissions"),
        (staff.owner, {"permissions": ["agents:fly"]}, 422, "unknown_permission"),
        (staff.owner, {"scopes": ["admin"]}, 422, "unknown_scope"),
        (staff.owner, {"permissions": ["full"]}, 422, "unknown_permission"),
        (staff.owner, {"scopes": [], "permissions": []}, 422, "no_scopes"),
        (staff.owner, {"allowedIps": ["10.0.0.0/8", "home"]}, 422, "bad_network"),
        (staff.owner, {"expiresAt": "2020-01-01T00:00:00Z"}, 422, "bad_expiry"),
        (staff.owner, {"expiresAt": "2999-01-01T00:00:00"}, 422, "invalid"),
        (staff.owner, {"rateLimit": 0}, 422, "invalid"),
        (staff.owner, {"name": ""}, 422, "invalid"),
        (staff.owner, {"key": "nxs_" + "0" * 64}, 422, "invalid"),
        (staff.owner, {"replacesId": str(uuid4())}, 404, "not_found"),
    ]
    for who, fields, status, code in cases:
        refused = await at_work(tenants, who, staff.tenant, "POST", PATH, json=body | fields)
        assert (refused.status_code, refused.json()["code"]) == (status, code), (fields, refused.text)
        assert refused.json()["success"] is False
        assert refused.json()["message"] == refused.json()["detail"]
    assert (await at_work(tenants, staff.owner, staff.tenant, "GET", PATH)).json()["total"] == 0
    spelled = await at_work(
        tenants, staff.owner, staff.tenant, "POST", PATH, json=body | {"permissions": ["members:write"]}
    )
    assert "members:write" in spelled.json()["apiKey"]["permissions"]
    assert "members:read" not in spelled.json()["apiKey"]["permissions"]
    path = f"{PATH}/{spelled.json()['apiKey']['id']}"
    refused = await at_work(tenants, staff.clerk, staff.tenant, "PUT", path, json={"name": "mine"})
    assert refused.status_code == 403, "who has less does not change it either"


async def test_a_key_that_is_there_already_is_nobody_elses(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    monkeypatch.setattr(create_api_key, "new_api_key", lambda: "nxs_" + "0" * 64)
    body = {"name": "k", "scopes": ["read"]}
    first = await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json=body)
    second = await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json=body)
    assert (first.status_code, second.status_code, second.json()["code"]) == (201, 409, "already_exists")


async def test_two_keys_live_while_one_takes_over_from_the_other(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body = {"name": "site", "scopes": ["write"], "allowedIps": ["198.51.100.7", "2001:db8::/32"]}
    first = (await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json=body)).json()["apiKey"]
    assert first["allowedIps"] == ["198.51.100.7/32", "2001:db8::/32"]
    second = await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json=body | {"replacesId": first["id"]})
    assert second.json()["apiKey"]["replacesId"] == first["id"]
    stats = await at_work(tenants, staff.owner, staff.tenant, "GET", f"{PATH}/stats")
    assert stats.json() == {"total": 2, "active": 2, "revoked": 0, "expired": 0, "usageCount": 0}
    revoked = await at_work(tenants, staff.owner, staff.tenant, "POST", f"{PATH}/{first['id']}/revoke")
    assert (revoked.status_code, revoked.json()["apiKey"]["status"]) == (200, "revoked")
    twice = await at_work(tenants, staff.owner, staff.tenant, "POST", f"{PATH}/{first['id']}/revoke")
    assert twice.json() == revoked.json()
    [told] = await tenants.told("tenants.api_key.revoked.v1")
    assert told["key_id"] == first["id"]
    stats = await at_work(tenants, staff.owner, staff.tenant, "GET", f"{PATH}/stats")
    assert stats.json() == {"total": 2, "active": 1, "revoked": 1, "expired": 0, "usageCount": 0}


async def test_a_revoked_key_stays_so(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    made = await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json={"name": "k", "scopes": ["read"]})
    path = f"{PATH}/{made.json()['apiKey']['id']}"
    active = await at_work(tenants, staff.owner, staff.tenant, "POST", f"{path}/activate")
    assert (active.status_code, active.json()["apiKey"]) == (200, made.json()["apiKey"])
    await at_work(tenants, staff.owner, staff.tenant, "POST", f"{path}/revoke")
    for method, target, body in (("POST", f"{path}/activate", None), ("PUT", path, {"name": "again"})):
        options: dict[str, Any] = {} if body is None else {"json": body}
        refused = await at_work(tenants, staff.owner, staff.tenant, method, target, **options)
        assert (refused.status_code, refused.json()["code"]) == (409, "key_revoked")
    assert len(await tenants.told("tenants.api_key.created.v1")) == 1


async def test_a_key_changes_and_the_edge_is_told(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    made = await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json={"name": "k", "scopes": ["read"]})
    path = f"{PATH}/{made.json()['apiKey']['id']}"
    end = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    body = {
        "name": "renamed",
        "description": "x",
        "scopes": ["write"],
        "permissions": ["audit:read"],
        "allowedIps": ["10.1.2.3/8"],
        "rateLimit": 5,
        "expiresAt": end.isoformat(),
    }
    changed = await at_work(tenants, staff.owner, staff.tenant, "PUT", path, json=body)
    assert changed.status_code == 200, changed.text
    shown = changed.json()["apiKey"]
    assert (shown["name"], shown["scopes"], shown["allowedIps"], shown["rateLimit"]) == (
        "renamed",
        ["write", "audit:read"],
        ["10.0.0.0/8"],
        5,
    )
    assert datetime.fromisoformat(shown["expiresAt"]) == end
    told = (await tenants.told("tenants.api_key.created.v1"))[-1]["key"]
    assert (told["rate_limit"], told["allowed_ips"], "audit:read" in told["permissions"]) == (5, ["10.0.0.0/8"], True)
    same = await at_work(tenants, staff.owner, staff.tenant, "PUT", path, json={"rateLimit": 5})
    assert same.json()["apiKey"] == shown
    assert len(await tenants.told("tenants.api_key.created.v1")) == 2, "nothing new tells nothing"
    wrong: list[dict[str, Any]] = [
        {"scopes": []},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"status": "active"},
        {"allowedIps": ["x"]},
    ]
    for fields in wrong:
        assert (await at_work(tenants, staff.owner, staff.tenant, "PUT", path, json=fields)).status_code == 422
    narrowed = await at_work(tenants, staff.owner, staff.tenant, "PUT", path, json={"permissions": ["agents:read"]})
    assert narrowed.json()["apiKey"]["permissions"] == ["agents:read"]
    async with platform_transaction(tenants.db) as conn:
        await conn.execute("UPDATE api_keys SET expires_at = now() - interval '1 second'")
    over = await at_work(tenants, staff.owner, staff.tenant, "GET", path)
    assert over.json()["apiKey"]["status"] == "expired"
    stats = await at_work(tenants, staff.owner, staff.tenant, "GET", f"{PATH}/stats")
    assert (stats.json()["active"], stats.json()["expired"]) == (0, 1)


async def test_a_deleted_key_is_gone_and_opens_nothing(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    made = await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json={"name": "k", "scopes": ["read"]})
    path = f"{PATH}/{made.json()['apiKey']['id']}"
    assert (await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)).status_code == 204
    assert (await at_work(tenants, staff.owner, staff.tenant, "GET", path)).status_code == 404
    assert (await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)).status_code == 404
    assert len(await tenants.told("tenants.api_key.revoked.v1")) == 1
    async with platform_transaction(tenants.db) as conn:
        digest = hashlib.sha256(made.json()["key"].encode()).digest()
        assert await store.api_keys.find_by_hash(conn, digest) is None
    actions = [one["action"] for one in await tenants.told("tenants.audit.recorded.v1")]
    assert actions == ["api_key.created", "api_key.revoked", "api_key.deleted"]


async def test_the_platforms_keys_claim_payments(start: Any) -> None:
    tenants = await start()
    made = await admin_of_platform(
        tenants,
        "POST",
        PATH,
        json={"name": "checkout", "permissions": ["payments:claim", "payments:attest"], "rateLimit": 10},
    )
    assert made.status_code == 201, made.text
    [told] = await tenants.told("tenants.api_key.created.v1")
    assert told["key"]["tenant_id"] == str(PLATFORM_TENANT_ID)
    tenant = await a_tenant(tenants.db)
    refused = await admin_of_platform(
        tenants, "POST", PATH, tenant.tenant_id, json={"name": "k", "permissions": ["payments:claim"]}
    )
    assert refused.status_code == 403, "in a tenant nobody has it, so nobody gives it"
    body = {"email": "bia@example.com", "name": "Bia", "planId": "essencial", "stripeSessionId": "cs_1"}
    paid = await tenants.call(
        "POST",
        "/users/external/create-from-payment",
        None,
        "nothing:at_all",
        kind="api_key",
        headers={"X-API-Key": made.json()["key"]},
        json=body,
    )
    assert paid.status_code == 201, paid.text
    [shown] = (await admin_of_platform(tenants, "GET", PATH)).json()["apiKeys"]
    assert (shown["usageCount"], shown["lastUsedAt"] is not None) == (1, True)


async def test_keys_are_listed_page_by_page(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    for number in range(3):
        await at_work(tenants, staff.owner, staff.tenant, "POST", PATH, json={"name": f"k{number}", "scopes": ["read"]})
    pages = [
        (await at_work(tenants, staff.owner, staff.tenant, "GET", PATH, params={"page": page, "limit": 2})).json()
        for page in (1, 2, 3)
    ]
    assert [[key["name"] for key in page["apiKeys"]] for page in pages] == [["k2", "k1"], ["k0"], []]
    assert {page["total"] for page in pages} == {3}
