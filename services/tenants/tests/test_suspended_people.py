"""Whoever the platform shuts out is out of every tenant, and nothing but the platform lets them in again."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.db import platform_transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.people import MemberStatus, UserStatus

from .people import admin_of_platform, at_work, person, staff_of
from .sign_in_records import a_member, a_tenant, a_user, as_user, log_in, mails, public, token_in

WHY = {"reason": "abuse of the trial"}


async def told_of(tenants: Any, user_id: UUID, kind: str) -> dict[str, str]:
    """The newest status that was told of them by that kind of event, by tenant."""
    return {
        event["tenant_id"]: event["status"]
        for event in await tenants.told(f"tenants.user.{kind}.v1")
        if event["user_id"] == str(user_id)
    }


async def test_they_are_out_of_every_tenant_and_in_again(start: Any) -> None:
    tenants = await start(ROLE="api")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    other = await a_tenant(tenants.db, "other")
    await a_member(tenants.db, staff.clerk, other, "manager", status=MemberStatus.INACTIVE)
    email, homes = staff.clerk.email or "", {str(staff.tenant.tenant_id), str(other.tenant_id)}
    session = await log_in(tenants, email)
    await public(tenants, "/auth/forgot-password", {"email": email})
    link = token_in((await mails(tenants, "account_reset"))[-1])
    answer = await admin_of_platform(tenants, "POST", f"/users/{staff.clerk.id}/suspend", json=WHY)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert set(data.pop("tenantIds")) == homes
    assert data == {"id": str(staff.clerk.id), "email": email, "name": "Ana Lima", "status": "suspended"}
    told = await told_of(tenants, staff.clerk.id, "disabled")
    assert told == dict.fromkeys({*homes, str(PLATFORM_TENANT_ID)}, "suspended")
    assert (await public(tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})).status_code == 401
    assert (await public(tenants, f"/auth/reset-password/{link}", {"password": "another good one"})).status_code == 400
    refused = await public(tenants, "/auth/login", {"email": email, "password": "correct horse battery"})
    assert (refused.status_code, refused.json()["message"]) == (403, "Account is not active")
    shown = await at_work(tenants, staff.owner, staff.tenant, "GET", f"/users/{staff.clerk.id}")
    assert shown.json()["data"]["status"] == "suspended", "the tenant sees it"
    again = await admin_of_platform(tenants, "POST", f"/users/{staff.clerk.id}/suspend", json=WHY)
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    await at_work(
        tenants, staff.owner, staff.tenant, "PATCH", f"/users/{staff.clerk.id}", json={"status": "active", "name": "Bo"}
    )
    assert (await person(tenants.db, staff.clerk)).status is UserStatus.SUSPENDED, "no tenant lifts it"
    assert set((await told_of(tenants, staff.clerk.id, "disabled")).values()) == {"suspended"}
    back = await admin_of_platform(tenants, "POST", f"/users/{staff.clerk.id}/reactivate", json=WHY)
    assert (back.status_code, back.json()["data"]["status"]) == (200, "active")
    told = await told_of(tenants, staff.clerk.id, "updated")
    assert told == {
        str(staff.tenant.tenant_id): "active",
        str(PLATFORM_TENANT_ID): "active",
        str(other.tenant_id): "inactive",
    }
    await log_in(tenants, email)
    actions = [
        (record["tenant_id"], record["action"], record["metadata"].get("reason"))
        for record in await tenants.told("tenants.audit.recorded.v1")
        if record["action"] in ("user.suspended", "user.reactivated")
    ]
    assert len(actions) == 6
    assert (str(PLATFORM_TENANT_ID), "user.suspended", WHY["reason"]) in actions
    assert {reason for tenant, _, reason in actions if tenant in homes} == {None}


async def test_a_snapshot_says_so_too(start: Any) -> None:
    tenants = await start(ROLE="api")
    user = await a_user(tenants.db)
    await admin_of_platform(tenants, "POST", f"/users/{user.id}/suspend", json=WHY)
    snapshot = (await tenants.call("GET", "/internal/access-snapshot", None, kind="gateway")).json()
    assert [(fact["tenant_id"], fact["is_disabled"]) for fact in snapshot["subjects"]] == [(None, True)]


@pytest.mark.parametrize(
    ("status", "fields", "back"),
    [
        (UserStatus.ACTIVE, {}, "active"),
        (UserStatus.INACTIVE, {}, "active"),
        (UserStatus.ACTIVE, {"email_verified_at": None}, "pending"),
        (UserStatus.PENDING, {"email_verified_at": None}, "pending"),
        (UserStatus.PENDING, {"password": None}, "pending"),
    ],
)
async def test_who_comes_back_as_what(start: Any, status: UserStatus, fields: dict[str, Any], back: str) -> None:
    """A suspension does not confirm an address or a password that nobody had confirmed."""
    tenants = await start(ROLE="api")
    user = await a_user(tenants.db, status=status, **fields)
    assert (await admin_of_platform(tenants, "POST", f"/users/{user.id}/suspend", json=WHY)).status_code == 200
    answer = await admin_of_platform(tenants, "POST", f"/users/{user.id}/reactivate", json=WHY)
    assert answer.json()["data"]["status"] == back
    again = await admin_of_platform(tenants, "POST", f"/users/{user.id}/reactivate", json=WHY)
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")


async def test_what_is_refused(start: Any) -> None:
    tenants = await start(ROLE="api")
    root = await a_user(tenants.db, "root@example.com", is_platform_admin=True)
    own = await as_user(tenants, root, None, "POST", f"/users/{root.id}/suspend", json=WHY)
    assert (own.status_code, own.json()["code"]) == (409, "own_account")
    gone = await a_user(tenants.db)
    async with platform_transaction(tenants.db) as conn:
        await conn.execute(
            "UPDATE users SET status = 'erased', erased_at = now(), email = NULL, password_hash = NULL WHERE id = $1",
            gone.id,
        )
    for verb in ("suspend", "reactivate"):
        path = f"/users/{gone.id}/{verb}"
        assert (await admin_of_platform(tenants, "POST", path, json=WHY)).status_code == 409
        assert (await admin_of_platform(tenants, "POST", f"/users/{uuid4()}/{verb}", json=WHY)).status_code == 404
        for body in ({}, {"reason": ""}, {"reason": "x" * 501}, {"reason": "x", "tenantId": str(uuid4())}):
            assert (await admin_of_platform(tenants, "POST", path, json=body)).status_code == 422, body
    async with platform_transaction(tenants.db) as conn:
        assert (await store.users.get_user(conn, root.id)).status is UserStatus.ACTIVE
