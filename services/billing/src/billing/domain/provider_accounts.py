"""Credentials at payment providers: whose they are, and what of them may be shown."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.providers import Provider

#: A stored secret is shown as stars and its last characters; what has four stars in it, sent back, means "as it is".
_MASKED: Final = re.compile(r"\*{4}")
MASK: Final = "****"


class Environment(StrEnum):
    """Which of a provider's two worlds."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class ProviderAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One row of provider_accounts; the three secrets are sealed."""

    id: UUID
    tenant_id: UUID
    provider: Provider
    environment: Environment
    api_key: bytes
    api_key_hint: str
    api_secret: bytes | None
    webhook_secret: bytes | None
    config: dict[str, Any]
    is_active: bool
    created_by: str
    updated_by: str
    created_at: datetime
    updated_at: datetime


def hint_of(secret: str) -> str:
    """What of a secret may be shown: its last four characters, if that leaves enough unsaid."""
    return MASK + (secret[-4:] if len(secret) >= 16 else "")


def is_masked(value: str | None) -> bool:
    """Whether a value is what we showed, sent back: it means "unchanged"."""
    return value is not None and _MASKED.search(value) is not None
