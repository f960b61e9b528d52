"""What is said of API keys, in seed 002's shapes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from contracts.errors import FieldError, Invalid
from tenants.domain.api_keys import NAMED_SCOPES, ApiKey, KeyStatus, is_live, permissions_of_scopes

KeyName = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Description = Annotated[str, msgspec.Meta(max_length=500)]
Scopes = Annotated[list[Annotated[str, msgspec.Meta(max_length=80)]], msgspec.Meta(max_length=200)]
Networks = Annotated[list[Annotated[str, msgspec.Meta(max_length=60)]], msgspec.Meta(max_length=100)]
PerHour = Annotated[int, msgspec.Meta(ge=1, le=1_000_000, description="Requests an hour.")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ApiKeyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key without itself: `prefix` is all of it that is ever shown again. `permissions` are what its scopes open."""

    id: UUID
    name: str
    description: str
    prefix: str
    status: Literal["active", "revoked", "expired"]
    scopes: list[str]
    permissions: list[str]
    allowed_ips: list[str]
    rate_limit: int
    expires_at: datetime | None
    last_used_at: datetime | None
    usage_count: int
    replaces_id: UUID | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    revoked_at: datetime | None


class CreatedApiKey(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new key, and the key itself: here, and never again; null where an Idempotency-Key repeats the answer."""

    api_key: ApiKeyView
    key: str | None
    message: str


class ApiKeyAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One key."""

    api_key: ApiKeyView


class ApiKeyList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Part of the tenant's keys, newest first."""

    api_keys: list[ApiKeyView]
    total: int
    page: int
    limit: int


class ApiKeyStats(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many keys there are, by what they are good for, and how often they were used."""

    total: int
    active: int
    revoked: int
    expired: int
    usage_count: int


class NewKey(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A key to make: `scopes` are read, write or full, `permissions` single ones; both together are what it opens.

    `allowedIps` are addresses or networks in CIDR; none: from anywhere. `replacesId` names the key that this one takes
    over from: both live until that one is revoked.
    """

    name: KeyName
    description: Description = ""
    scopes: Scopes = []
    permissions: Scopes = []
    expires_at: Moment | None = None
    allowed_ips: Networks = []
    rate_limit: PerHour = 1000
    replaces_id: UUID | None = None


class KeyReplacement(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What of a key is to change; what is absent stays. The key itself does."""

    name: KeyName | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    permissions: Scopes | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    allowed_ips: Networks | UnsetType = UNSET
    rate_limit: PerHour | UnsetType = UNSET


def without_key(answer: CreatedApiKey) -> CreatedApiKey:
    """What may be stored of the answer and repeated: it tells which key to revoke where the first answer was lost."""
    return msgspec.structs.replace(
        answer, key=None, message="Esta chave já foi mostrada. Se ela se perdeu, revogue-a e crie outra."
    )


def scopes_of(named: list[str], permissions: list[str]) -> list[str]:
    """Both together. Raises Invalid for what is neither a named scope nor a permission, and for a scope among these."""
    unknown = [scope for scope in named if scope not in NAMED_SCOPES and ":" not in scope]
    if unknown:
        raise Invalid(
            "There is no such scope.",
            code="unknown_scope",
            errors=[FieldError("$.scopes", f"is not one of {', '.join(NAMED_SCOPES)}, nor a permission")],
        )
    if any(permission in NAMED_SCOPES for permission in permissions):
        raise Invalid("A scope is no permission.", code="unknown_permission", errors=[FieldError("$.permissions", "")])
    return [*named, *permissions]


def key_view(key: ApiKey, catalogue: Sequence[str], now: datetime) -> ApiKeyView:
    """The key without itself."""
    fields = {
        name: getattr(key, name) for name in ApiKeyView.__struct_fields__ if name not in ("status", "permissions")
    }
    is_expired = key.status is KeyStatus.ACTIVE and not is_live(key, now)
    return ApiKeyView(
        **fields,
        status="expired" if is_expired else key.status.value,
        permissions=list(permissions_of_scopes(key.scopes, catalogue)),
    )
