"""A tenant's people in seed 002's shapes: who may make whom what, and what stays each person's own."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from chassis.db import platform_transaction
from tenants import store
from tenants.domain.people import MemberStatus, UserStatus
from tenants.domain.sign_in import PASSWORD_LINKS
from tenants.domain.tokens import sha256_of

from .people import admin_of_platform, at_work, membership_of, person, staff_of
from .sign_in_records import (
    PASSWORD,
    a_member,
    a_tenant,
    a_user,
    an_owner,
    log_in,
    mails,
    public,
    token_in,
)

MEMBERS = {
    *("id", "email", "name", "phone", "avatar", "role", "status", "tenantId", "emailVerified", "lastLoginAt"),
    *("permissions", "preferences", "createdAt", "updatedAt"),
}


async def test_a_person_in_the_seeds_shape(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    answer = await at_work(tenants, user, tenant, "GET", f"/users/{user.id}")
    assert answer.status_code == 200
    assert set(answer.json()) == {"success", "data"}
    assert set(answer.json()["data"]) == MEMBERS
    assert (answer.json()["data"]["tenantId"], answer.json()["data"]["role"]) == (str(tenant.tenant_id), "owner")
    lost = await at_work(tenants, user, tenant, "GET", f"/users/{uuid4()}")
    assert (lost.status_code, lost.json()["success"], lost.json()["message"]) == (404, False, "User not found")


async def test_people_are_listed_and_searched(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    await staff_of(tenants.db, await a_tenant(tenants.db, "other"))
    waiting = await a_user(tenants.db, "waiting@example.com", password=None, status=UserStatus.PENDING)
    await a_member(tenants.db, waiting, staff.tenant, "user")
    off = await a_user(tenants.db, "off@example.com")
    await a_member(tenants.db, off, staff.tenant, "user", status=MemberStatus.INACTIVE)

    async def listed(**query: Any) -> dict[str, Any]:
        answer = await at_work(tenants, staff.owner, staff.tenant, "GET", "/users", params=query)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    everybody = await listed()
    assert (everybody["total"], everybody["page"], everybody["limit"], len(everybody["users"])) == (6, 1, 20, 6)
    assert (await listed(role="user"))["total"] == 3
    assert [one["email"] for one in (await listed(status="pending"))["users"]] == ["waiting@example.com"]
    assert [one["email"] for one in (await listed(status="inactive"))["users"]] == ["off@example.com"]
    assert (await listed(search="MANAGER@"))["total"] == 1
    assert (await listed(search="%"))["total"] == 0
    pages = [await listed(page=page, limit=4) for page in (1, 2, 3)]
    assert [len(page["users"]) for page in pages] == [4, 2, 0]
    assert len({one["id"] for page in pages for one in page["users"]}) == 6
    for query in ({"page": 0}, {"limit": 101}, {"page": "x"}, {"unknown": 1}, {"search": ""}):
        refused = await at_work(tenants, staff.owner, staff.tenant, "GET", "/users", params=query)
        assert (refused.status_code, refused.json()["success"]) == (400, False), query


async def test_somebody_new_gets_a_link_and_nobody_a_password(start: Any) -> None:
    tenants = await start(FRONTEND_URL="https://app.example.com")
    user, tenant = await an_owner(tenants.db)
    made = await at_work(
        tenants,
        user,
        tenant,
        "POST",
        "/users",
        json={"email": " Bia@Example.com", "name": "Bia", "role": "receptionist", "phone": "+55 11 9"},
    )
    assert made.status_code == 201, made.text
    data = made.json()["data"]
    assert set(data) == MEMBERS
    assert (data["email"], data["status"], data["role"], data["emailVerified"]) == (
        "bia@example.com",
        "pending",
        "receptionist",
        False,
    )
    [mail] = await mails(tenants, "account_welcome")
    assert mail["variables"]["link"].startswith("https://app.example.com/reset-password?token=")
    chosen = await public(tenants, "/auth/reset-password", {"token": token_in(mail), "password": PASSWORD})
    assert chosen.status_code == 200, chosen.text
    signed_in = await log_in(tenants, "bia@example.com")
    assert signed_in["user"]["role"] == "receptionist"
    again = await at_work(tenants, user, tenant, "POST", "/users", json={"email": "bia@example.com", "name": "B"})
    assert (again.status_code, again.json()["message"]) == (409, "User already exists")
    [record] = [one for one in await tenants.told("tenants.audit.recorded.v1") if one["action"] == "user.created"]
    assert (record["actor"]["id"], record["targets"][0]["id"]) == (str(user.id), data["id"])


async def test_no_answer_no_event_and_no_record_holds_a_password_or_a_token(start: Any) -> None:
    """Items 15 and 17: answers held refresh and reset tokens, the audit log plaintext passwords, the mail one too."""
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    body = {"email": "bia@example.com", "name": "Bia", "password": "a-password-of-bias"}
    made = await at_work(tenants, user, tenant, "POST", "/users", json=body)
    path = f"/users/{made.json()['data']['id']}"
    changed = await at_work(tenants, user, tenant, "PUT", path, json={"password": "another-password-of-bias"})
    answers = [made, changed, await at_work(tenants, user, tenant, "GET", path)]
    answers.append(await at_work(tenants, user, tenant, "GET", "/users"))
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    shown = "".join(answer.text for answer in answers)
    told = msgspec.json.encode([one for one in await tenants.told() if one["_type"] != "mail_queue"]).decode()
    mailed = msgspec.json.encode(await mails(tenants)).decode()
    for secret in ("a-password-of-bias", "another-password", "argon2", "password_hash", "passwordHash"):
        assert secret not in shown + told + mailed, secret
    assert "oken" not in shown
    [record] = [one for one in await tenants.told("tenants.audit.recorded.v1") if one["action"] == "user.updated"]
    assert record["metadata"]["fields"] == "password"


async def test_a_password_given_by_an_administrator_counts_for_a_brand_new_account_only(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    given = "given-by-the-boss"
    body = {"name": "Bia", "password": given}
    made = await at_work(tenants, user, tenant, "POST", "/users", json=body | {"email": "bia@example.com"})
    assert (made.json()["data"]["status"], made.json()["data"]["emailVerified"]) == ("active", False)
    assert await mails(tenants) == []
    assert (await public(tenants, "/auth/login", {"email": "bia@example.com", "password": given})).status_code == 200
    known = await a_user(tenants.db, "caio@example.com")
    added = await at_work(tenants, user, tenant, "POST", "/users", json=body | {"email": "caio@example.com"})
    assert added.status_code == 201
    assert await person(tenants.db, known) == known, "their password stays theirs"
    for wrong in ("short", "x" * 201, "1234567890", "dora@example.com"):
        refused = await at_work(
            tenants, user, tenant, "POST", "/users", json={"email": "dora@example.com", "name": "D", "password": wrong}
        )
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_password"), wrong


async def test_a_password_given_by_one_tenant_opens_no_other(start: Any) -> None:
    """An administrator writes down somebody else's address, with a password that they know."""
    tenants = await start()
    mallory, bad = await an_owner(tenants.db, "mallory@example.com", "bad")
    body = {"email": "bia@example.com", "name": "Bia", "password": "known-to-mallory"}
    made = await at_work(tenants, mallory, bad, "POST", "/users", json=body)
    assert made.status_code == 201
    honest, good = await an_owner(tenants.db, "ana@example.com", "good")
    added = await at_work(tenants, honest, good, "POST", "/users", json={"email": "bia@example.com", "name": "Bia"})
    assert added.status_code == 201
    assert added.json()["data"]["status"] == "pending"
    opened = await public(tenants, "/auth/login", {"email": "bia@example.com", "password": "known-to-mallory"})
    assert opened.status_code == 401
    [mail] = await mails(tenants, "account_welcome")
    assert mail["variables"]["brand_name"] == "Good"


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.INACTIVE])
async def test_nobody_who_was_shut_out_is_added(start: Any, status: UserStatus) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    shut_out = await a_user(tenants.db, "bia@example.com", status=status)
    refused = await at_work(tenants, user, tenant, "POST", "/users", json={"email": "bia@example.com", "name": "B"})
    assert (refused.status_code, refused.json()["code"]) == (409, "account_inactive")
    assert await person(tenants.db, shut_out) == shut_out


async def test_nobody_gives_more_than_they_have(start: Any) -> None:
    """Item 14, from within: roles come from those who have them, and nobody makes a platform administrator."""
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    body = {"email": "new@example.com", "name": "New"}
    cases: list[tuple[Any, dict[str, Any], int, str]] = [
        (staff.admin, {"role": "owner"}, 403, "owners_only"),
        (staff.manager, {"role": "admin"}, 403, "beyond_own_permissions"),
        (staff.manager, {"permissions": ["audit:read"]}, 403, "beyond_own_permissions"),
        (staff.clerk, {"role": "manager"}, 403, "beyond_own_permissions"),
        (staff.owner, {"permissions": ["payments:claim"]}, 403, "platform_only"),
        (staff.owner, {"permissions": ["payments:attest"]}, 403, "platform_only"),
        (staff.owner, {"permissions": ["agents:fly"]}, 422, "unknown_permission"),
        (staff.owner, {"role": "superadmin"}, 422, "unknown_role"),
        (staff.owner, {"role": "platform_admin"}, 422, "unknown_role"),
        (staff.owner, {"role": "nobody"}, 422, "unknown_role"),
        (staff.owner, {"role": "Owner"}, 422, "invalid"),
        (staff.owner, {"tenantId": str(uuid4())}, 422, "invalid"),
        (staff.owner, {"isPlatformAdmin": True}, 422, "invalid"),
        (staff.owner, {"status": "active"}, 422, "invalid"),
        (staff.owner, {"email": "no address"}, 422, "bad_email"),
        (staff.owner, {"name": ""}, 422, "invalid"),
    ]
    for who, fields, status, code in cases:
        refused = await at_work(tenants, who, staff.tenant, "POST", "/users", json=body | fields)
        assert (refused.status_code, refused.json()["code"]) == (status, code), (fields, refused.text)
    path = f"/users/{staff.clerk.id}"
    for who, fields, status, code in cases[:8]:
        if who is staff.clerk:
            continue
        refused = await at_work(tenants, who, staff.tenant, "PUT", path, json=fields)
        assert (refused.status_code, refused.json()["code"]) == (status, code), (fields, refused.text)
    raised = await at_work(tenants, staff.clerk, staff.tenant, "PATCH", path, json={"role": "admin"})
    assert raised.status_code == 403, "nor do they raise themselves, whatever their token says"
    async with platform_transaction(tenants.db) as conn:
        assert await store.users.find_user_by_email(conn, "new@example.com") is None
    assert (await membership_of(tenants.db, staff.clerk, staff.tenant)).role == "user"


async def test_who_has_more_is_not_touched_by_who_has_less(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    changes: list[dict[str, Any]] = [
        {"role": "user"},
        {"status": "suspended"},
        {"password": "another-password-1"},
        {"email": "taken-over@example.com"},
        {"name": "Fool"},
    ]
    for target, who, code in (
        (staff.owner, staff.admin, "owners_only"),
        (staff.admin, staff.manager, "beyond_own_permissions"),
        (staff.owner, staff.manager, "owners_only"),
    ):
        path = f"/users/{target.id}"
        for change in changes:
            refused = await at_work(tenants, who, staff.tenant, "PATCH", path, json=change)
            assert (refused.status_code, refused.json()["code"]) == (403, code), change
        assert (await at_work(tenants, who, staff.tenant, "DELETE", path)).status_code == 403
        assert await person(tenants.db, target) == target
    for target in (staff.admin, staff.manager):
        done = await at_work(tenants, staff.owner, staff.tenant, "PATCH", f"/users/{target.id}", json={"role": "user"})
        assert done.status_code == 200


async def test_a_change_of_role_calls_tokens_back_and_is_told(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    path = f"/users/{staff.clerk.id}"
    done = await at_work(
        tenants, staff.owner, staff.tenant, "PATCH", path, json={"role": "manager", "phone": "+55", "avatar": None}
    )
    assert (done.status_code, done.json()["data"]["role"], done.json()["data"]["phone"]) == (200, "manager", "+55")
    assert (await person(tenants.db, staff.clerk)).tokens_valid_from > staff.clerk.tokens_valid_from
    [event] = await tenants.told("tenants.user.updated.v1")
    assert (event["user_id"], event["role"], event["status"]) == (str(staff.clerk.id), "manager", "active")
    nothing = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={})
    same = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"role": "manager"})
    assert (nothing.status_code, same.status_code) == (200, 200)
    assert len(await tenants.told("tenants.user.updated.v1")) == 1, "nothing new tells nothing"


async def test_who_is_shut_out_of_a_tenant_is_out_at_once_and_comes_back_by_hand(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    session = await log_in(tenants, staff.clerk.email or "")
    path = f"/users/{staff.clerk.id}"
    done = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"status": "suspended"})
    assert done.json()["data"]["status"] == "suspended"
    [event] = await tenants.told("tenants.user.disabled.v1")
    assert event["status"] == "suspended"
    refreshed = await public(tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})
    assert refreshed.status_code == 401
    back = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"status": "active"})
    assert back.json()["data"]["status"] == "active"
    await log_in(tenants, staff.clerk.email or "")


async def test_what_is_a_persons_own_is_not_changed_by_one_of_their_tenants(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    other = await a_tenant(tenants.db, "other")
    await a_member(tenants.db, staff.clerk, other, "user")
    async with platform_transaction(tenants.db) as conn:
        liked = msgspec.structs.replace(staff.clerk, preferences={"theme": "dark"})
        await store.users.update_user(conn, liked)
    path = f"/users/{staff.clerk.id}"
    own: list[dict[str, Any]] = [
        {"email": "else@example.com"},
        {"password": "another-password-1"},
        {"preferences": {}},
    ]
    for change in own:
        refused = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json=change | {"name": "X"})
        assert (refused.status_code, refused.json()["code"]) == (409, "shared_account"), change
    assert await person(tenants.db, staff.clerk) == liked
    shown = (await at_work(tenants, staff.owner, staff.tenant, "GET", path)).json()["data"]
    assert (shown["preferences"], shown["name"]) == ({}, "Ana Lima")
    named = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"name": "Here Only"})
    assert named.json()["data"]["name"] == "Here Only"
    assert (await membership_of(tenants.db, staff.clerk, other)).name == "Ana Lima"


async def test_nor_is_a_platform_administrators(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    root = await a_user(tenants.db, "root@example.com", is_platform_admin=True)
    await a_member(tenants.db, root, staff.tenant, "user")
    path = f"/users/{root.id}"
    refused = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"password": "another-password"})
    assert (refused.status_code, refused.json()["code"]) == (409, "shared_account")
    done = await admin_of_platform(
        tenants, "PATCH", path, staff.tenant.tenant_id, json={"preferences": {"locale": "en"}}
    )
    assert done.json()["data"]["preferences"] == {"locale": "en"}


async def test_a_new_address_has_to_be_shown_again_and_the_old_one_is_told(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    old, path = staff.clerk.email, f"/users/{staff.clerk.id}"
    session = await log_in(tenants, old or "")
    done = await at_work(
        tenants,
        staff.owner,
        staff.tenant,
        "PATCH",
        path,
        json={"email": "New@Example.com", "preferences": {"a": 1}, "name": "Nova"},
    )
    assert done.status_code == 200, done.text
    assert (
        done.json()["data"] | {"email": "new@example.com", "emailVerified": False, "name": "Nova"}
        == (done.json()["data"])
    )
    changed = await person(tenants.db, staff.clerk)
    assert (changed.email, changed.email_verified_at, changed.preferences) == ("new@example.com", None, {"a": 1})
    assert changed.tokens_valid_from > staff.clerk.tokens_valid_from
    [notice] = await mails(tenants, "account_security_notice")
    assert (notice["to"]["email"], notice["variables"]["event"]) == (old, "email_changed")
    assert (await public(tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})).status_code == 401
    taken = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"email": staff.manager.email})
    assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")


async def test_the_address_of_somebody_who_waits_gets_the_new_link(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    made = await at_work(tenants, user, tenant, "POST", "/users", json={"email": "typo@example.com", "name": "Bia"})
    path = f"/users/{made.json()['data']['id']}"
    done = await at_work(tenants, user, tenant, "PATCH", path, json={"email": "bia@example.com"})
    assert done.json()["data"]["status"] == "pending"
    first, second = await mails(tenants, "account_welcome")
    assert (first["to"]["email"], second["to"]["email"]) == ("typo@example.com", "bia@example.com")
    body = {"password": PASSWORD}
    stale = await public(tenants, "/auth/reset-password", body | {"token": token_in(first)})
    fresh = await public(tenants, "/auth/reset-password", body | {"token": token_in(second)})
    assert (stale.status_code, fresh.status_code) == (400, 200)


async def test_a_password_set_by_an_administrator_ends_every_sign_in(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    session = await log_in(tenants, staff.clerk.email or "")
    path = f"/users/{staff.clerk.id}"
    done = await at_work(tenants, staff.owner, staff.tenant, "PUT", path, json={"password": "set-by-the-owner"})
    assert done.status_code == 200
    assert (await public(tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})).status_code == 401
    await_new = await public(tenants, "/auth/login", {"email": staff.clerk.email, "password": "set-by-the-owner"})
    assert await_new.status_code == 200
    [notice] = await mails(tenants, "account_security_notice")
    assert notice["variables"]["event"] == "password_changed"
    weak = await at_work(tenants, staff.owner, staff.tenant, "PUT", path, json={"password": staff.clerk.email})
    assert (weak.status_code, weak.json()["code"]) == (422, "bad_password")
    lost = await at_work(
        tenants, staff.owner, staff.tenant, "PUT", f"/users/{uuid4()}", json={"password": "set-by-the-owner"}
    )
    assert lost.status_code == 404


async def test_somebody_who_waits_may_be_given_a_password_by_hand(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    made = await at_work(tenants, user, tenant, "POST", "/users", json={"email": "bia@example.com", "name": "Bia"})
    path = f"/users/{made.json()['data']['id']}"
    done = await at_work(tenants, user, tenant, "PATCH", path, json={"password": PASSWORD})
    assert done.json()["data"]["status"] == "active"
    await log_in(tenants, "bia@example.com")


async def test_the_same_again_changes_nothing_of_a_person(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    path = f"/users/{staff.clerk.id}"
    same: dict[str, Any] = {"email": staff.clerk.email, "preferences": {}}
    done = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json=same)
    assert (done.status_code, done.json()["data"]["emailVerified"]) == (200, True)
    assert await person(tenants.db, staff.clerk) == staff.clerk
    assert await mails(tenants) == []


async def test_preferences_have_a_size(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    path = f"/users/{staff.clerk.id}"
    large = await at_work(tenants, staff.owner, staff.tenant, "PATCH", path, json={"preferences": {"a": "x" * 20_000}})
    assert (large.status_code, large.json()["code"]) == (422, "too_long")


async def test_the_last_owner_stays(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    path = f"/users/{staff.owner.id}"
    attempts: list[tuple[str, dict[str, Any] | None]] = [
        ("PATCH", {"role": "admin"}),
        ("PATCH", {"status": "inactive"}),
        ("DELETE", None),
    ]
    for method, body in attempts:
        options: dict[str, Any] = {} if body is None else {"json": body}
        for refused in (
            await at_work(tenants, staff.owner, staff.tenant, method, path, **options),
            await admin_of_platform(tenants, method, path, staff.tenant.tenant_id, **options),
        ):
            assert (refused.status_code, refused.json()["code"]) == (409, "last_owner"), (method, body)
    second = f"/users/{staff.admin.id}"
    assert (
        await at_work(tenants, staff.owner, staff.tenant, "PATCH", second, json={"role": "owner"})
    ).status_code == 200
    assert (await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)).status_code == 200


@pytest.mark.parametrize("how", ["DELETE", "PATCH"])
async def test_of_two_owners_who_leave_at_once_one_stays(start: Any, how: str) -> None:
    tenants = await start()
    for number in range(6):
        tenant = await a_tenant(tenants.db, f"acme-{number}")
        owners = []
        for name in ("a", "b"):
            owners.append(await a_user(tenants.db, f"{name}{number}@example.com"))
            await a_member(tenants.db, owners[-1], tenant)
        options: dict[str, Any] = {"json": {"role": "user"}} if how == "PATCH" else {}
        answers = await asyncio.gather(
            *(
                at_work(tenants, owners[1 - index], tenant, how, f"/users/{owner.id}", **options)
                for index, owner in enumerate(owners)
            )
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes in ([200, 409], [200, 403]), [answer.text for answer in answers]
        async with platform_transaction(tenants.db) as conn:
            assert await store.memberships.count_other_owners(conn, tenant.tenant_id, uuid4()) == 1


async def test_an_owner_who_was_shut_out_everywhere_is_none_to_count_on(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    out = await a_user(tenants.db, "out@example.com", status=UserStatus.SUSPENDED)
    await a_member(tenants.db, out, staff.tenant)
    path = f"/users/{staff.owner.id}"
    refused = await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)
    assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
    gone = await at_work(tenants, staff.owner, staff.tenant, "DELETE", f"/users/{out.id}")
    assert gone.status_code == 200


async def test_who_is_taken_out_is_out_at_once_and_keeps_their_account(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    session = await log_in(tenants, staff.clerk.email or "")
    path = f"/users/{staff.clerk.id}"
    gone = await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)
    assert (gone.status_code, gone.json()) == (200, {"success": True, "message": "User deleted successfully"})
    assert (await at_work(tenants, staff.owner, staff.tenant, "GET", path)).status_code == 404
    assert (await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)).status_code == 404
    user = await person(tenants.db, staff.clerk)
    assert (user.status, user.password_hash) == (UserStatus.ACTIVE, staff.clerk.password_hash)
    assert user.tokens_valid_from > staff.clerk.tokens_valid_from
    [event] = await tenants.told("tenants.user.disabled.v1")
    assert (event["user_id"], event["status"]) == (str(user.id), "inactive")
    assert datetime.fromisoformat(event["tokens_valid_from"]) == user.tokens_valid_from
    assert (await public(tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})).status_code == 401
    powerless = await at_work(
        tenants, staff.clerk, staff.tenant, "POST", "/users", json={"email": "x@example.com", "name": "X"}
    )
    assert powerless.status_code == 403, "whatever the old token still says"


async def test_a_link_that_waits_opens_nothing_once_its_reader_is_out(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    made = await at_work(tenants, user, tenant, "POST", "/users", json={"email": "bia@example.com", "name": "Bia"})
    [mail] = await mails(tenants, "account_welcome")
    await at_work(tenants, user, tenant, "DELETE", f"/users/{made.json()['data']['id']}")
    stale = await public(tenants, "/auth/reset-password", {"token": token_in(mail), "password": PASSWORD})
    assert stale.status_code == 400


async def test_a_welcome_is_sent_again_while_somebody_waits(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    made = await at_work(tenants, user, tenant, "POST", "/users", json={"email": "bia@example.com", "name": "Bia"})
    path = f"/users/{made.json()['data']['id']}/resend-welcome-email"
    again = await at_work(tenants, user, tenant, "POST", path)
    assert (again.status_code, again.json()["success"]) == (200, True)
    first, second = await mails(tenants, "account_welcome")
    assert first["idempotency_key"] != second["idempotency_key"]
    body = {"password": PASSWORD}
    assert (await public(tenants, "/auth/reset-password", body | {"token": token_in(first)})).status_code == 400
    codes = [(await at_work(tenants, user, tenant, "POST", path)).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429], "the first one counts too"
    *_, last = await mails(tenants, "account_welcome")
    assert (await public(tenants, "/auth/reset-password", body | {"token": token_in(last)})).status_code == 200
    async with platform_transaction(tenants.db) as conn:
        await conn.execute("DELETE FROM rate_limits")
    done = await at_work(tenants, user, tenant, "POST", path)
    assert (done.status_code, done.json()["code"]) == (409, "not_pending")


async def test_no_welcome_for_who_was_shut_out_and_none_by_a_strangers_password(start: Any) -> None:
    tenants = await start()
    owner, tenant = await an_owner(tenants.db)
    out = await a_user(tenants.db, "out@example.com", password=None, status=UserStatus.PENDING)
    await a_member(tenants.db, out, tenant, "user", status=MemberStatus.SUSPENDED)
    refused = await at_work(tenants, owner, tenant, "POST", f"/users/{out.id}/resend-welcome-email")
    assert refused.status_code == 409
    unsure = await a_user(tenants.db, "u@example.com", status=UserStatus.PENDING, email_verified_at=None)
    await a_member(tenants.db, unsure, tenant, "user")
    sent = await at_work(tenants, owner, tenant, "POST", f"/users/{unsure.id}/resend-welcome-email")
    assert sent.status_code == 200
    assert (await person(tenants.db, unsure)).password_hash is None


async def test_an_account_that_is_made_twice_at_once_is_one(start: Any) -> None:
    tenants = await start()
    owners = [await an_owner(tenants.db, f"o{number}@example.com", f"acme-{number}") for number in range(5)]
    body = {"email": "bia@example.com", "name": "Bia"}
    answers = await asyncio.gather(
        *(at_work(tenants, owner, tenant, "POST", "/users", json=body) for owner, tenant in owners for _ in range(2))
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes[:5] == [201] * 5, [answer.text for answer in answers]
    assert set(codes[5:]) <= {409, 429}, "in the tenant already, or an address written to too often"
    assert len({answer.json()["data"]["id"] for answer in answers if answer.status_code == 201}) == 1
    async with platform_transaction(tenants.db) as conn:
        user = await store.users.find_user_by_email(conn, "bia@example.com")
        assert user is not None
        digests = [sha256_of(token_in(mail)) for mail in await mails(tenants, "account_welcome")]
        good = [await store.links.find_link(conn, one, PASSWORD_LINKS, datetime.now(UTC)) for one in digests]
    assert sum(one is not None for one in good) == 1


async def test_an_imported_account_shows_nothing_of_its_hash(start: Any) -> None:
    """bcrypt, cost 12, `$2a$`, as seed 002's table holds it."""
    tenants = await start()
    tenant = await a_tenant(tenants.db)
    imported = "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
    user = await a_user(tenants.db, "old@example.com", password_hash=imported)
    await a_member(tenants.db, user, tenant, "receptionist")
    shown = await at_work(tenants, user, tenant, "GET", f"/users/{user.id}")
    assert (shown.status_code, shown.json()["data"]["status"]) == (200, "active")
    assert imported not in shown.text
