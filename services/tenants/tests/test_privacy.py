"""Requests about a person's data: asked for once, done by every service, reported; the audit chain stays whole."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from bus.outbox import tell
from chassis.db import platform_transaction
from contracts import billing, mailer
from contracts.tenants import ErasureRequested
from tenants import store
from tenants.domain.companies import Tenant, TenantStatus
from tenants.domain.identifiers import new_id
from tenants.domain.people import Membership, MemberStatus, User, UserStatus
from tenants.usecases.erase_person import erase_person
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
    asked = await service.call("POST", "/privacy/exports", tenant, "privacy:write", json={"userId": str(ana.id)})
    path = f"/privacy/requests/{asked.json()['id']}"

    async def shown() -> Any:
        return (await service.call("GET", path, tenant, "privacy:write")).json()["data"]

    data = await until(shown)
    assert data["tenants"]["account"]["email"] == ana.email
    assert data["tenants"]["consents"][0]["purpose"] == "newsletter"
    assert "password" not in str(data)
    bodies = await service.db.relay.fetch("SELECT body FROM outbox WHERE type = 'tenants.privacy.exported.v1'")
    assert bodies
    assert not any((ana.email or "").encode() in row["body"] for row in bodies)


async def test_the_last_owner_is_not_erased(start: Start, tenant: UUID) -> None:
    service = await start()
    owner = user_of(f"{uuid4().hex}@example.com")
    await populate(service, tenant, owner, "owner")
    answer = await service.call("POST", "/privacy/erasures", tenant, "privacy:write", json={"userId": str(owner.id)})
    assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")


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
