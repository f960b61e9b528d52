"""Credentials at payment providers: whose they are, and what of them may be shown."""

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from billing.domain.providers import Provider
from contracts.errors import FieldError, Invalid

#: A stored secret is shown as stars and its last characters; what has four stars in it, sent back, means "as it is".
_MASKED: Final = re.compile(r"\*{4}")
MASK: Final = "****"
_SENDABLE: Final = re.compile(r"[\x21-\x7e]{8,500}")


class Environment(StrEnum):
    """Which of a provider's two worlds."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


#: How keys of the other world begin, where providers tell them apart.
_OTHER_WORLD: Final = {
    Environment.PRODUCTION: ("sk_test_", "rk_test_", "$aact_hmlg_"),
    Environment.SANDBOX: ("sk_live_", "rk_live_", "$aact_prod_"),
}


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


class AccountChange(msgspec.Struct, frozen=True, kw_only=True):
    """What an account is to be from now on. A secret that is masked or unset stays; an empty one, or None, goes."""

    provider: Provider
    environment: Environment
    api_key: str
    api_secret: str | UnsetType | None = UNSET
    webhook_secret: str | UnsetType | None = UNSET
    is_active: bool = True
    config: dict[str, Any] = {}


def hint_of(secret: str) -> str:
    """What of a secret may be shown: its last four characters, if that leaves enough unsaid."""
    return MASK + (secret[-4:] if len(secret) >= 16 else "")


def is_masked(value: str | None) -> bool:
    """Whether a value is what we showed, sent back: it means "unchanged"."""
    return value is not None and _MASKED.search(value) is not None


def active_account(accounts: Iterable[ProviderAccount], provider: Provider) -> ProviderAccount | None:
    """The account that charges there: an active one, production's before the sandbox's."""
    usable = [account for account in accounts if account.provider is provider and account.is_active]
    return min(usable, key=lambda account: account.environment is not Environment.PRODUCTION, default=None)


def refuse_key(provider: Provider, environment: Environment, key: str) -> None:
    """Nothing, for a key that may be one of that provider and world.

    Raises Invalid for one that cannot be sent, that is meant for browsers, or that opens the other world: money is not
    tried out with, and nothing is sold for play money.
    """
    reason = None
    if not _SENDABLE.fullmatch(key):
        reason = "must be 8 to 500 visible ASCII characters"
    elif provider is Provider.STRIPE and not key.startswith(("sk_", "rk_")):
        reason = "is no secret key of Stripe's"
    elif any(key.startswith(prefix) for prefix in _OTHER_WORLD[environment]):
        reason = f"is not a key of {environment.value}"
    if reason is not None:
        raise Invalid("The key is refused.", errors=(FieldError("$.apiKey", reason),))
