"""What is said of tenants, in seed 004's shapes."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from tenants.api.user_shapes import LINE
from tenants.domain.brand import PLATFORM_COLOR
from tenants.domain.companies import Tenant, TenantStatus

TenantName = Annotated[str, msgspec.Meta(min_length=2, max_length=120, pattern=LINE)]
Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]+$(?!\n)", min_length=1, max_length=63)]
Domain = Annotated[
    str, msgspec.Meta(pattern=r"^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$(?!\n)")
]
Category = Annotated[str, msgspec.Meta(max_length=80)]
Phone = Annotated[str, msgspec.Meta(max_length=40)]
Color = Annotated[str, msgspec.Meta(pattern=r"^#[0-9A-Fa-f]{6}$(?!\n)")]
Url = Annotated[str, msgspec.Meta(pattern=r"^https://[^\s\"'<>\\]{3,1000}$(?!\n)")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class TenantView(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's row, as its own people see it."""

    id: UUID
    slug: str
    name: str
    category: str | None
    address: dict[str, Any]
    phone: str | None
    brand_color: str
    logo_url: str | None
    domain: str | None
    limits: dict[str, int]
    plan_slug: str | None
    status: TenantStatus
    status_reason: str | None
    access_until: datetime | None
    parent_tenant_id: UUID | None
    created_at: datetime
    updated_at: datetime


class PublicTenant(msgspec.Struct, frozen=True, kw_only=True):
    """What anybody may know of an active tenant."""

    id: UUID
    slug: str
    name: str
    category: str | None
    address: dict[str, Any]
    phone: str | None
    brand_color: str
    logo_url: str | None


class PublicPage(msgspec.Struct, frozen=True, kw_only=True):
    """Seed 004's public page. `page` is the campaigns service's, and null here."""

    tenant: PublicTenant
    page: None


class TenantList(msgspec.Struct, frozen=True, kw_only=True):
    """Part of all tenants, oldest first; `next_after` reads on, and is null at the end."""

    data: list[TenantView]
    next_after: UUID | None


class NewTenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant to found."""

    name: TenantName
    slug: Slug
    category: Category | None = None
    address: dict[str, Any] | None = None
    phone: Phone | None = None


class TenantPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is absent stays. Domain and parent are the platform's administrators' to set."""

    name: TenantName | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    category: Category | UnsetType | None = UNSET
    address: dict[str, Any] | UnsetType = UNSET
    phone: Phone | UnsetType | None = UNSET
    brand_color: Color | UnsetType | None = msgspec.field(default=UNSET, name="brandColor")
    logo_url: Url | UnsetType | None = msgspec.field(default=UNSET, name="logoUrl")
    domain: Domain | UnsetType | None = UNSET
    parent_tenant_id: UUID | UnsetType | None = UNSET


class Why(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reason, which the tenant's people are shown and the audit log keeps."""

    reason: Reason


def tenant_view(tenant: Tenant) -> TenantView:
    """The tenant as seed 004 shows one."""
    return TenantView(
        id=tenant.tenant_id,
        slug=tenant.slug,
        name=tenant.name,
        category=tenant.category,
        address=tenant.address,
        phone=tenant.phone,
        brand_color=tenant.branding.get("brand_color", PLATFORM_COLOR),
        logo_url=tenant.branding.get("logo_url"),
        domain=tenant.domain,
        limits=tenant.limits,
        plan_slug=tenant.plan_slug,
        status=tenant.status,
        status_reason=tenant.status_reason,
        access_until=tenant.access_until,
        parent_tenant_id=tenant.parent_tenant_id,
        created_at=tenant.created_at,
        updated_at=tenant.updated_at,
    )
