"""The second factor: nothing before a code was shown, each code once, few tries, and no secret in clear."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest

from chassis.db import platform_transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.usecases.spend_code import TABLE, spend_code

from .sign_in_records import (
    PASSWORD,
    THEN,
    a_member,
    a_tenant,
    a_user,
    an_owner,
    as_user,
    enable_factor,
    log_in,
    mails,
    public,
)

VERIFY = "/auth/2fa/verify"


def now_code(authenticator: Any, *, steps: int = 0) -> str:
    code: str = authenticator.at(int(datetime.now(UTC).timestamp()) + 30 * steps)
    return code


def other_code(authenticator: Any) -> str:
    """A code that is none of those taken now."""
    taken = {now_code(authenticator, steps=n) for n in range(-3, 4)}
    return next(
        code
        for code in ("000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777")
        if code not in taken
    )


async def verify(tenants: Any, challenge: str, **body: Any) -> Any:
    return await public(tenants, VERIFY, {"challengeToken": challenge, **body})


async def test_from_the_set_up_to_a_session(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    made = await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/setup")
    data = made.json()["data"]
    assert made.headers["cache-control"] == "no-store"
    assert set(data) == {"secret", "otpauthUrl"}
    assert data["otpauthUrl"].startswith("otpauth://totp/Acme:ana%40example.com?secret=" + data["secret"])
    assert "accessToken" in await log_in(tenants), "nothing before a code was shown"
    authenticator, codes = await enable_factor(tenants, user, tenant)
    assert len(set(codes)) == 10
    answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": PASSWORD, "cookie": True})
    assert answer.json()["success"] is True
    assert set(answer.json()["data"]) == {"twoFactorRequired", "challengeToken"}
    assert answer.json()["data"]["twoFactorRequired"] is True
    assert "set-cookie" not in answer.headers
    challenge = answer.json()["data"]["challengeToken"]
    answer = await verify(tenants, challenge, code=now_code(authenticator), cookie=True)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["success"], answer.json()["message"]) == (True, "Login successful")
    assert set(answer.json()["data"]) == {"user", "accessToken", "refreshToken"}
    assert answer.json()["data"]["user"]["tenantId"] == str(tenant.tenant_id)
    assert len(answer.headers.get_list("set-cookie")) == 3
    events = await tenants.told("tenants.user.signed_in.v1")
    assert [event["with_second_factor"] for event in events] == [False, True]
    actions = [record["action"] for record in await tenants.told("tenants.audit.recorded.v1")]
    assert "second_factor.enabled" in actions
    [notice] = await mails(tenants)
    assert notice["variables"]["event"] == "second_factor_enabled"


async def test_the_challenge_is_no_token(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    authenticator, _ = await enable_factor(tenants, user, tenant)
    challenge = (await log_in(tenants))["challengeToken"]
    assert challenge.count(".") == 0, "opaque"
    assert (await public(tenants, "/auth/refresh", {"refreshToken": challenge})).status_code == 401
    body = {"token": challenge, "password": "a quite new password"}
    assert (await public(tenants, "/auth/reset-password", body)).status_code == 400
    session = (await verify(tenants, challenge, code=now_code(authenticator))).json()["data"]
    for token in (session["refreshToken"], session["accessToken"], "x", ""):
        answer = await verify(tenants, token, code=now_code(authenticator, steps=1))
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_challenge")


async def test_a_code_and_a_challenge_work_once(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    authenticator, _ = await enable_factor(tenants, user, tenant)
    first, second = [(await log_in(tenants))["challengeToken"] for _ in range(2)]
    code = now_code(authenticator)
    assert (await verify(tenants, first, code=code)).status_code == 200
    answer = await verify(tenants, second, code=code)
    assert (answer.status_code, answer.json()["message"]) == (401, "Invalid code")
    answer = await verify(tenants, first, code=now_code(authenticator, steps=1))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_challenge")
    older = await verify(tenants, second, code=now_code(authenticator, steps=-1))
    assert older.status_code == 401, "older than the newest that was used"
    assert (await verify(tenants, second, code=now_code(authenticator, steps=1))).status_code == 200


async def test_of_twenty_with_one_code_one_gets_in(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    authenticator, _ = await enable_factor(tenants, user, tenant)
    challenges = [(await log_in(tenants))["challengeToken"] for _ in range(5)]
    code = now_code(authenticator)
    outcomes = await asyncio.gather(*(verify(tenants, one, code=code) for one in challenges * 4))
    assert [answer.status_code for answer in outcomes].count(200) == 1
    async with platform_transaction(tenants.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM refresh_families") == 1


async def test_few_codes_may_be_tried(start: Any) -> None:
    """Whatever addresses and challenges they come by, and however many at once."""
    tenants = await start(ROLE="api", PASSWORD_THREADS="4")
    user, tenant = await an_owner(tenants.db)
    authenticator, codes = await enable_factor(tenants, user, tenant)
    challenges = [(await log_in(tenants))["challengeToken"] for _ in range(4)]
    wrong = other_code(authenticator)
    outcomes = await asyncio.gather(
        *(
            public(tenants, VERIFY, {"challengeToken": challenges[n % 4], "code": wrong}, address=f"10.0.{n % 250}.1")
            for n in range(200)
        )
    )
    assert [answer.status_code for answer in outcomes].count(401) == 5
    refused = [answer for answer in outcomes if answer.status_code == 429]
    assert {answer.status_code for answer in outcomes} <= {401, 429, 503}, "503: a loaded machine"
    assert 0 < int(refused[0].headers["retry-after"]) <= 61
    for body in ({"code": now_code(authenticator)}, {"recoveryCode": codes[0]}):
        assert (await verify(tenants, challenges[0], **body)).status_code == 429, "the right one neither"
    records = await tenants.told("tenants.audit.recorded.v1")
    assert [record["action"] for record in records].count("second_factor.refused") == 5


async def test_a_success_forgets_the_tries(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    authenticator, codes = await enable_factor(tenants, user, tenant)
    for recovery_code in codes[:3]:
        challenge = (await log_in(tenants))["challengeToken"]
        for _ in range(4):
            assert (await verify(tenants, challenge, code=other_code(authenticator))).status_code == 401
        assert (await verify(tenants, challenge, recoveryCode=recovery_code)).status_code == 200


async def test_recovery_codes_work_once_however_they_are_typed(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    _, codes = await enable_factor(tenants, user, tenant)
    challenges = [(await log_in(tenants))["challengeToken"] for _ in range(4)]
    assert (await verify(tenants, challenges[0], recoveryCode=codes[0])).status_code == 200
    assert (await verify(tenants, challenges[1], recoveryCode=codes[0])).status_code == 401
    typed = " " + codes[1].upper().replace("-", " ")
    assert (await verify(tenants, challenges[1], recoveryCode=typed)).status_code == 200
    outcomes = await asyncio.gather(*(verify(tenants, one, recoveryCode=codes[2]) for one in challenges[2:]))
    assert sorted(answer.status_code for answer in outcomes) == [200, 401]
    events = [mail["variables"]["event"] for mail in await mails(tenants)]
    assert events == ["second_factor_enabled"] + ["recovery_code_used"] * 3
    async with platform_transaction(tenants.db) as conn:
        stored = str(await conn.fetch("SELECT to_jsonb(t) FROM recovery_codes t"))
    assert not any(code in stored for code in codes)


async def test_the_secret_is_sealed_and_shown_once(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    authenticator, _ = await enable_factor(tenants, user, tenant)
    async with platform_transaction(tenants.db) as conn:
        stored = str(await conn.fetch("SELECT secret FROM totp_secrets"))
    assert authenticator.secret not in stored
    assert authenticator.secret not in str(await tenants.told())
    again = await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/setup")
    assert (again.status_code, again.json()["code"]) == (409, "second_factor_enabled")
    body = {"code": now_code(authenticator)}
    answer = await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/enable", json=body)
    assert answer.status_code == 409


async def test_a_set_up_that_was_not_finished_gives_way(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    enable = "/auth/2fa/enable"
    answer = await as_user(tenants, user, tenant.tenant_id, "POST", enable, json={"code": "123456"})
    assert (answer.status_code, answer.json()["code"]) == (409, "second_factor_missing")
    first = (await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/setup")).json()["data"]["secret"]
    authenticator, _ = await enable_factor(tenants, user, tenant)
    assert first != authenticator.secret


async def test_a_wrong_code_enables_nothing(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/setup")
    for n in range(6):
        answer = await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/enable", json={"code": f"x{n}"})
        assert answer.status_code == (422 if n < 5 else 429), "never 401: that would sign seed 002's user out"
    assert "accessToken" in await log_in(tenants)


async def test_disabling_takes_the_password_and_a_code(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    disable = "/auth/2fa/disable"

    async def ask(**body: Any) -> Any:
        return await as_user(tenants, user, tenant.tenant_id, "POST", disable, json=body)

    assert (await ask(password=PASSWORD, code="123456")).json()["code"] == "second_factor_missing"
    authenticator, codes = await enable_factor(tenants, user, tenant)
    wrong = await ask(password="not the password", code=now_code(authenticator))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_password")
    wrong = await ask(password=PASSWORD, code=other_code(authenticator))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_code")
    for body in ({"password": PASSWORD}, {"password": PASSWORD, "code": "1", "recoveryCode": "1"}, {"code": "1"}):
        assert (await ask(**body)).status_code == 422
    answer = await ask(password=PASSWORD, code=now_code(authenticator))
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert "accessToken" in await log_in(tenants)
    assert (await mails(tenants))[-1]["variables"]["event"] == "second_factor_disabled"
    actions = [record["action"] for record in await tenants.told("tenants.audit.recorded.v1")]
    assert "second_factor.disabled" in actions
    _, fresh = await enable_factor(tenants, user, tenant)
    assert not set(codes) & set(fresh), "the old recovery codes are gone"
    assert (await ask(password=PASSWORD, recoveryCode=codes[0])).status_code == 422
    assert (await ask(password=PASSWORD, recoveryCode=fresh[0])).status_code == 200


async def test_a_stolen_session_does_not_guess_the_password(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    await enable_factor(tenants, user, tenant)
    statuses = []
    for n in range(7):
        body = {"password": f"guess {n}", "code": "123456"}
        answer = await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/disable", json=body)
        statuses.append(answer.status_code)
    assert statuses == [422] * 5 + [429] * 2


@pytest.mark.parametrize(
    "shut_out",
    [
        "UPDATE users SET status = 'suspended'",
        "UPDATE memberships SET status = 'suspended'",
        "UPDATE tenants SET status = 'suspended', status_reason = 'unpaid'",
    ],
)
async def test_whoever_is_shut_out_between_the_two_steps_stays_out(start: Any, shut_out: str) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    authenticator, _ = await enable_factor(tenants, user, tenant)
    challenge = (await log_in(tenants))["challengeToken"]
    async with platform_transaction(tenants.db) as conn:
        await conn.execute(shut_out)
    assert (await verify(tenants, challenge, code=now_code(authenticator))).status_code == 403


async def test_a_challenge_is_good_for_five_minutes_and_one_tenant(start: Any) -> None:
    tenants = await start()
    user, tenant = await an_owner(tenants.db)
    other = await a_tenant(tenants.db, "other")
    await a_member(tenants.db, user, other, "user", now=THEN + timedelta(days=1))
    authenticator, _ = await enable_factor(tenants, user, tenant)
    late = (await log_in(tenants))["challengeToken"]
    async with platform_transaction(tenants.db) as conn:
        lifetime = await conn.fetchval("SELECT expires_at - created_at FROM one_time_links")
        await conn.execute("UPDATE one_time_links SET expires_at = now() - interval '1 second'")
    assert lifetime == timedelta(minutes=5)
    assert (await verify(tenants, late, code=now_code(authenticator))).status_code == 401
    challenge = (await log_in(tenants, tenantId=str(other.tenant_id)))["challengeToken"]
    data = (await verify(tenants, challenge, code=now_code(authenticator))).json()["data"]
    assert (data["user"]["tenantId"], data["user"]["role"]) == (str(other.tenant_id), "user")


async def test_a_platform_administrator_may_have_one_too(start: Any) -> None:
    tenants = await start()
    root = await a_user(tenants.db, is_platform_admin=True)
    authenticator, _ = await enable_factor(tenants, root, None)
    challenge = (await log_in(tenants))["challengeToken"]
    data = (await verify(tenants, challenge, code=now_code(authenticator))).json()["data"]
    assert data["user"]["role"] == "superadmin"


async def test_a_secret_under_an_older_key_is_sealed_anew(db: Any) -> None:
    user = await a_user(db)
    old, new = Secret("an-older-key-of-the-tests-long-enough"), Secret("a-newer-key-of-the-tests-long-enough")
    authenticator = pyotp.TOTP(pyotp.random_base32())
    sealed = SecretBox(old).seal(authenticator.secret, PLATFORM_TENANT_ID, TABLE, user.id)
    box = SecretBox(new, old)
    async with platform_transaction(db) as conn:
        await store.totp.put_secret(conn, user.id, sealed, THEN)
        factor = await store.totp.lock_second_factor(conn, user.id)
        assert factor is not None
        code = authenticator.at(THEN)
        assert await spend_code(conn, factor, code=code, recovery_code=None, box=box, now=THEN) == "code"
        again = await store.totp.lock_second_factor(conn, user.id)
        assert again is not None
        assert SecretBox(new).open(again.secret, PLATFORM_TENANT_ID, TABLE, user.id) == authenticator.secret
        assert await spend_code(conn, again, code=code, recovery_code=None, box=box, now=THEN) is None


@pytest.mark.parametrize("path", ["/auth/2fa/setup", "/auth/2fa/enable", "/auth/2fa/disable"])
async def test_nobody_and_strangers(start: Any, path: str) -> None:
    tenants = await start()
    body = {"code": "123456"} | ({"password": "x"} if path.endswith("disable") else {})
    given: dict[str, Any] = {} if path.endswith("setup") else {"json": body}
    answer = await tenants.call("POST", path, None, kind="public", subject="anonymous", **given)
    assert (answer.status_code, answer.json()["success"]) == (401, False)
    for subject in ("user-1", "019df2dc-0a00-7000-8000-000000000001"):
        answer = await tenants.call("POST", path, None, subject=subject, **given)
        assert answer.status_code in (404, 409), answer.text
