"""Tenants: companies, what they are called, what their plan lets them have, and whether their people may sign in."""

import re
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from contracts.errors import Conflict
from contracts.tenants import (
    TenantClosed,
    TenantCreated,
    TenantEvent,
    TenantReactivated,
    TenantSuspended,
    TenantUpdated,
)

_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")


class TenantStatus(StrEnum):
    """Where a tenant stands; the README draws it. `pending`: claimed, not confirmed; nobody can sign in."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


#: Why a tenant was closed that never opened: the only one that opens after all, when the money comes late.
PAYMENT_REFUSED: Final = "payment_refused"

NEXT: Final = {
    TenantStatus.PENDING: {TenantStatus.ACTIVE, TenantStatus.CLOSED},
    TenantStatus.ACTIVE: {TenantStatus.SUSPENDED, TenantStatus.CLOSED},
    TenantStatus.SUSPENDED: {TenantStatus.ACTIVE, TenantStatus.CLOSED},
    TenantStatus.CLOSED: set[TenantStatus](),
}


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One row of tenants."""

    tenant_id: UUID
    parent_tenant_id: UUID | None
    name: str
    slug: str
    domain: str | None
    category: str | None
    address: dict[str, Any]
    phone: str | None
    branding: dict[str, str]
    limits: dict[str, int]
    plan_slug: str | None
    status: TenantStatus
    status_reason: str | None
    access_until: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


class TenantChange(msgspec.Struct, frozen=True, kw_only=True):
    """What of a tenant is to change; UNSET stays. `branding` names what to set, or with None what to drop."""

    name: str | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    domain: str | UnsetType | None = UNSET
    category: str | UnsetType | None = UNSET
    address: dict[str, Any] | UnsetType = UNSET
    phone: str | UnsetType | None = UNSET
    branding: dict[str, str | None] | UnsetType = UNSET
    parent_tenant_id: UUID | UnsetType | None = UNSET


def changed_tenant(before: Tenant, change: TenantChange) -> Tenant:
    """The tenant with the change."""
    wanted = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    if change.branding is not UNSET:
        merged = before.branding | change.branding
        wanted["branding"] = {name: value for name, value in merged.items() if value is not None}
    return msgspec.structs.replace(before, **wanted)


def refuse_move(before: Tenant, status: TenantStatus) -> None:
    """Nothing where the tenant may go to that status by hand. Raises Conflict."""
    if status not in NEXT[before.status]:
        raise Conflict(f"This tenant is {before.status.value}.", code="wrong_state")


def is_waiting(tenant: Tenant) -> bool:
    """Whether a payment opens it: it waits for one, or was closed for want of it."""
    return tenant.status is TenantStatus.PENDING or (
        tenant.status is TenantStatus.CLOSED and tenant.status_reason == PAYMENT_REFUSED
    )


def new_tenant(tenant_id: UUID, name: str, slug: str, status: TenantStatus, now: datetime) -> Tenant:
    """A tenant with nothing but its name."""
    return Tenant(
        tenant_id=tenant_id,
        parent_tenant_id=None,
        name=name,
        slug=slug,
        domain=None,
        category=None,
        address={},
        phone=None,
        branding={},
        limits={},
        plan_slug=None,
        status=status,
        status_reason=None,
        access_until=None,
        version=1,
        created_at=now,
        updated_at=now,
    )


def name_from(buyer_name: str | None, email: str | None) -> str:
    """What a tenant is called that came of a payment: as its buyer, else as the domain of their address."""
    name = " ".join((buyer_name or "").split())[:120]
    return name or (email or "").rpartition("@")[2][:120] or "Company"


def slug_from(name: str) -> str:
    """A slug that reads like `name`; `company` when nothing of it can be written plainly."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _NOT_SLUG.sub("-", plain).strip("-")[:48].strip("-") or "company"


def tenant_event(before: Tenant | None, after: Tenant, now: datetime) -> TenantEvent | None:
    """What is told of a tenant that was `before` and is `after`; None when nothing changed that anybody sees."""
    facts: dict[str, Any] = {
        "tenant_id": after.tenant_id,
        "name": after.name,
        "slug": after.slug,
        "status": after.status.value,
        "occurred_at": now,
    }
    if before is None:
        return TenantCreated(**facts)
    if before.status is not after.status:
        if after.status is TenantStatus.CLOSED:
            return TenantClosed(**facts)
        if after.status is TenantStatus.SUSPENDED:
            return TenantSuspended(**facts, reason=after.status_reason or "")
        if before.status in (TenantStatus.SUSPENDED, TenantStatus.CLOSED):
            return TenantReactivated(**facts)
    return None if before == after else TenantUpdated(**facts)
