"""Verified webhooks as they are stored, and the parts of them that nobody may read."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.providers import Notice, Provider


class ProviderEventStatus(StrEnum):
    """What was done about an event. `review` is for a person: money that fits nothing."""

    RECEIVED = "received"
    PROCESSED = "processed"
    IGNORED = "ignored"
    REVIEW = "review"
    FAILED = "failed"


class NewProviderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A verified webhook to store: whose account it came to, what it is about, and its raw body."""

    id: UUID
    provider: Provider
    account_id: UUID
    notice: Notice
    payload: bytes
    tenant_id: UUID | None = None


class ProviderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of provider_events."""

    id: UUID
    provider: Provider
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


_PERSONAL: Final = re.compile(
    r"email|name|phone|tax|cpf|cnpj|address|document|card|bank|account_number|ip$|secret|token|password|holder", re.I
)


def redacted(value: Any) -> Any:
    """A payload without what names or could impersonate somebody: such values read `[redacted]`."""
    if isinstance(value, dict):
        return {
            key: "[redacted]" if isinstance(item, str) and _PERSONAL.search(key) else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value
