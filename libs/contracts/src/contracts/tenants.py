"""What the tenants service says: companies, their people, claims of payments elsewhere, requests to be forgotten."""

from datetime import datetime
from uuid import UUID

import msgspec

from contracts.audit import AuditRecord
from contracts.event import Event
from contracts.privacy import PrivacyErased, PrivacyExported


class TenantEvent(Event, frozen=True, kw_only=True):
    """A tenant as it stands after the change; `status` is pending, active, suspended or closed."""

    tenant_id: UUID
    name: str
    slug: str
    status: str
    occurred_at: datetime


class TenantCreated(TenantEvent, frozen=True, kw_only=True, tag="tenants.tenant.created.v1"):
    """It exists."""


class TenantUpdated(TenantEvent, frozen=True, kw_only=True, tag="tenants.tenant.updated.v1"):
    """Its name, domain, branding or limits changed."""


class TenantSuspended(TenantEvent, frozen=True, kw_only=True, tag="tenants.tenant.suspended.v1"):
    """Its people cannot sign in."""

    reason: str


class TenantReactivated(TenantEvent, frozen=True, kw_only=True, tag="tenants.tenant.reactivated.v1"):
    """They can again."""


class TenantClosed(TenantEvent, frozen=True, kw_only=True, tag="tenants.tenant.closed.v1"):
    """It has ended for good."""


class UserEvent(Event, frozen=True, kw_only=True):
    """A person in a tenant, after the change. `email` is lower case; `role` is the one they have in `tenant_id`.

    `status` is the narrower of here and everywhere; under the nil tenant it is the one everywhere. Access tokens issued
    to them before `tokens_valid_from` are good for nothing any more.
    """

    tenant_id: UUID
    user_id: UUID
    email: str
    name: str
    role: str
    status: str
    tokens_valid_from: datetime
    occurred_at: datetime


class UserCreated(UserEvent, frozen=True, kw_only=True, tag="tenants.user.created.v1"):
    """They belong to the tenant."""


class UserUpdated(UserEvent, frozen=True, kw_only=True, tag="tenants.user.updated.v1"):
    """Their name, address, role or status changed."""


class UserDisabled(UserEvent, frozen=True, kw_only=True, tag="tenants.user.disabled.v1"):
    """They may not act in the tenant any more."""


class UserSignedIn(Event, frozen=True, kw_only=True, tag="tenants.user.signed_in.v1"):
    """They signed in. `tenant_id` is None for a platform administrator without one."""

    tenant_id: UUID | None
    user_id: UUID
    with_second_factor: bool
    occurred_at: datetime


class RoleChanged(Event, frozen=True, kw_only=True, tag="tenants.role.changed.v1"):
    """What a role allows from now on; `permissions` None: the role is gone. The nil tenant's are the defaults."""

    tenant_id: UUID
    role: str
    permissions: tuple[str, ...] | None
    occurred_at: datetime


class ApiKeyFact(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as the edge needs it: its hash (SHA-256, hex), and what it may. Networks in CIDR; none: any."""

    key_id: UUID
    tenant_id: UUID
    key_sha256: str
    scopes: tuple[str, ...]
    permissions: tuple[str, ...]
    allowed_ips: tuple[str, ...]
    rate_limit: int
    expires_at: datetime | None


class ApiKeyCreated(Event, frozen=True, kw_only=True, tag="tenants.api_key.created.v1"):
    """A key opens something from now on, or what it opens has changed."""

    key: ApiKeyFact
    occurred_at: datetime


class ApiKeyRevoked(Event, frozen=True, kw_only=True, tag="tenants.api_key.revoked.v1"):
    """A key opens nothing any more."""

    key_id: UUID
    tenant_id: UUID
    key_sha256: str
    occurred_at: datetime


class AuditRecorded(AuditRecord, frozen=True, kw_only=True, tag="tenants.audit.recorded.v1"):
    """Something worth a record was done in the tenants service."""


class PaymentClaimed(Event, frozen=True, kw_only=True, tag="tenants.payment.claimed.v1"):
    """A checkout site says that `session_id` was paid; `tenant_id` and `user_id` wait for billing to confirm it.

    `amount_cents` is the site's word and is compared, never believed. An `is_attested` claim needs no confirmation: its
    sender is trusted to have seen the money, and billing records the order as paid by it.
    """

    claim_id: UUID
    tenant_id: UUID
    user_id: UUID
    email: str
    name: str
    plan_slug: str
    session_id: str
    amount_cents: int | None
    is_attested: bool
    occurred_at: datetime


class ErasureRequested(Event, frozen=True, kw_only=True, tag="tenants.privacy.erasure_requested.v1"):
    """A person asked to be forgotten (LGPD): every service erases what it holds of `email` in `tenant_id`."""

    erasure_id: UUID
    tenant_id: UUID
    user_id: UUID
    email: str
    occurred_at: datetime


class ExportRequested(Event, frozen=True, kw_only=True, tag="tenants.privacy.export_requested.v1"):
    """A person asked what is stored of them: every service reports what it holds of `email` in `tenant_id`."""

    export_id: UUID
    tenant_id: UUID
    user_id: UUID
    email: str
    occurred_at: datetime


class DataErased(PrivacyErased, frozen=True, kw_only=True, tag="tenants.privacy.erased.v1"):
    """The tenants service's part of an erasure is done."""


class DataExported(PrivacyExported, frozen=True, kw_only=True, tag="tenants.privacy.exported.v1"):
    """The tenants service's part of an export."""


class RoleFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a role allows in a tenant; the nil tenant's are the defaults."""

    tenant_id: UUID
    role: str
    permissions: tuple[str, ...]


class SubjectFact(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens are not all good: those issued before `valid_from` are refused, all of them while `is_disabled`.

    `tenant_id` None is about the person in every tenant.
    """

    user_id: UUID
    tenant_id: UUID | None
    valid_from: datetime
    is_disabled: bool


class AccessSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that the edge needs to decide by itself, as it stood at `taken_at`; the events go on from there."""

    taken_at: datetime
    roles: tuple[RoleFact, ...]
    api_keys: tuple[ApiKeyFact, ...]
    subjects: tuple[SubjectFact, ...]
    closed_tenants: tuple[UUID, ...]  # suspended or closed: nobody acts in them


EVENTS: tuple[type[Event], ...] = (
    TenantCreated,
    TenantUpdated,
    TenantSuspended,
    TenantReactivated,
    TenantClosed,
    UserCreated,
    UserUpdated,
    UserDisabled,
    UserSignedIn,
    RoleChanged,
    ApiKeyCreated,
    ApiKeyRevoked,
    AuditRecorded,
    PaymentClaimed,
    ErasureRequested,
    ExportRequested,
    DataErased,
    DataExported,
)
