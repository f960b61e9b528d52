"""Tenants: companies, what they are called, what their plan lets them have, and whether their people may sign in."""

import re
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

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
    subscription_version: int
    version: int
    created_at: datetime
    updated_at: datetime


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
        if before.status is TenantStatus.SUSPENDED:
            return TenantReactivated(**facts)
    return None if before == after else TenantUpdated(**facts)
