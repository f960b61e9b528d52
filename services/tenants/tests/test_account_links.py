"""Registering, forgotten passwords and confirmed addresses: what a mailed link does, once, and what it never does."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.db import platform_transaction
from contracts.errors import ServiceError
from tenants import store
from tenants.domain.callers import Caller
from tenants.domain.people import MemberStatus, UserStatus
from tenants.domain.tokens import new_token, sha256_of
from tenants.passwords import Passwords
from tenants.usecases.reset_password import reset_password

from .sign_in_records import (
    PASSWORD,
    THEN,
    a_member,
    a_tenant,
    a_user,
    an_owner,
    log_in,
    mails,
    public,
    token_in,
)

NEW = "a quite new password"
FORGOT = "/auth/forgot-password"


async def forget(tenants: Any, email: str = "ana@example.com", path: str = FORGOT) -> str:
    """Asks for a link, and answers the token of the last one that was mailed."""
    answer = await public(tenants, path, {"email": email})
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"] is True
    return token_in((await mails(tenants, "account_reset"))[-1])


async def reset(tenants: Any, token: str, password: str = NEW) -> Any:
    return await public(tenants, "/auth/reset-password", {"token": token, "password": password})


async def a_link(
    tenants: Any,
    user_id: UUID,
    purpose: str,
    *,
    now: datetime | None = None,
    lifetime: timedelta = timedelta(minutes=30),
) -> str:
    token = new_token()
    async with platform_transaction(tenants.db) as conn:
        await store.links.insert_link(
            conn,
            sha256_of(token),
            user_id=user_id,
            purpose=purpose,
            tenant_id=None,
            object_id=None,
            now=now or datetime.now(UTC),
            lifetime=lifetime,
        )
    return token


async def found(tenants: Any, user_id: UUID) -> Any:
    async with platform_transaction(tenants.db) as conn:
        return await store.users.get_user(conn, user_id)


async def test_a_forgotten_password_is_chosen_anew(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    sessions = [(await log_in(tenants))["refreshToken"] for _ in range(2)]
    token = await forget(tenants)
    [mail] = await mails(tenants, "account_reset")
    assert mail["to"] == {"email": "ana@example.com", "name": "Ana Lima"}
    assert mail["variables"] == {
        "name": "Ana Lima",
        "link": f"http://127.0.0.1:3001/reset-password?token={token}",
        "valid_minutes": 30,
        "brand_name": "Acme",
        "brand_color": "#D62598",
    }
    assert "tenant_id" not in mail, "never by a tenant's own server or template"
    before = datetime.now(UTC)
    answer = await reset(tenants, token)
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    for password, status in ((PASSWORD, 401), (NEW, 200)):
        body = {"email": "ana@example.com", "password": password}
        assert (await public(tenants, "/auth/login", body)).status_code == status
    for old in sessions:
        assert (await public(tenants, "/auth/refresh", {"refreshToken": old})).status_code == 401
    [event] = await tenants.told("tenants.user.updated.v1")
    assert (event["tenant_id"], event["user_id"], event["status"]) == (str(tenant.tenant_id), str(user.id), "active")
    assert datetime.fromisoformat(event["tokens_valid_from"]) > before
    [notice] = await mails(tenants, "account_security_notice")
    assert notice["variables"]["event"] == "password_changed"
    assert "link" not in notice["variables"]
    records = await tenants.told("tenants.audit.recorded.v1")
    assert "password.reset" in [record["action"] for record in records]
    assert token not in str(records)
    assert NEW not in str(await tenants.told())


@pytest.mark.parametrize("form", ["body", "path"])
async def test_a_link_works_once(start: Any, form: str) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = await forget(tenants, path="/auth/request-password-reset")

    async def use(password: str) -> Any:
        if form == "body":
            return await reset(tenants, token, password)
        return await public(tenants, f"/auth/reset-password/{token}", {"password": password})

    outcomes = await asyncio.gather(*(use(f"password number {n}") for n in range(5)))
    assert sorted(answer.status_code for answer in outcomes) == [200] + [400] * 4
    for answer in outcomes:
        if answer.status_code == 400:
            assert answer.json()["message"] == "Invalid or expired reset token"
            assert answer.json()["success"] is False
    assert (await use("password number 9")).status_code == 400


async def test_a_newer_link_ends_the_older_one(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    first, second = await forget(tenants), await forget(tenants)
    assert (await reset(tenants, first)).status_code == 400
    assert (await reset(tenants, second)).status_code == 200


async def test_a_link_lives_for_as_long_as_it_says(start: Any) -> None:
    tenants = await start(RESET_LINK_MINUTES="10")
    user, _ = await an_owner(tenants.db)
    await forget(tenants)
    [mail] = await mails(tenants, "account_reset")
    assert mail["variables"]["valid_minutes"] == 10
    async with platform_transaction(tenants.db) as conn:
        assert await conn.fetchval("SELECT expires_at - created_at FROM one_time_links") == timedelta(minutes=10)
    late = await a_link(tenants, user.id, "reset_password", now=datetime.now(UTC) - timedelta(minutes=31))
    assert (await reset(tenants, late)).status_code == 400


async def test_only_the_hash_of_a_link_is_stored(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = await forget(tenants)
    async with platform_transaction(tenants.db) as conn:
        stored = await conn.fetch("SELECT token_sha256, to_jsonb(t)::text FROM one_time_links t")
    assert [row[0] for row in stored] == [sha256_of(token)]
    assert token not in stored[0][1]


@pytest.mark.parametrize("purpose", ["verify_email", "two_factor", "invitation"])
async def test_no_other_link_sets_a_password(start: Any, purpose: str) -> None:
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    token = await a_link(tenants, user.id, purpose)
    assert (await reset(tenants, token)).status_code == 400
    for other in ("x", "", "..%2f", "a" * 200):
        answer = await public(tenants, f"/auth/reset-password/{other}", {"password": NEW})
        assert answer.status_code in (400, 404, 405), other
    refresh = (await log_in(tenants))["refreshToken"]
    assert (await reset(tenants, refresh)).status_code == 400


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "at least 10"),
        ("e\u0301" * 9, "at least 10"),
        ("x" * 201, "may have 200"),
        ("Ana@Example.com", "is the e-mail"),
        ("PASSWORD123", "commonest"),
        ("senha123456", "commonest"),
        ("1234567890", "commonest"),
    ],
)
async def test_a_bad_password_is_refused_and_spends_nothing(start: Any, password: str, words: str) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    token = await forget(tenants)
    answer = await reset(tenants, token, password)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_password")
    assert answer.json()["errors"][0]["field"] == "$.password"
    assert words in answer.json()["message"]
    assert (await reset(tenants, token, "x" * 200)).status_code == 200


async def test_a_first_password_makes_a_waiting_account_active(start: Any) -> None:
    """The welcome mail's link, and a forgotten one's after that has run out."""
    tenants = await start()
    tenant = await a_tenant(tenants.db)
    for email, by_mail in (("ana@example.com", False), ("rui@example.com", True)):
        user = await a_user(tenants.db, email, password=None, status=UserStatus.PENDING, email_verified_at=None)
        await a_member(tenants.db, user, tenant)
        token = await forget(tenants, email) if by_mail else await a_link(tenants, user.id, "set_password")
        assert (await reset(tenants, token)).status_code == 200
        after = await found(tenants, user.id)
        assert after.status is UserStatus.ACTIVE
        assert after.email_verified_at is not None
        body = {"email": email, "password": NEW}
        assert (await public(tenants, "/auth/login", body)).status_code == 200


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.INACTIVE])
async def test_no_link_revives_whoever_was_shut_out(start: Any, status: UserStatus) -> None:
    tenants = await start()
    user = await a_user(tenants.db, status=status)
    await a_member(tenants.db, user, await a_tenant(tenants.db))
    for purpose in ("set_password", "reset_password", "verify_email"):
        token = await a_link(tenants, user.id, purpose)
        assert (await reset(tenants, token)).status_code == 400
        answer = await public(tenants, f"/auth/verify-email/{token}", method="GET")
        assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert await found(tenants, user.id) == user
    assert (await public(tenants, FORGOT, {"email": "ana@example.com"})).status_code == 200
    assert await mails(tenants) == []


async def test_whoever_is_shut_out_meanwhile_gets_no_password(start: Any) -> None:
    """Between the look at the link and its use."""
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    token = await forget(tenants)

    class Slow(Passwords):
        async def hash(self, password: str) -> str:
            async with platform_transaction(tenants.db) as conn:
                await conn.execute("UPDATE users SET status = 'suspended' WHERE id = $1", user.id)
            return await super().hash(password)

    with pytest.raises(ServiceError) as refusal:
        await reset_password(tenants.db, token, NEW, passwords=Slow(1), caller=Caller(), now=datetime.now(UTC))
    assert refusal.value.code == "invalid_link"
    assert (await found(tenants, user.id)).password_hash == user.password_hash


async def test_an_account_whose_payment_is_not_confirmed_gets_no_link(start: Any) -> None:
    tenants = await start()
    user = await a_user(tenants.db, password=None, status=UserStatus.PENDING, email_verified_at=None)
    await a_member(tenants.db, user, await a_tenant(tenants.db), status=MemberStatus.PENDING)
    assert (await public(tenants, FORGOT, {"email": "ana@example.com"})).status_code == 200
    assert await mails(tenants) == []


async def test_nobodys_mailbox_is_flooded(start: Any) -> None:
    tenants = await start()
    await an_owner(tenants.db)
    for n in range(8):
        answer = await public(tenants, FORGOT, {"email": "ana@example.com"}, address=f"10.0.0.{n}")
        assert answer.status_code == 200
    body = {"email": "ana@example.com", "password": NEW, "name": "Ana"}
    assert (await public(tenants, "/auth/register", body, address="10.0.1.1")).status_code == 201
    assert len(await mails(tenants)) == 5


async def test_one_address_asks_for_so_many_links_only(start: Any) -> None:
    tenants = await start()
    statuses = [(await public(tenants, FORGOT, {"email": f"user{n}@example.com"})).status_code for n in range(42)]
    assert statuses == [200] * 40 + [429] * 2
    body = {"email": "new@example.com", "password": NEW, "name": "Ana"}
    assert (await public(tenants, "/auth/register", body)).status_code == 429


async def test_a_reset_password_takes_the_second_factor_along(start: Any) -> None:
    """The mailbox alone must not get past it."""
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    async with platform_transaction(tenants.db) as conn:
        await store.totp.put_secret(conn, user.id, b"sealed", THEN)
        await store.totp.mark_enabled(conn, user.id, THEN)
    challenge = (await log_in(tenants))["challengeToken"]
    assert (await reset(tenants, await forget(tenants))).status_code == 200
    answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": NEW})
    assert answer.json()["data"]["twoFactorRequired"] is True
    body = {"challengeToken": challenge, "code": "123456"}
    answer = await public(tenants, "/auth/2fa/verify", body)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_challenge"), "of the old password"


async def test_registering(start: Any) -> None:
    tenants = await start()
    body = {"email": "New@Example.com", "password": NEW, "name": " Nina "}
    answer = await public(tenants, "/auth/register", body)
    assert answer.status_code == 201
    assert answer.json()["data"] == {"email": "New@Example.com", "name": " Nina "}
    login = {"email": "new@example.com", "password": NEW}
    refused = await public(tenants, "/auth/login", login)
    assert (refused.status_code, refused.json()["message"]) == (403, "Account is not active")
    [mail] = await mails(tenants)
    assert (mail["template"], mail["to"]["email"]) == ("account_verify_email", "new@example.com")
    assert mail["variables"]["link"].startswith("http://127.0.0.1:3001/verify-email?token=")
    token = token_in(mail)
    answer = await public(tenants, f"/auth/verify-email/{token}", method="GET")
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    data = (await public(tenants, "/auth/login", login)).json()["data"]
    assert (data["user"]["name"], data["user"]["emailVerified"], data["user"]["role"]) == ("Nina", True, "guest")
    answer = await public(tenants, f"/auth/verify-email/{token}", method="GET")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_link"), "it works once"
    records = [record["action"] for record in await tenants.told("tenants.audit.recorded.v1")]
    assert records[0] == "user.registered"
    assert "email.verified" in records


async def test_a_role_and_a_tenant_of_the_callers_choice_have_no_effect(start: Any) -> None:
    """Seed 002 spread the body into the new user: anybody could be superadmin of any tenant."""
    tenants = await start()
    tenant = await a_tenant(tenants.db)
    chosen: list[dict[str, Any]] = [
        {"role": "superadmin", "tenantId": str(tenant.tenant_id)},
        {"role": ["owner"], "tenantId": "default"},
        {"role": {"$ne": None}, "tenantId": 1},
    ]
    for n, extra in enumerate(chosen):
        body = {"email": f"u{n}@example.com", "password": NEW, "name": "Eve", **extra}
        assert (await public(tenants, "/auth/register", body)).status_code == 201
    for mail in await mails(tenants):
        assert (await public(tenants, f"/auth/verify-email/{token_in(mail)}", method="GET")).status_code == 200
    for n in range(len(chosen)):
        data = (await public(tenants, "/auth/login", {"email": f"u{n}@example.com", "password": NEW})).json()["data"]
        assert (data["user"]["role"], data["user"]["tenantId"], data["user"]["permissions"]) == ("guest", None, [])
    async with platform_transaction(tenants.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM memberships") == 0
        assert await conn.fetchval("SELECT count(*) FROM users WHERE is_platform_admin") == 0
    for name in ("status", "isPlatformAdmin", "is_platform_admin", "permissions", "emailVerified", "id", "tenant_id"):
        body = {"email": "x@example.com", "password": NEW, "name": "Eve", name: "active"}
        assert (await public(tenants, "/auth/register", body)).status_code == 422, name


async def test_an_account_that_is_there_hears_that_somebody_tried(start: Any) -> None:
    tenants = await start()
    user, _ = await an_owner(tenants.db)
    body = {"email": "ana@example.com", "password": NEW, "name": "Eve"}
    assert (await public(tenants, "/auth/register", body)).status_code == 201
    [mail] = await mails(tenants)
    assert (mail["template"], mail["variables"]["event"]) == ("account_security_notice", "registration_attempted")
    assert mail["variables"]["name"] == "Ana Lima"
    assert await found(tenants, user.id) == user
    await log_in(tenants)


async def test_whoever_registers_an_address_first_does_not_own_it(start: Any) -> None:
    """A stranger registers the address; its owner does so later, and must not end up with the stranger's password."""
    tenants = await start()
    address = {"email": "victim@example.com", "name": "V"}
    await public(tenants, "/auth/register", {**address, "password": "the stranger's own"})
    await public(tenants, "/auth/register", {**address, "password": "the owner's own"})
    first, second = await mails(tenants)
    assert (first["template"], second["template"]) == ("account_verify_email", "account_reset")
    answer = await public(tenants, f"/auth/verify-email/{token_in(first)}", method="GET")
    assert answer.status_code == 400, "the older link would have let the stranger in"
    assert (await reset(tenants, token_in(second), "what the owner typed")).status_code == 200
    for password, status in (("the stranger's own", 401), ("the owner's own", 401), ("what the owner typed", 200)):
        body = {"email": "victim@example.com", "password": password}
        assert (await public(tenants, "/auth/login", body)).status_code == status


async def test_fifty_registrations_at_once_make_one_account(start: Any) -> None:
    tenants = await start(PASSWORD_THREADS="4")
    body = {"email": "new@example.com", "password": NEW, "name": "Nina"}
    outcomes = await asyncio.gather(
        *(public(tenants, "/auth/register", body, address=f"10.0.0.{n}") for n in range(50))
    )
    assert {answer.status_code for answer in outcomes} == {201}
    async with platform_transaction(tenants.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM users") == 1
    templates = [mail["template"] for mail in await mails(tenants)]
    assert templates.count("account_verify_email") == 1
    assert len(templates) == 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/auth/register", {"email": "no address", "password": NEW, "name": "x"}),
        ("/auth/register", {"email": "a@example.com", "password": "short", "name": "x"}),
        ("/auth/register", {"email": "a@example.com", "password": NEW, "name": ""}),
        ("/auth/register", {"email": "a@example.com", "password": NEW, "name": "Ana\r\nBcc: b@example.com"}),
        ("/auth/register", {"email": "a@example.com", "password": NEW}),
        ("/auth/register", {"email": "a@example.com", "password": NEW, "name": "x" * 201}),
        (FORGOT, {}),
        (FORGOT, {"email": ["a@example.com"]}),
        (FORGOT, {"email": "a@example.com", "link": "https://evil.example"}),
        ("/auth/reset-password", {"password": NEW}),
        ("/auth/reset-password", {"token": "x"}),
        ("/auth/reset-password", {"token": {"$gt": ""}, "password": NEW}),
        ("/auth/reset-password/x", {"password": NEW, "token": "y"}),
    ],
)
async def test_odd_input_is_refused(start: Any, path: str, body: dict[str, Any]) -> None:
    tenants = await start()
    answer = await public(tenants, path, body)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["success"], answer.json()["message"]) == (False, answer.json()["detail"])
    assert await mails(tenants) == []
