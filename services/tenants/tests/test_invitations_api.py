"""Invitations: who may ask whom, and what a link lets its reader do, once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from chassis.db import platform_transaction
from contracts.errors import ServiceError
from tenants import store
from tenants.domain.callers import Caller
from tenants.domain.companies import TenantStatus
from tenants.domain.people import MemberStatus, UserStatus
from tenants.passwords import Passwords
from tenants.usecases.accept_invitation import accept_invitation

from .people import Staff, at_work, membership_of, person, staff_of
from .sign_in_records import PASSWORD, a_member, a_tenant, a_user, as_user, hash_of, log_in, mails, public, token_in

GUEST = "guest@example.com"


async def invite(tenants: Any, staff: Staff, email: str = GUEST, **body: Any) -> httpx.Response:
    path = f"/tenants/{staff.tenant.tenant_id}/invitations"
    return await at_work(tenants, body.pop("by", staff.owner), staff.tenant, "POST", path, json={"email": email} | body)


async def invited(tenants: Any, staff: Staff, email: str = GUEST, **body: Any) -> str:
    """The token of the mail that it brings."""
    made = await invite(tenants, staff, email, **body)
    assert made.status_code == 201, made.text
    return token_in((await mails(tenants, "account_invitation"))[-1])


async def test_no_tenant_floods_a_strangers_mailbox(start: Any) -> None:
    """By inviting, withdrawing and inviting again, or by adding, removing and adding again."""
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    other = await staff_of(tenants.db, await a_tenant(tenants.db, "other"))
    for number in range(5):
        by = (staff, other)[number % 2]
        made = await invite(tenants, by)
        path = f"/tenants/{by.tenant.tenant_id}/invitations/{made.json()['id']}"
        assert (await at_work(tenants, by.owner, by.tenant, "DELETE", path)).status_code == 204
    added = {"json": {"email": GUEST, "name": "Gil"}}
    for refused in (
        await invite(tenants, staff),
        await at_work(tenants, staff.owner, staff.tenant, "POST", "/users", **added),
    ):
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_tries")
        assert int(refused.headers["Retry-After"]) > 600
    assert len(await mails(tenants, "account_invitation")) == 5
    assert (await invite(tenants, staff, "another@example.com")).status_code == 201


async def test_nor_by_giving_a_member_its_address_again_and_again(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    clerk = f"/users/{staff.clerk.id}"
    codes = []
    for number in range(8):
        body = {"json": {"email": GUEST if number % 2 == 0 else f"clerk-{number}@example.com"}}
        codes.append((await at_work(tenants, staff.owner, staff.tenant, "PATCH", clerk, **body)).status_code)
    assert codes == [200] * 5 + [429] * 3
    assert len(await mails(tenants, "account_security_notice")) == 5


async def test_no_name_that_is_stored_costs_a_mail(start: Any) -> None:
    """Payments and imports bring names that no header of a mail can hold: the mailer refuses such a job for good."""
    tenants = await start()
    bad = "Acme\r\nBcc: x@example.com"
    staff = await staff_of(tenants.db, await a_tenant(tenants.db, name=bad))
    user = await a_user(tenants.db, GUEST, name="\x01Gil\u2028 Sá\t", preferences={"locale": "en\nUS"})
    await invited(tenants, staff)
    await public(tenants, "/auth/forgot-password", {"email": user.email})
    [asked] = await mails(tenants, "account_invitation")
    [reset] = await mails(tenants, "account_reset")
    assert asked["variables"]["brand_name"] == "Acme Bcc: x@example.com"
    assert (reset["to"]["name"], reset["variables"]["name"], reset["locale"]) == ("Gil Sá", "Gil Sá", "en US")


async def accept(tenants: Any, token: str, **body: Any) -> httpx.Response:
    return await public(tenants, "/invitations/accept", {"token": token} | body)


async def test_somebody_new_joins_by_the_link_in_their_mail(start: Any) -> None:
    tenants = await start(FRONTEND_URL="https://app.example.com")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    made = await invite(tenants, staff, " Guest@Example.com", role="receptionist", name="Gil")
    assert made.status_code == 201
    assert made.json() | {"email": GUEST, "role": "receptionist", "status": "open", "ended_at": None} == made.json()
    [mail] = await mails(tenants)
    assert (mail["template"], mail["to"]) == ("account_invitation", {"email": GUEST, "name": "Gil"})
    assert (mail["variables"]["inviter"], mail["variables"]["brand_name"]) == ("Ana Lima", "Acme")
    assert mail["variables"]["link"].startswith("https://app.example.com/accept-invitation?token=")
    assert token_in(mail) not in made.text
    for body in ({}, {"password": "short"}, {"password": "1234567890"}, {"password": GUEST}):
        refused = await accept(tenants, token_in(mail), **body)
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_password"), body
    joined = await accept(tenants, token_in(mail), password=PASSWORD)
    assert joined.status_code == 200, joined.text
    assert joined.json() | {"email": GUEST, "role": "receptionist"} == joined.json()
    async with platform_transaction(tenants.db) as conn:
        user = await store.users.get_user(conn, UUID(joined.json()["user_id"]))
    assert (user.status, user.name, user.email_verified_at is not None) == (UserStatus.ACTIVE, "Gil", True)
    assert (await log_in(tenants, GUEST))["user"]["role"] == "receptionist"
    again = await accept(tenants, token_in(mail), password="another-password")
    assert (again.status_code, again.json()["code"]) == (400, "invalid_link")
    path = f"/tenants/{staff.tenant.tenant_id}/invitations"
    [listed] = (await at_work(tenants, staff.owner, staff.tenant, "GET", path)).json()["data"]
    assert (listed["status"], listed["id"]) == ("accepted", made.json()["id"])
    actions = [one["action"] for one in await tenants.told("tenants.audit.recorded.v1")]
    assert [one for one in actions if one.startswith("invitation.")] == ["invitation.created", "invitation.accepted"]


async def test_a_link_works_once_however_many_use_it_at_once(start: Any) -> None:
    tenants = await start(PASSWORD_THREADS="4")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    token = await invited(tenants, staff)
    answers = await asyncio.gather(*(accept(tenants, token, password=f"{PASSWORD} {n}") for n in range(8)))
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) == 1, [answer.text for answer in answers]
    assert set(codes) <= {200, 400, 409}
    async with platform_transaction(tenants.db) as conn:
        assert await store.memberships.count_people(conn, staff.tenant.tenant_id) == 5


async def test_who_has_an_account_signs_in_first_and_keeps_their_password(start: Any) -> None:
    """A link alone must not open an account that exists, nor change it."""
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    guest = await a_user(tenants.db, GUEST)
    token = await invited(tenants, staff, role="manager")
    alone = await accept(tenants, token, password="a-strangers-password")
    assert (alone.status_code, alone.json()["code"]) == (409, "sign_in_required")
    assert await person(tenants.db, guest) == guest
    other = await a_user(tenants.db, "other@example.com")
    wrong = await as_user(tenants, other, None, "POST", "/invitations/accept", json={"token": token})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "other_person")
    nobody = await tenants.call("POST", "/invitations/accept", None, subject="go-core-7", json={"token": token})
    assert nobody.status_code == 404
    joined = await as_user(tenants, guest, None, "POST", "/invitations/accept", json={"token": token})
    assert (joined.status_code, joined.json()["role"]) == (200, "manager")
    assert await person(tenants.db, guest) == guest
    assert (await membership_of(tenants.db, guest, staff.tenant)).role == "manager"
    again = await as_user(tenants, guest, None, "POST", "/invitations/accept", json={"token": token})
    assert again.status_code == 400


async def test_whoever_holds_the_mailbox_takes_a_strangers_password_off(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    squatter = await a_user(tenants.db, GUEST, password="known-to-mallory", email_verified_at=None)
    squatted = await log_in_as(tenants, GUEST, "known-to-mallory")
    token = await invited(tenants, staff)
    joined = await accept(tenants, token, password=PASSWORD)
    assert (joined.status_code, joined.json()["user_id"]) == (200, str(squatter.id))
    assert (await public(tenants, "/auth/login", {"email": GUEST, "password": "known-to-mallory"})).status_code == 401
    assert (await public(tenants, "/auth/refresh", {"refreshToken": squatted})).status_code == 401
    await log_in(tenants, GUEST)


async def log_in_as(tenants: Any, email: str, password: str) -> str:
    answer = await public(tenants, "/auth/login", {"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["data"]["refreshToken"]
    return token


async def test_who_waits_for_a_password_chooses_it_by_the_invitation(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    waiting = await a_user(tenants.db, GUEST, password=None, status=UserStatus.PENDING)
    token = await invited(tenants, staff)
    joined = await accept(tenants, token, password=PASSWORD)
    assert joined.json()["user_id"] == str(waiting.id)
    await log_in(tenants, GUEST)


async def test_whoever_set_the_password_does_not_come_into_the_next_tenant_by_it(start: Any) -> None:
    """An administrator sets a member's; the member accepts another tenant's invitation, signed in with it."""
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    first = await staff_of(tenants.db, await a_tenant(tenants.db, "first"))
    guest = await a_user(tenants.db, GUEST)
    await a_member(tenants.db, guest, first.tenant, "user")
    set_by = {"json": {"password": "known-to-the-administrator"}}
    changed = await at_work(tenants, first.admin, first.tenant, "PATCH", f"/users/{guest.id}", **set_by)
    assert (changed.status_code, changed.json()["data"]["emailVerified"]) == (200, False)
    token = await invited(tenants, staff)
    path, body = "/invitations/accept", {"token": token}
    refused = await as_user(tenants, guest, None, "POST", path, json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_password")
    joined = await as_user(tenants, guest, None, "POST", path, json=body | {"password": PASSWORD})
    assert joined.status_code == 200, joined.text
    known = {"email": GUEST, "password": "known-to-the-administrator"}
    assert (await public(tenants, "/auth/login", known)).status_code == 401
    await log_in(tenants, GUEST)
    assert (await person(tenants.db, guest)).email_verified_at is not None


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.INACTIVE])
async def test_nobody_who_was_shut_out_comes_back_by_an_invitation(start: Any, status: UserStatus) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    out = await a_user(tenants.db, GUEST, status=status, email_verified_at=None)
    token = await invited(tenants, staff)
    for answer in (
        await accept(tenants, token, password=PASSWORD),
        await as_user(tenants, out, None, "POST", "/invitations/accept", json={"token": token}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "account_inactive")
    assert await person(tenants.db, out) == out


async def test_nor_who_was_shut_out_of_the_tenant_after_being_asked(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    guest = await a_user(tenants.db, GUEST)
    token = await invited(tenants, staff)
    await a_member(tenants.db, guest, staff.tenant, "user", status=MemberStatus.SUSPENDED)
    answer = await as_user(tenants, guest, None, "POST", "/invitations/accept", json={"token": token})
    assert answer.status_code == 409
    assert (await membership_of(tenants.db, guest, staff.tenant)).status is MemberStatus.SUSPENDED


async def test_who_is_in_already_stays_what_they_are(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    guest = await a_user(tenants.db, GUEST)
    token = await invited(tenants, staff, role="admin")
    await a_member(tenants.db, guest, staff.tenant, "user")
    answer = await as_user(tenants, guest, None, "POST", "/invitations/accept", json={"token": token})
    assert (answer.status_code, answer.json()["role"]) == (200, "user")
    member = await invite(tenants, staff, staff.clerk.email or "")
    assert (member.status_code, member.json()["code"]) == (409, "already_member")


async def test_nobody_asks_for_more_than_they_have(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    cases: list[tuple[Any, str, int, str]] = [
        (staff.admin, "owner", 403, "owners_only"),
        (staff.manager, "admin", 403, "beyond_own_permissions"),
        (staff.clerk, "manager", 403, "beyond_own_permissions"),
        (staff.owner, "superadmin", 422, "unknown_role"),
        (staff.owner, "nobody", 422, "unknown_role"),
    ]
    for who, role, status, code in cases:
        refused = await invite(tenants, staff, role=role, by=who)
        assert (refused.status_code, refused.json()["code"]) == (status, code), role
    assert await mails(tenants) == []
    assert (await invite(tenants, staff, role="owner")).status_code == 201
    path = f"/tenants/{staff.tenant.tenant_id}/invitations"
    [one] = (await at_work(tenants, staff.owner, staff.tenant, "GET", path)).json()["data"]
    kept = await at_work(tenants, staff.admin, staff.tenant, "DELETE", f"{path}/{one['id']}")
    assert kept.status_code == 403
    for body in (
        {"email": "x"},
        {"email": GUEST, "tenant_id": str(uuid4())},
        {"email": GUEST, "name": ""},
        {"email": GUEST, "name": "A\tB"},
    ):
        refused = await at_work(tenants, staff.owner, staff.tenant, "POST", path, json=body)
        assert refused.status_code == 422, body


async def test_one_invitation_is_open_at_a_time_and_may_be_taken_back(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    answers = await asyncio.gather(*(invite(tenants, staff) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    [made] = [answer.json() for answer in answers if answer.status_code == 201]
    [mail] = await mails(tenants)
    path = f"/tenants/{staff.tenant.tenant_id}/invitations/{made['id']}"
    assert (await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)).status_code == 204
    gone = await accept(tenants, token_in(mail), password=PASSWORD)
    assert (gone.status_code, gone.json()["code"]) == (400, "invalid_link")
    twice = await at_work(tenants, staff.owner, staff.tenant, "DELETE", path)
    assert (twice.status_code, twice.json()["code"]) == (409, "wrong_state")
    token = await invited(tenants, staff)
    assert (await accept(tenants, token, password=PASSWORD)).status_code == 200


async def test_a_late_invitation_is_good_for_nothing_and_in_nobodys_way(start: Any) -> None:
    tenants = await start(INVITATION_DAYS="1")
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    token = await invited(tenants, staff)
    async with platform_transaction(tenants.db) as conn:
        await conn.execute("UPDATE invitations SET expires_at = $1", datetime.now(UTC) - timedelta(seconds=1))
    assert (await accept(tenants, token, password=PASSWORD)).status_code == 400
    fresh = await invited(tenants, staff)
    assert (await accept(tenants, fresh, password=PASSWORD)).status_code == 200
    path = f"/tenants/{staff.tenant.tenant_id}/invitations"
    listed = (await at_work(tenants, staff.owner, staff.tenant, "GET", path)).json()
    assert [one["status"] for one in listed["data"]] == ["accepted", "withdrawn"]
    page = (await at_work(tenants, staff.owner, staff.tenant, "GET", path, params={"limit": 1})).json()
    rest = (await at_work(tenants, staff.owner, staff.tenant, "GET", path, params={"after": page["next_after"]})).json()
    assert [one["status"] for one in page["data"] + rest["data"]] == ["accepted", "withdrawn"]
    assert rest["next_after"] is None


class Meanwhile:
    """Passwords that are hashed while something else happens."""

    def __init__(self, happens: Callable[[], Awaitable[None]]) -> None:
        self._happens = happens

    async def hash(self, password: str) -> str:
        await self._happens()
        return hash_of(password)


async def test_what_happens_while_a_password_is_hashed_counts(start: Any) -> None:
    """Between looking and joining the invitation may be withdrawn, and an account made, confirmed or shut out."""
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))

    async def accepted(email: str, happens: Callable[[], Awaitable[None]]) -> ServiceError:
        token = await invited(tenants, staff, email)
        with pytest.raises(ServiceError) as refused:
            await accept_invitation(
                tenants.db,
                token,
                name=None,
                password=PASSWORD,
                person_id=None,
                passwords=cast("Passwords", Meanwhile(happens)),
                caller=Caller(),
                now=datetime.now(UTC),
            )
        return refused.value

    async def made() -> None:
        await a_user(tenants.db, "made@example.com")

    async def withdrawn() -> None:
        async with platform_transaction(tenants.db) as conn:
            await conn.execute("UPDATE invitations SET status = 'withdrawn', ended_at = now()")

    async def shut_out() -> None:
        async with platform_transaction(tenants.db) as conn:
            await conn.execute("UPDATE users SET status = 'suspended' WHERE email = 'shut@example.com'")

    assert (await accepted("made@example.com", made)).code == "sign_in_required"
    await a_user(tenants.db, "shut@example.com", password=None, status=UserStatus.PENDING)
    assert (await accepted("shut@example.com", shut_out)).code == "account_inactive"
    assert (await accepted("new@example.com", withdrawn)).code == "invalid_link"
    async with platform_transaction(tenants.db) as conn:
        assert await store.users.find_user_by_email(conn, "new@example.com") is None


async def test_no_made_up_token_does_anything(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    token = await invited(tenants, staff)
    for wrong in (token[:-1], token + "x", token.upper(), "x", "' OR 1=1 --", "ação"):
        assert (await accept(tenants, wrong, password=PASSWORD)).status_code == 400, wrong
    for body in ({}, {"token": ""}, {"token": 7}, {"token": token, "role": "owner"}, {"token": "x" * 201}):
        refused = await public(tenants, "/invitations/accept", body)
        assert refused.status_code == 422, body
    assert (await tenants.http.post("/invitations/accept", json={"token": token})).status_code == 401
    reset = await public(tenants, "/auth/reset-password", {"token": token, "password": PASSWORD})
    assert reset.status_code == 400, "nor is it a link of another kind"


async def test_a_role_and_a_tenant_have_to_be_there_still(start: Any) -> None:
    tenants = await start()
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    made = await at_work(
        tenants, staff.owner, staff.tenant, "POST", "/roles", json={"name": "helper", "permissions": ["agents:read"]}
    )
    token = await invited(tenants, staff, role="helper")
    in_use = await at_work(tenants, staff.owner, staff.tenant, "DELETE", f"/roles/{made.json()['id']}")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "role_in_use")
    async with platform_transaction(tenants.db) as conn:
        await store.roles.delete_role(conn, staff.tenant.tenant_id, UUID(made.json()["id"]))
    gone = await accept(tenants, token, password=PASSWORD)
    assert (gone.status_code, gone.json()["code"]) == (409, "unknown_role")
    other = await invited(tenants, staff, "other@example.com")
    async with platform_transaction(tenants.db) as conn:
        shut = msgspec.structs.replace(staff.tenant, status=TenantStatus.SUSPENDED, status_reason="abuse")
        await store.tenants.update_tenant(conn, shut.tenant_id, shut)
    closed = await accept(tenants, other, password=PASSWORD)
    assert (closed.status_code, closed.json()["code"]) == (409, "tenant_inactive")
    async with platform_transaction(tenants.db) as conn:
        assert await store.users.find_user_by_email(conn, GUEST) is None, "nothing is left of what was refused"
