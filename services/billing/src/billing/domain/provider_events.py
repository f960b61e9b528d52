"""Verified webhooks as they are stored, what became of them, and the parts of them that nobody may read."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.providers import Notice


class ProviderEventStatus(StrEnum):
    """What was done about an event. `review` is for a person: money that fits nothing."""

    RECEIVED = "received"
    PROCESSED = "processed"
    IGNORED = "ignored"
    REVIEW = "review"
    FAILED = "failed"


class EventSource(StrEnum):
    """Who sends events: the providers, and `pix` for whoever speaks BACEN's shape, which names no provider."""

    STRIPE = "stripe"
    ASAAS = "asaas"
    PAGBANK = "pagbank"
    PIX = "pix"


class NewProviderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A verified webhook to store: whose account it came to, what it is about, its raw body, its request's trace."""

    id: UUID
    provider: EventSource
    account_id: UUID
    notice: Notice
    payload: bytes
    tenant_id: UUID | None = None
    traceparent: str | None = None


class ProviderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of provider_events."""

    id: UUID
    provider: EventSource
    account_id: UUID
    event_id: str
    type: str
    kind: str
    object_external_id: str | None
    parent_external_id: str | None
    reference: str | None
    tenant_id: UUID | None
    payload: bytes
    status: ProviderEventStatus
    reason: str | None
    attempts: int
    deliveries: int
    occurred_at: datetime | None
    received_at: datetime
    processed_at: datetime | None


class ReviewMatter(msgspec.Struct, frozen=True):
    """What a person has to look at: an event or a payment, whose, where it is shown, since when, and why."""

    id: UUID
    tenant_id: UUID | None
    path: str
    provider: str
    reason: str
    at: datetime


class Outcome(msgspec.Struct, frozen=True):
    """What came of an event: its status, why in words for an administrator, and whose it was."""

    status: ProviderEventStatus
    reason: str | None = None
    tenant_id: UUID | None = None


def processed(tenant_id: UUID) -> Outcome:
    """Taken in, whether it was news or not."""
    return Outcome(ProviderEventStatus.PROCESSED, None, tenant_id)


def ignored(reason: str, tenant_id: UUID | None = None) -> Outcome:
    """There was nothing to do about it."""
    return Outcome(ProviderEventStatus.IGNORED, reason, tenant_id)


def for_review(reason: str, tenant_id: UUID | None = None) -> Outcome:
    """A person has to look: nothing was credited for it."""
    return Outcome(ProviderEventStatus.REVIEW, reason, tenant_id)


#: What Stripe's endpoint is to be subscribed to, and what a reconciliation looks for: everything that moves money or a
#: right. The object is fetched whatever the type, so that a type more or less decides only how soon we know.
STRIPE_TYPES: Final = frozenset(
    {
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "invoice.voided",
        "invoice.marked_uncollectible",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.closed",
        "refund.updated",
        "refund.failed",
    }
)

#: Names of what tells who somebody is, or lets its reader in: a payer's page is open to whoever has its address.
_PERSONAL: Final = re.compile(
    r"e-?mail|name|nome|phone|tax|cpf|cnpj|address|document|card|bank|account_number|(^|_)ip$|secret|token|password"
    r"|holder|pagador|payer|receiver|url$|href|encoded_?image|text$|payload|fingerprint",
    re.I,
)
_REDACTED: Final = "[redacted]"


def redacted(value: Any) -> Any:
    """A payload without what names, reaches or could impersonate somebody: such values read `[redacted]`."""
    if isinstance(value, dict):
        return {key: _blank(item) if _PERSONAL.search(key) else redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def _blank(value: Any) -> Any:
    """The same shape without what stands in it."""
    if isinstance(value, dict):
        return {key: _blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blank(item) for item in value]
    return value if value is None or isinstance(value, bool) else _REDACTED
