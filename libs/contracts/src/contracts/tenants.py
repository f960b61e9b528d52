"""What the tenants service says: companies, their people, claims of payments elsewhere, requests to be forgotten."""

from datetime import datetime
from uuid import UUID

from contracts.event import Event


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
    """A person in a tenant, after the change. `email` is lower case; `role` is the one they have in `tenant_id`."""

    tenant_id: UUID
    user_id: UUID
    email: str
    name: str
    role: str
    status: str
    occurred_at: datetime


class UserCreated(UserEvent, frozen=True, kw_only=True, tag="tenants.user.created.v1"):
    """They belong to the tenant."""


class UserUpdated(UserEvent, frozen=True, kw_only=True, tag="tenants.user.updated.v1"):
    """Their name, address, role or status changed."""


class UserDisabled(UserEvent, frozen=True, kw_only=True, tag="tenants.user.disabled.v1"):
    """They may not act in the tenant any more."""


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


EVENTS: tuple[type[Event], ...] = (
    TenantCreated,
    TenantUpdated,
    TenantSuspended,
    TenantReactivated,
    TenantClosed,
    UserCreated,
    UserUpdated,
    UserDisabled,
    PaymentClaimed,
    ErasureRequested,
)
