"""What makes something does it once for one Idempotency-Key, and repeats its answer: but no secret, and no password."""

import asyncio
from typing import Any

import pytest

from chassis.db import platform_transaction

from .people import Staff, admin_of_platform, at_work, staff_of
from .sign_in_records import PASSWORD, a_tenant, as_user

KEY = {"Idempotency-Key": "k-1"}
#: What is made, by which body, and how many of them there are afterwards.
MADE: dict[str, tuple[str, dict[str, Any], str]] = {
    "tenant": ("/tenants", {"name": "Second", "slug": "second"}, "SELECT count(*) FROM tenants WHERE slug = 'second'"),
    "user": (
        "/users",
        {"email": "bia@example.com", "name": "Bia", "role": "user", "password": PASSWORD},
        "SELECT count(*) FROM memberships WHERE email = 'bia@example.com'",
    ),
    "invitation": (
        "/tenants/{tenant}/invitations",
        {"email": "eva@example.com", "role": "user"},
        "SELECT count(*) FROM invitations",
    ),
    "role": (
        "/roles",
        {"name": "clerk", "permissions": ["users:read"]},
        "SELECT count(*) FROM roles WHERE name = 'clerk'",
    ),
    "api key": ("/integrations/api-keys", {"name": "n8n", "scopes": ["read"]}, "SELECT count(*) FROM api_keys"),
}


async def count(tenants: Any, query: str, *args: Any) -> int:
    async with platform_transaction(tenants.db) as conn:
        return int(await conn.fetchval(query, *args))


async def ask(tenants: Any, staff: Staff, what: str, **changes: Any) -> Any:
    path, body, _ = MADE[what]
    path = path.format(tenant=staff.tenant.tenant_id)
    return await at_work(tenants, staff.owner, staff.tenant, "POST", path, json=body | changes, headers=KEY)


@pytest.mark.parametrize("what", sorted(MADE))
async def test_twenty_at_once_make_one(start: Any, what: str) -> None:
    tenants = await start(ROLE="api")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    outcomes = await asyncio.gather(*(ask(tenants, staff, what) for _ in range(20)))
    assert {answer.status_code for answer in outcomes} <= {201, 409, 503}, "409, 503: a loaded machine"
    made = [answer for answer in outcomes if answer.status_code == 201]
    assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
    again = await ask(tenants, staff, what)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert (
        len({str(answer.json()) for answer in made if "idempotency-replayed" in answer.headers} | {str(again.json())})
        == 1
    )
    assert await count(tenants, MADE[what][2]) == 1
    other = await ask(tenants, staff, what, name="another")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    deeds = [record["action"] for record in await tenants.told("tenants.audit.recorded.v1")]
    assert len(deeds) == len(set(deeds)) == 1, "nor is it told twice"


async def test_a_key_is_its_callers_and_its_tenants(start: Any) -> None:
    tenants = await start(ROLE="api")
    first, second = [await staff_of(tenants.db, await a_tenant(tenants.db, slug)) for slug in ("acme", "other")]
    answers = [await ask(tenants, staff, "role") for staff in (first, second)]
    assert all("idempotency-replayed" not in answer.headers for answer in answers)
    path, body, _ = MADE["role"]
    admins = await at_work(tenants, first.admin, first.tenant, "POST", path, json=body, headers=KEY)
    assert admins.status_code == 409, "a colleague's key is another key, and the name is taken"
    founder = {"Idempotency-Key": "k-2"}
    body = {"name": "Third", "slug": "third"}
    founded = [
        await as_user(tenants, first.clerk, None, "POST", "/tenants", json=body, headers=founder) for _ in range(2)
    ]
    ids = {answer.json()["id"] for answer in founded}
    assert len(ids) == 1, "who founds a tenant may have none yet"
    by_platform = await admin_of_platform(
        tenants, "POST", "/tenants", json={"name": "Fourth", "slug": "fourth"}, headers=founder
    )
    assert by_platform.status_code == 201


async def test_what_is_refused_may_be_asked_again(start: Any) -> None:
    tenants = await start(ROLE="api")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    assert (await ask(tenants, staff, "user", role="nothing")).status_code == 422
    assert (await ask(tenants, staff, "user")).status_code == 201


async def test_a_secret_is_neither_kept_nor_shown_again(start: Any) -> None:
    tenants = await start(ROLE="api")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    first, again = [await ask(tenants, staff, "api key") for _ in range(2)]
    assert first.json()["key"].startswith("nxs_")
    assert (again.json()["key"], again.json()["apiKey"]) == (None, first.json()["apiKey"])
    await ask(tenants, staff, "user")
    async with platform_transaction(tenants.db) as conn:
        kept = [bytes(row["body"]) for row in await conn.fetch("SELECT body FROM idempotency_keys")]
    assert len(kept) == 2
    assert not any(first.json()["key"].encode() in body or PASSWORD.encode() in body for body in kept)


async def test_no_hash_of_a_password_that_is_quick_to_guess_is_kept(start: Any) -> None:
    """The body's digest would be one: so it is taken of the body without it."""
    tenants = await start(ROLE="api")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    await ask(tenants, staff, "user")
    again = await ask(tenants, staff, "user", password="another good one")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
