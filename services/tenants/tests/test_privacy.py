"""Requests about a person's data: asked for once, done by every service, reported; the audit chain stays whole."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import pytest

from bus.outbox import tell
from chassis.db import Connection, Database, platform_transaction
from chassis.secrets import SecretBox
from contracts import billing, mailer
from contracts.audit import AuditActor, AuditContext
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import AuditRecorded, ErasureRequested
from tenants import store
from tenants.domain.audit import AuditEntry
from tenants.domain.companies import Tenant, TenantStatus
from tenants.domain.identifiers import new_id
from tenants.domain.invitations import Invitation, InvitationStatus
from tenants.domain.people import Membership, MemberStatus, User, UserStatus
from tenants.usecases.erase_person import erase_person
from tenants.usecases.open_entries import open_entries
from tenants.usecases.record_audit import record_audit
from tenants.usecases.verify_audit import verify_audit
from testkit.service import RunningService, until

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
Start = Callable[..., Awaitable[RunningService]]


def user_of(email: str) -> User:
    return User(
        id=new_id(NOW),
        email=email,
        name="Ana",
        password_hash=None,
        status=UserStatus.ACTIVE,
        email_verified_at=NOW,
        is_platform_admin=False,
        preferences={"theme": "dark"},
        tokens_valid_from=NOW,
        last_sign_in_at=None,
        version=1,
        created_at=NOW,
        updated_at=NOW,
        erased_at=None,
    )


async def populate(service: RunningService, tenant: UUID, user: User, role: str = "user") -> None:
    async with platform_transaction(service.db) as conn:
        if await store.tenants.find_tenant(conn, tenant) is None:
            company = Tenant(
                tenant_id=tenant, parent_tenant_id=None, name="Loja", slug=f"loja-{tenant.hex[:8]}", domain=None,
                category=None, address={}, phone=None, branding={}, limits={}, plan_slug=None,
                status=TenantStatus.ACTIVE, status_reason=None, access_until=None, version=1,
                created_at=NOW, updated_at=NOW,
            )  # fmt: skip
            await store.tenants.insert_tenant(conn, tenant, company)
        await store.users.insert_user(conn, user)
        member = Membership(
            tenant_id=tenant, user_id=user.id, email=user.email, name=user.name, phone="11999999999", avatar=None,
            role=role, permissions=[], status=MemberStatus.ACTIVE, version=1, last_sign_in_at=None, created_at=NOW,
            updated_at=NOW,
        )  # fmt: skip
        await store.memberships.insert_membership(conn, tenant, member)


async def erasure(service: RunningService, tenant: UUID, whose: User, *, by: User) -> Any:
    """The answer to one who asks for it, whatever they hold by their membership."""
    body = {"userId": str(whose.id)}
    return await service.call("POST", "/privacy/erasures", tenant, "privacy:write", subject=str(by.id), json=body)


async def report(service: RunningService, tenant: UUID, event: Any) -> None:
    async with platform_transaction(service.db) as conn:
        await tell(conn, event, tenant_id=tenant, aggregate_id=tenant)


async def test_an_erasure_reaches_every_service_and_leaves_the_log_whole(start: Start, tenant: UUID) -> None:
    service = await start()
    owner, ana = user_of(f"{uuid4().hex}@example.com"), user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, owner, "owner")
    await populate(service, tenant, ana)
    asked = await service.call(
        "POST", "/privacy/erasures", tenant, "privacy:write", json={"userId": str(ana.id)},
        headers={"Idempotency-Key": "once"},
    )  # fmt: skip
    assert asked.status_code == 202, asked.text
    again = await service.call(
        "POST", "/privacy/erasures", tenant, "privacy:write", json={"userId": str(ana.id)},
        headers={"Idempotency-Key": "once"},
    )  # fmt: skip
    assert again.json() == asked.json()
    request_id = UUID(asked.json()["id"])
    path = f"/privacy/requests/{request_id}"

    async def own_part() -> bool:
        shown = (await service.call("GET", path, tenant, "privacy:write")).json()
        return [one["service"] for one in shown["reports"]] == ["tenants"] and shown["status"] == "running"

    await until(own_part)
    facts: dict[str, Any] = {"tenant_id": tenant, "occurred_at": NOW, "erasure_id": request_id}
    await report(service, tenant, mailer.DataErased(**facts, erased=("log",), kept=()))
    await report(service, tenant, billing.DataErased(**facts, erased=("customer",), kept=("invoices: 5 years",)))

    async def done() -> bool:
        return bool((await service.call("GET", path, tenant, "privacy:write")).json()["status"] == "done")

    await until(done)
    async with platform_transaction(service.db) as conn:
        gone = await store.users.get_user(conn, ana.id)
        member = await store.memberships.get_membership(conn, tenant, ana.id)
        owners = await store.users.get_user(conn, owner.id)
        assert await store.audit.find_subject_key(conn, tenant, ana.id) is None
    assert (gone.email, gone.name, gone.status, gone.preferences) == (None, "erased", UserStatus.ERASED, {})
    assert (member.email, member.phone, member.status) == (None, None, MemberStatus.INACTIVE)
    assert owners == owner

    async def recorded() -> bool:
        return (await verify_audit(service.db, tenant)).entries >= 1

    await until(recorded)
    assert (await verify_audit(service.db, tenant)).is_whole


def seen_by(subject: UUID, tenant_id: UUID) -> AuditRecorded:
    return AuditRecorded(
        tenant_id=tenant_id,
        action="user.signed_in",
        occurred_at=NOW,
        actor=AuditActor(type="user", id=str(subject), name="Ana Lima"),
        targets=(),
        context=AuditContext(location="203.0.113.9", user_agent="curl"),
        metadata={},
        subject_ref=subject,
    )


async def invited_and_claimed(conn: Connection, tenant: UUID, ana: User) -> None:
    """An invitation to them, and a payment that a checkout site claimed for them."""
    invitation = Invitation(
        tenant_id=tenant, id=uuid4(), email=ana.email or "", name="Ana Lima", role="user",
        status=InvitationStatus.OPEN, invited_by="x", expires_at=NOW, created_at=NOW, ended_at=None,
    )  # fmt: skip
    await store.invitations.insert_invitation(conn, tenant, invitation)
    await conn.execute(
        """
        INSERT INTO payment_claims (tenant_id, id, session_id, user_id, email, name, plan_slug, is_attested,
                                    is_new_user, is_new_tenant, status, made_by, created_at, expires_at, ended_at)
        VALUES ($1, $2, 'cs_1', $3, $4, 'Ana Lima', 'pro', false, true, true, 'confirmed', 'x', $5, $5, $5)
        """,
        tenant, uuid4(), ana.id, ana.email, NOW,
    )  # fmt: skip


async def test_whoever_is_erased_altogether_is_in_no_log_and_in_no_table(
    db: Database, box: SecretBox, tenant: UUID
) -> None:
    """Also in the platform's log and in that of a tenant that they left, and by what is heard of them too late."""
    service, left = SimpleNamespace(db=db), uuid4()
    ana, other = user_of("ana.lima@example.com"), user_of("other@example.com")
    for user in (ana, other):
        await populate(cast("RunningService", service), tenant, user)
    logs = (tenant, left, PLATFORM_TENANT_ID)

    async def hear(subject: UUID) -> list[AuditEntry | None]:
        async with platform_transaction(db) as conn:
            return [
                await record_audit(conn, seen_by(subject, log), event_id=uuid4(), service="tenants", box=box, now=NOW)
                for log in logs
            ]

    async def opened(entries: list[AuditEntry | None]) -> list[dict[str, Any]]:
        async with platform_transaction(db) as conn:
            pairs = zip(logs, entries, strict=True)
            return [(await open_entries(conn, log, [entry], box=box))[0] for log, entry in pairs if entry is not None]

    early, others = await hear(ana.id), await hear(other.id)
    assert all(one["location"] == "203.0.113.9" for one in await opened(early))
    async with platform_transaction(db) as conn:
        await invited_and_claimed(conn, tenant, ana)
        await store.totp.put_secret(conn, ana.id, b"sealed", NOW)
        request = ErasureRequested(
            erasure_id=uuid4(), tenant_id=tenant, user_id=ana.id, email=ana.email or "", occurred_at=NOW
        )
        await erase_person(conn, request, now=NOW)
    late = await hear(ana.id)
    assert await opened(early) == [{"erased": True}] * 3
    assert await opened(late) == [{}] * 3
    assert all(one["location"] == "203.0.113.9" for one in await opened(others)), "nobody else is forgotten"
    for log in logs:
        assert (await verify_audit(db, log)).is_whole
    async with platform_transaction(db) as conn:
        tables = await conn.fetch("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'tenants'")
        for (table,) in tables:
            rows = await conn.fetch(f"SELECT t::text FROM tenants.{table} t") if table != "migrations" else []
            found = [row[0] for row in rows if "ana.lima" in row[0] or "Ana Lima" in row[0]]
            assert found == [], table
        assert await conn.fetchval("SELECT count(*) FROM totp_secrets") == 0


async def test_a_record_that_is_heard_while_its_subject_is_erased_leaves_no_key(
    db: Database, box: SecretBox, tenant: UUID
) -> None:
    ana = user_of("ana.lima@example.com")
    await populate(cast("RunningService", SimpleNamespace(db=db)), tenant, ana)
    request = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=ana.id, email=ana.email or "", occurred_at=NOW
    )

    async def hear() -> None:
        async with platform_transaction(db) as conn:
            event_id = uuid4()
            await record_audit(conn, seen_by(ana.id, tenant), event_id=event_id, service="tenants", box=box, now=NOW)

    async with platform_transaction(db) as conn:
        await erase_person(conn, request, now=NOW)
        hearing = asyncio.create_task(hear())
        await asyncio.sleep(0.3)
        assert not hearing.done(), "it waits for the erasure to be through"
    await hearing
    async with platform_transaction(db) as conn:
        assert await store.audit.find_subject_key(conn, tenant, ana.id) is None


async def test_somebody_of_two_tenants_stays_in_the_other(start: Start, tenant: UUID) -> None:
    service = await start()
    other, ana = uuid4(), user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, ana)
    await populate(service, other, ana)
    request = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=ana.id, email=ana.email or "", occurred_at=NOW
    )
    for _ in range(2):  # delivered twice
        async with platform_transaction(service.db) as conn:
            await erase_person(conn, request, now=NOW + timedelta(seconds=1))
    async with platform_transaction(service.db) as conn:
        kept = await store.users.get_user(conn, ana.id)
        here = await store.memberships.get_membership(conn, tenant, ana.id)
        there = await store.memberships.get_membership(conn, other, ana.id)
    assert (kept.email, kept.status) == (ana.email, UserStatus.ACTIVE)
    assert (here.name, there.name) == ("erased", "Ana")


async def test_an_export_is_gathered_sealed_and_shown_to_who_may(start: Start, tenant: UUID) -> None:
    service = await start()
    ana = user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, ana)
    consent = {"userId": str(ana.id), "purpose": "newsletter", "given": True}
    assert (await service.call("POST", "/privacy/consents", tenant, "privacy:write", json=consent)).status_code == 201
    async with platform_transaction(service.db) as conn:
        await invited_and_claimed(conn, tenant, ana)
    asked = await service.call("POST", "/privacy/exports", tenant, "privacy:write", json={"userId": str(ana.id)})
    path = f"/privacy/requests/{asked.json()['id']}"

    async def shown() -> Any:
        return (await service.call("GET", path, tenant, "privacy:write")).json()["data"]

    data = await until(shown)
    assert data["tenants"]["account"]["email"] == ana.email
    assert data["tenants"]["consents"][0]["purpose"] == "newsletter"
    assert [one["email"] for one in data["tenants"]["invitations"]] == [ana.email]
    assert [(one["email"], one["session_id"]) for one in data["tenants"]["payment_claims"]] == [(ana.email, "cs_1")]
    assert "password" not in str(data)
    bodies = await service.db.relay.fetch("SELECT body FROM outbox WHERE type = 'tenants.privacy.exported.v1'")
    assert bodies
    assert not any((ana.email or "").encode() in row["body"] for row in bodies)


async def test_an_export_tells_a_tenant_nothing_of_another(start: Start, tenant: UUID) -> None:
    """What somebody prefers, and when they last signed in, may be about the other tenant that they belong to."""
    service = await start()
    ana = user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, ana)
    await populate(service, uuid4(), ana)
    asked = await service.call("POST", "/privacy/exports", tenant, "privacy:write", json={"userId": str(ana.id)})

    async def shown() -> Any:
        path = f"/privacy/requests/{asked.json()['id']}"
        return (await service.call("GET", path, tenant, "privacy:write")).json()["data"]

    held = (await until(shown))["tenants"]
    assert (held["membership"]["email"], held["account"]) == (ana.email, None)


async def test_an_erasure_takes_the_exports_along(start: Start, tenant: UUID) -> None:
    """Also one whose parts arrive after it."""
    service = await start()
    ana = user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, ana)
    asked = await service.call("POST", "/privacy/exports", tenant, "privacy:write", json={"userId": str(ana.id)})
    request_id = UUID(asked.json()["id"])
    path = f"/privacy/requests/{request_id}"

    async def shown() -> Any:
        return (await service.call("GET", path, tenant, "privacy:write")).json()

    async def arrived() -> bool:
        return "tenants" in (await shown())["data"]

    await until(arrived)
    request = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=ana.id, email=ana.email or "", occurred_at=NOW
    )
    async with platform_transaction(service.db) as conn:
        await erase_person(conn, request, now=NOW)
        await store.privacy.add_part(conn, tenant, request_id, "mailer", "late")
    assert (await shown())["data"] == {}


async def test_the_last_owner_is_not_erased(start: Start, tenant: UUID) -> None:
    service = await start()
    owner = user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, owner, "owner")
    answer = await erasure(service, tenant, owner, by=owner)
    assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")


async def test_nor_are_all_owners_while_the_first_erasure_is_under_way(start: Start, tenant: UUID) -> None:
    """Erasures come true by events: each of two owners was the other's last one when it was asked."""
    service = await start(ROLE="api")
    first, second = user_of(f"{uuid4().hex}@example.com"), user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, first, "owner")
    await populate(service, tenant, second, "owner")
    answers = await asyncio.gather(
        erasure(service, tenant, first, by=second), erasure(service, tenant, second, by=first)
    )
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    gone, left = (first, second) if answers[0].status_code == 202 else (second, first)
    for method, body in (("DELETE", None), ("PATCH", {"role": "user"}), ("PATCH", {"status": "inactive"})):
        refused = await service.call(
            method, f"/users/{left.id}", tenant, "users:write", subject=str(gone.id), json=body
        )  # fmt: skip
        assert (refused.status_code, refused.json()["code"]) == (409, "last_owner"), (method, body)


async def test_an_owner_is_erased_by_owners_only(start: Start, tenant: UUID) -> None:
    service = await start()
    owner, other, clerk = (user_of(f"{uuid4().hex}@example.com") for _ in range(3))
    await populate(service, tenant, owner, "owner")
    await populate(service, tenant, other, "owner")
    await populate(service, tenant, clerk, "admin")
    refused = await erasure(service, tenant, owner, by=clerk)
    assert (refused.status_code, refused.json()["code"]) == (403, "owners_only")
    assert (await erasure(service, tenant, owner, by=other)).status_code == 202


async def test_no_tenant_erases_an_administrator_of_the_platform(db: Database, tenant: UUID) -> None:
    root = msgspec.structs.replace(user_of("root@example.com"), is_platform_admin=True)
    await populate(cast("RunningService", SimpleNamespace(db=db)), tenant, root)
    request = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=root.id, email=root.email or "", occurred_at=NOW
    )
    async with platform_transaction(db) as conn:
        await erase_person(conn, request, now=NOW)
        kept = await store.users.get_user(conn, root.id)
        here = await store.memberships.get_membership(conn, tenant, root.id)
    assert (kept.email, kept.status, here.name) == ("root@example.com", UserStatus.ACTIVE, "erased")


async def test_nothing_is_written_on_who_was_erased(start: Start, tenant: UUID) -> None:
    """Least of all an owner who counts again: the last one could leave."""
    service = await start()
    owner, ana = user_of(f"{uuid4().hex}@example.com"), user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, owner, "owner")
    await populate(service, tenant, ana, "owner")
    request = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=ana.id, email=ana.email or "", occurred_at=NOW
    )
    async with platform_transaction(service.db) as conn:
        await erase_person(conn, request, now=NOW)
    changes: tuple[dict[str, Any], ...] = (
        {"status": "active"}, {"name": "Ana"}, {"email": "new@example.com"}, {"password": "another-password-1"},
        {"preferences": {"a": 1}},
    )  # fmt: skip
    for body in changes:
        refused = await service.call(
            "PATCH", f"/users/{ana.id}", tenant, "users:write", subject=str(owner.id), json=body
        )  # fmt: skip
        assert (refused.status_code, refused.json()["code"]) == (409, "erased"), body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/privacy/erasures"),
        ("POST", "/privacy/exports"),
        ("POST", "/privacy/consents"),
        ("GET", "/privacy/requests/01890000-0000-7000-8000-000000000000"),
    ],
)
async def test_nobody_passes_who_may_not(start: Start, tenant: UUID, method: str, path: str) -> None:
    service = await start()
    stranger = user_of(f"{uuid4().hex}@example.com")
    await populate(service, uuid4(), stranger)
    body: dict[str, Any] = {"userId": str(stranger.id)}
    if path.endswith("consents"):
        body |= {"purpose": "newsletter", "given": True}
    options: dict[str, Any] = {"json": body} if method == "POST" else {}
    assert (await service.http.request(method, path, **options)).status_code == 401
    assert (await service.call(method, path, tenant, "users:read", **options)).status_code == 403
    assert (await service.call(method, path, tenant, "privacy:write", **options)).status_code == 404


async def test_the_snapshot_is_the_gateways_alone(start: Start, tenant: UUID) -> None:
    service = await start()
    path = "/internal/access-snapshot"
    assert (await service.http.get(path)).status_code == 401
    for kind in ("user", "platform_admin", "api_key", "public"):
        assert (await service.call("GET", path, tenant, kind=kind)).status_code == 404
    answer = await service.call("GET", path, None, kind="gateway")
    assert answer.status_code == 200
    roles = {(role["tenant_id"], role["role"]): role["permissions"] for role in answer.json()["roles"]}
    owner = roles["00000000-0000-0000-0000-000000000000", "owner"]
    assert "billing:read" in owner
    assert not {"payments:claim", "payments:attest"} & set(owner)
    uses = await service.call("POST", "/internal/api-key-uses", None, kind="gateway", json={"uses": {str(uuid4()): 3}})
    assert (uses.status_code, uses.json()) == (200, {"keys": 0})
    assert (await service.call("POST", "/internal/api-key-uses", tenant, json={"uses": {}})).status_code == 404
