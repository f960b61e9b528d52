"""People, tenants and requests for tests of sign-in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pyotp
from argon2 import PasswordHasher

from chassis.db import Database, platform_transaction
from tenants import store
from tenants.domain.companies import Tenant, TenantStatus, new_tenant
from tenants.domain.identifiers import new_id
from tenants.domain.people import Membership, MemberStatus, User, UserStatus, new_membership, new_user
from tenants.passwords import MEMORY_KIB
from testkit.service import RunningService

PASSWORD = "correct horse battery"
THEN = datetime(2026, 5, 4, 12, tzinfo=UTC)
ADDRESS = "203.0.113.7"


@cache
def hash_of(password: str) -> str:
    """A hash as the service makes it, made once a run."""
    return PasswordHasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1).hash(password)


async def a_user(
    db: Database,
    email: str = "ana@example.com",
    *,
    password: str | None = PASSWORD,
    password_hash: str | None = None,
    status: UserStatus = UserStatus.ACTIVE,
    is_platform_admin: bool = False,
    now: datetime = THEN,
    **fields: Any,
) -> User:
    """A stored person."""
    user = msgspec.structs.replace(
        new_user(new_id(now), email, "Ana Lima", now),
        password_hash=password_hash or (hash_of(password) if password else None),
        status=status,
        is_platform_admin=is_platform_admin,
        **{"email_verified_at": now, **fields},
    )
    async with platform_transaction(db) as conn:
        return await store.users.insert_user(conn, user)


async def a_tenant(
    db: Database, slug: str = "acme", *, status: TenantStatus = TenantStatus.ACTIVE, **fields: Any
) -> Tenant:
    """A stored tenant."""
    tenant = new_tenant(uuid4(), slug.title(), slug, status, THEN)
    if status is TenantStatus.SUSPENDED:
        fields["status_reason"] = "unpaid"
    tenant = msgspec.structs.replace(tenant, **fields)
    async with platform_transaction(db) as conn:
        await store.tenants.insert_tenant(conn, tenant.tenant_id, tenant)
    return tenant


async def a_member(
    db: Database,
    user: User,
    tenant: Tenant,
    role: str = "owner",
    *,
    status: MemberStatus = MemberStatus.ACTIVE,
    permissions: list[str] | None = None,
    now: datetime = THEN,
) -> Membership:
    """A stored membership."""
    membership = msgspec.structs.replace(
        new_membership(user, tenant.tenant_id, role, status, now), permissions=permissions or []
    )
    async with platform_transaction(db) as conn:
        await store.memberships.insert_membership(conn, tenant.tenant_id, membership)
    return membership


async def an_owner(db: Database, email: str = "ana@example.com", slug: str = "acme") -> tuple[User, Tenant]:
    """An active owner of an active tenant."""
    user, tenant = await a_user(db, email), await a_tenant(db, slug)
    await a_member(db, user, tenant)
    return user, tenant


async def enable_factor(tenants: RunningService, user: User, tenant: Tenant | None) -> tuple[pyotp.TOTP, list[str]]:
    """The person's authenticator and recovery codes, set up as they would: with the code of 30 seconds ago.

    So that the code of now is still unused.
    """
    tenant_id = tenant.tenant_id if tenant is not None else None
    made = await as_user(tenants, user, tenant_id, "POST", "/auth/2fa/setup")
    authenticator = pyotp.TOTP(made.json()["data"]["secret"])
    code = authenticator.at(int(datetime.now(UTC).timestamp()) - 30)
    answer = await as_user(tenants, user, tenant_id, "POST", "/auth/2fa/enable", json={"code": code})
    assert answer.status_code == 200, answer.text
    return authenticator, answer.json()["data"]["recoveryCodes"]


async def public(
    tenants: RunningService,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    address: str = ADDRESS,
    method: str = "POST",
    **options: Any,
) -> httpx.Response:
    """A request of nobody in particular, as the gateway passes it on."""
    headers = {"X-Forwarded-For": address, "User-Agent": "tests/1", **options.pop("headers", {})}
    if body is not None:
        options["json"] = body
    return await tenants.call(
        method, path, None, "nothing:at_all", kind="public", subject="anonymous", headers=headers, **options
    )


async def as_user(
    tenants: RunningService, user: User, tenant_id: UUID | None, method: str, path: str, **options: Any
) -> httpx.Response:
    """A request of that person."""
    kind = "platform_admin" if tenant_id is None and user.is_platform_admin else "user"
    headers = {"X-Forwarded-For": ADDRESS, **options.pop("headers", {})}
    return await tenants.call(method, path, tenant_id, kind=kind, subject=str(user.id), headers=headers, **options)


async def log_in(tenants: RunningService, email: str = "ana@example.com", **body: Any) -> dict[str, Any]:
    """What a sign-in that has to work answers as its data."""
    answer = await public(tenants, "/auth/login", {"email": email, "password": PASSWORD, **body})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def mails(tenants: RunningService, template: str | None = None) -> list[dict[str, Any]]:
    """The mail jobs that were queued, of one template or all."""
    jobs = await tenants.told("mail_queue")
    return [job for job in jobs if template in (None, job["template"])]


def token_in(mail: dict[str, Any]) -> str:
    """The token of a mail's link."""
    link: str = mail["variables"]["link"]
    return link.partition("token=")[2]
