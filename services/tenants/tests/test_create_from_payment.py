"""Seed 002's entry for a checkout site: what it answers, what it makes, and what nobody gets by it."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from chassis.db import platform_transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.api_keys import ApiKey, KeyStatus
from tenants.domain.claims import ClaimStatus
from tenants.domain.companies import TenantStatus
from tenants.domain.identifiers import new_id
from tenants.domain.people import MemberStatus, UserStatus
from tenants.domain.tokens import sha256_of
from tenants.usecases.adopt_external_key import adopt_external_key
from testkit.service import RunningService, until

from .sign_in_records import THEN, a_member, a_tenant, a_user, an_owner, mails

KEY = "k7Zq0vXr2Tn5Yb8Wd1Fh4Jm6Ps9Ua3Ce"  # any string of 32 characters: seed 002's was no nxs_ key
PATH = "/users/external/create-from-payment"
BODY: dict[str, Any] = {
    "email": "Bia@Example.com",
    "name": "Bia Souza",
    "planId": "essencial",
    "stripeSessionId": "cs_live_1",
    "amount": 24_700,
}


async def pay(
    tenants: RunningService, body: dict[str, Any] | None = None, *, key: str | None = KEY, **fields: Any
) -> httpx.Response:
    """A site's call as today's gateway passes it on: nothing verified, the key in its header."""
    headers = {"X-Forwarded-For": "203.0.113.7"} | ({"Authorization": f"Bearer {key}"} if key else {})
    return await tenants.call(
        "POST",
        PATH,
        None,
        "nothing:at_all",
        kind="api_key",
        subject="api-key",
        headers=headers | fields.pop("headers", {}),
        json=BODY | fields if body is None else body,
    )


async def a_key(tenants: RunningService, secret: str, *scopes: str, **fields: Any) -> ApiKey:
    """A stored key of the platform's, as another program may have left it: only its hash is known."""
    key = ApiKey(
        tenant_id=fields.pop("tenant_id", PLATFORM_TENANT_ID),
        id=new_id(THEN),
        name="site",
        description="",
        prefix=secret[:4],
        key_sha256=sha256_of(secret),
        scopes=list(scopes),
        allowed_ips=fields.pop("allowed_ips", []),
        rate_limit=fields.pop("rate_limit", 1000),
        status=KeyStatus.ACTIVE,
        expires_at=fields.pop("expires_at", None),
        last_used_at=None,
        usage_count=0,
        replaces_id=None,
        created_by="test",
        version=1,
        created_at=THEN,
        updated_at=THEN,
        revoked_at=None,
    )
    async with platform_transaction(tenants.db) as conn:
        assert await store.api_keys.claim_hash(conn, key.tenant_id, key.key_sha256, key.id)
        await store.api_keys.insert_key(conn, key.tenant_id, key)
    return key


async def counts(tenants: RunningService) -> dict[str, int]:
    async with platform_transaction(tenants.db) as conn:
        return {
            name: await conn.fetchval(sql)
            for name, sql in {
                "users": "SELECT count(*) FROM users",
                "tenants": "SELECT count(*) FROM tenants",
                "claims": "SELECT count(*) FROM payment_claims",
                "sessions": "SELECT count(*) FROM payment_sessions",
            }.items()
        }


async def test_a_new_buyer_waits_for_billings_word(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    answer = await pay(tenants)
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    assert answer.json() == {
        "success": True,
        "message": "Usuário criado e assinatura ativada com sucesso",
        "data": {
            "userId": data["userId"],
            "tenantId": data["tenantId"],
            "email": "bia@example.com",
            "isNewUser": True,
        },
    }
    async with platform_transaction(tenants.db) as conn:
        user = await store.users.get_user(conn, UUID(data["userId"]))
        tenant = await store.tenants.get_tenant(conn, UUID(data["tenantId"]))
        member = await store.memberships.get_membership(conn, tenant.tenant_id, user.id)
    assert (user.status, user.password_hash, user.email) == (UserStatus.PENDING, None, "bia@example.com")
    assert (tenant.status, tenant.name, tenant.slug) == (TenantStatus.PENDING, "Bia Souza", "bia-souza")
    assert (member.status, member.role) == (MemberStatus.PENDING, "owner")
    [told] = await tenants.told("tenants.payment.claimed.v1")
    assert (told["tenant_id"], told["user_id"], told["email"]) == (data["tenantId"], data["userId"], "bia@example.com")
    assert (told["session_id"], told["plan_slug"], told["amount_cents"]) == ("cs_live_1", "essencial", 24_700)
    assert told["is_attested"] is False
    assert await mails(tenants) == [], "no mail before the money is seen"
    [record] = [one for one in await tenants.told("tenants.audit.recorded.v1") if one["action"] == "payment.claimed"]
    assert record["actor"]["type"] == "api_key"
    assert record["context"]["location"] == "203.0.113.7"


async def test_a_session_counts_once(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    assert (await pay(tenants)).status_code == 201
    before = await counts(tenants)
    for body in (BODY, BODY | {"email": "eve@example.com", "planId": "enterprise", "amount": 1}):
        again = await pay(tenants, body)
        assert again.status_code == 200
        assert again.json() == {
            "success": True,
            "message": "Pagamento já processado anteriormente",
            "alreadyProcessed": True,
        }
    assert await counts(tenants) == before == {"users": 1, "tenants": 1, "claims": 1, "sessions": 1}
    assert len(await tenants.told("tenants.payment.claimed.v1")) == 1


@pytest.mark.parametrize("same_session", [True, False])
async def test_fifty_at_once_make_one_of_each(start: Any, same_session: bool) -> None:
    """The seed looked first and inserted then: two deliveries at once made two of everything (2.2, item 11)."""
    tenants = await start(EXTERNAL_API_KEY=KEY)
    answers = await asyncio.gather(
        *(pay(tenants, stripeSessionId="cs_1" if same_session else f"cs_{number}") for number in range(50))
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == ([200] * 49 + [201] if same_session else [201] * 50), [answer.text for answer in answers][:2]
    claims = 1 if same_session else 50
    assert await counts(tenants) == {"users": 1, "tenants": 1, "claims": claims, "sessions": claims}
    assert len(await tenants.told("tenants.payment.claimed.v1")) == claims
    ids = {(a.json()["data"]["userId"], a.json()["data"]["tenantId"]) for a in answers if a.status_code == 201}
    assert len(ids) == 1, "every answer names the same person and tenant"


async def test_what_has_to_be_there(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    for missing in ("email", "name", "planId", "stripeSessionId"):
        body = {name: said for name, said in BODY.items() if name != missing}
        for fields in ({}, {missing: None}, {missing: ""}, {missing: "   "}):
            refused = await pay(tenants, body | fields)
            assert refused.status_code == 400
            assert refused.json()["success"] is False
            assert refused.json()["message"] == "Email, nome, planId e stripeSessionId são obrigatórios"
    assert await counts(tenants) == dict.fromkeys(("users", "tenants", "claims", "sessions"), 0)


async def test_odd_bodies_are_refused_and_a_payment_is_not_lost_over_a_member_too_many(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    odd: list[dict[str, Any]] = [
        {"email": "no address"},
        {"email": ["a@example.com"]},
        {"amount": -1},
        {"amount": 1.5},
        {"amount": "24700"},
        {"name": 7},
        {"planId": "x" * 301},
    ]
    for fields in odd:
        refused = await pay(tenants, **fields)
        assert (refused.status_code, refused.json()["success"]) == (422, False), fields
    taken = await pay(tenants, amount=None, coupon="BLACK", provider="stripe")
    assert taken.status_code == 201, taken.text


async def test_no_key_no_payment(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    shown: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {KEY}"},
        {"X-API-Key": "  "},
    ]
    for headers in shown:
        refused = await pay(tenants, key=None, headers=headers)
        assert (refused.status_code, refused.json()["success"]) == (401, False)
        assert refused.json()["message"] == "No API key provided"
    assert (await tenants.http.post(PATH, json=BODY)).status_code == 401


async def test_only_a_key_that_may_claim_payments_claims_one(start: Any) -> None:
    """Whoever is signed in, and whatever they may, is no checkout site; nor is a key of another use."""
    tenants = await start(EXTERNAL_API_KEY=KEY)
    for wrong in (KEY + "x", KEY[:-1], KEY.lower(), "nxs_" + "0" * 64, "' OR 1=1 --", "x" * 5000, "chave-de-acesso"):
        refused = await pay(tenants, key=wrong)
        assert (refused.status_code, refused.json()["message"]) == (401, "Invalid API key"), wrong
    for kind in ("user", "platform_admin", "public"):
        nobody = await tenants.call("POST", PATH, uuid4(), kind=kind, json=BODY)
        assert nobody.status_code == 401, kind
    await a_key(tenants, "nxs_" + "1" * 64, "full")
    refused = await pay(tenants, key="nxs_" + "1" * 64)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_permission")
    assert (await counts(tenants))["claims"] == 0


async def test_a_key_works_while_it_lives_from_where_it_may_and_so_often(start: Any) -> None:
    tenants = await start()
    past = THEN - timedelta(days=1)
    await a_key(tenants, "expired" * 6, "payments:claim", expires_at=past)
    assert (await pay(tenants, key="expired" * 6)).status_code == 401
    await a_key(tenants, "elsewhere" * 4, "payments:claim", allowed_ips=["198.51.100.0/24"])
    elsewhere = await pay(tenants, key="elsewhere" * 4)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "address_not_allowed")
    near = {"X-Forwarded-For": "198.51.100.9"}
    assert (await pay(tenants, key="elsewhere" * 4, headers=near)).status_code == 201
    twice = await a_key(tenants, "twice" * 8, "payments:claim", rate_limit=2)
    codes = [(await pay(tenants, key="twice" * 8)).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    async with platform_transaction(tenants.db) as conn:
        used = await store.api_keys.find_key(conn, PLATFORM_TENANT_ID, twice.id)
    assert used is not None
    assert used.usage_count == 2
    assert used.last_used_at is not None


async def test_the_key_may_come_in_the_other_header_or_be_verified_by_the_gateway(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    other = await pay(tenants, key=None, headers={"X-API-Key": KEY})
    assert other.status_code == 201
    key_id = str(uuid4())
    verified = await tenants.call(
        "POST",
        PATH,
        None,
        "payments:claim",
        "payments:attest",
        kind="api_key",
        subject=key_id,
        json=BODY | {"stripeSessionId": "cs_2"},
    )
    assert verified.status_code == 201, verified.text
    told = await tenants.told("tenants.payment.claimed.v1")
    assert [one["is_attested"] for one in told] == [False, True]


async def test_a_key_that_attests_is_believed(start: Any) -> None:
    tenants = await start()
    await a_key(tenants, "trusted" * 5, "payments:claim", "payments:attest")
    assert (await pay(tenants, key="trusted" * 5)).status_code == 201
    [told] = await tenants.told("tenants.payment.claimed.v1")
    assert told["is_attested"] is True


async def test_the_environments_key_is_taken_in_once_and_replaced_when_it_changes(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    [created] = await tenants.told("tenants.api_key.created.v1")
    assert (created["key"]["tenant_id"], created["key"]["permissions"]) == (
        str(PLATFORM_TENANT_ID),
        ["payments:claim"],
    )
    async with platform_transaction(tenants.db) as conn:
        assert not await adopt_external_key(conn, KEY, now=THEN), "known"
    async with platform_transaction(tenants.db) as conn:
        assert await adopt_external_key(conn, KEY[::-1], now=THEN)
    assert (await pay(tenants)).status_code == 401, "the one that leaked"
    assert (await pay(tenants, key=KEY[::-1])).status_code == 201
    async with platform_transaction(tenants.db) as conn:
        assert not await adopt_external_key(conn, KEY, now=THEN)
    assert (await pay(tenants)).status_code == 401, "a revoked key is not revived by a start"
    assert len(await tenants.told("tenants.api_key.revoked.v1")) == 1


async def test_somebodys_payment_is_for_the_tenant_that_is_theirs(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    user, tenant = await an_owner(tenants.db, "bia@example.com")
    answer = await pay(tenants)
    assert answer.status_code == 201
    assert answer.json()["message"] == "Assinatura atualizada com sucesso"
    assert answer.json()["data"] == {
        "userId": str(user.id),
        "tenantId": str(tenant.tenant_id),
        "email": "bia@example.com",
        "isNewUser": False,
    }
    assert (await counts(tenants))["tenants"] == 1
    async with platform_transaction(tenants.db) as conn:
        assert await store.users.get_user(conn, user.id) == user


async def test_a_tenant_where_somebody_only_works_is_not_theirs(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    user = await a_user(tenants.db, "bia@example.com")
    employer = await a_tenant(tenants.db, "employer")
    closed = await a_tenant(tenants.db, "closed", status=TenantStatus.CLOSED)
    await a_member(tenants.db, user, employer, "receptionist")
    await a_member(tenants.db, user, closed, "owner")
    data = (await pay(tenants)).json()["data"]
    assert (data["userId"], data["isNewUser"]) == (str(user.id), False)
    assert data["tenantId"] not in (str(employer.tenant_id), str(closed.tenant_id))
    await a_member(tenants.db, user, managed := await a_tenant(tenants.db, "managed"), "admin")
    owned = (await pay(tenants, stripeSessionId="cs_2")).json()["data"]
    assert owned["tenantId"] == data["tenantId"] != str(managed.tenant_id), "what they own comes first"


async def test_what_a_stranger_founded_under_the_payers_address_is_not_the_payers(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    squatter = await a_user(tenants.db, "bia@example.com", email_verified_at=None)
    trap = await a_tenant(tenants.db, "trap")
    await a_member(tenants.db, squatter, trap)
    data = (await pay(tenants)).json()["data"]
    assert data["userId"] == str(squatter.id)
    assert data["tenantId"] != str(trap.tenant_id)


@pytest.mark.parametrize("shut_out", ["user", "user_without_tenant", "membership", "inactive"])
async def test_nobody_comes_back_in_by_paying(start: Any, shut_out: str) -> None:
    """Item 12: the seed set whoever the site named active again. The payment is kept, and a person decides."""
    tenants = await start(EXTERNAL_API_KEY=KEY, ADMIN_EMAIL="ops@example.com")
    status = {"membership": UserStatus.ACTIVE, "inactive": UserStatus.INACTIVE}.get(shut_out, UserStatus.SUSPENDED)
    user = await a_user(tenants.db, "bia@example.com", status=status)
    if shut_out != "user_without_tenant":
        tenant = await a_tenant(tenants.db)
        membership = MemberStatus.SUSPENDED if shut_out == "membership" else MemberStatus.ACTIVE
        await a_member(tenants.db, user, tenant, status=membership)
    answer = await pay(tenants)
    assert answer.status_code == 201
    assert answer.json()["data"]["userId"] == str(user.id)
    async with platform_transaction(tenants.db) as conn:
        assert await store.users.get_user(conn, user.id) == user
        found = await store.memberships.get_membership(conn, UUID(answer.json()["data"]["tenantId"]), user.id)
    assert found.status is (MemberStatus.SUSPENDED if shut_out == "membership" else found.status)
    [alert] = await mails(tenants, "admin_alert")
    assert alert["to"]["email"] == "ops@example.com"
    assert "bia@example.com" not in msgspec.json.encode(alert["variables"]).decode()
    assert len(await tenants.told("tenants.payment.claimed.v1")) == 1


async def test_a_session_that_came_to_nothing_may_be_claimed_anew(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    first = (await pay(tenants)).json()["data"]
    async with platform_transaction(tenants.db) as conn:
        used_for = await store.claims.lock_session(conn, "cs_live_1")
        assert used_for is not None
        claim = await store.claims.lock_claim(conn, *used_for)
        assert claim is not None
        refused = msgspec.structs.replace(claim, status=ClaimStatus.REFUSED, reason="unpaid", ended_at=THEN)
        await store.claims.update_claim(conn, claim.tenant_id, refused)
    answers = await asyncio.gather(*(pay(tenants) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
    [again] = [answer.json()["data"] for answer in answers if answer.status_code == 201]
    assert (again["userId"], again["tenantId"], again["isNewUser"]) == (first["userId"], first["tenantId"], False)
    told = await tenants.told("tenants.payment.claimed.v1")
    assert len({one["claim_id"] for one in told}) == 2
    async with platform_transaction(tenants.db) as conn:
        session = await store.claims.lock_session(conn, "cs_live_1")
    assert session is not None
    assert str(session[1]) == told[-1]["claim_id"]


async def test_no_answer_and_no_event_holds_a_secret(start: Any) -> None:
    """Items 12, 13 and 15: no password, no hash, no token, no key and no internal word, in any answer."""
    tenants = await start(EXTERNAL_API_KEY=KEY)
    answers = [await pay(tenants), await pay(tenants), await pay(tenants, key="wrong"), await pay(tenants, email="x")]
    everything = "".join(answer.text for answer in answers)
    everything += msgspec.json.encode(await tenants.told()).decode()
    for secret in (KEY, "password", "argon2", "Traceback", "asyncpg", "resetToken"):
        assert secret not in everything, secret


async def test_what_is_told_is_published(start: Any) -> None:
    tenants = await start(EXTERNAL_API_KEY=KEY)
    await pay(tenants)

    async def published() -> bool:
        waiting = await tenants.db.relay.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        return bool(waiting == 0)

    await until(published)
