"""API keys: what they open, from where, for how long. The key itself is shown once and kept as a hash."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Final
from uuid import UUID

import msgspec

from contracts.errors import FieldError, Invalid
from contracts.tenants import ApiKeyFact
from tenants.domain.roles import PLATFORM_ONLY

#: Seed 002's names for sets of permissions.
NAMED_SCOPES: Final = ("read", "write", "full")
_WRITING: Final = frozenset({"write", "send", "publish", "export"})
#: Who belongs to a tenant and what they may: no program gets that by the name of a scope, it has to be spelled out.
_PEOPLE_AND_KEYS: Final = frozenset({"members", "users", "roles", "api_keys", "audit", "privacy"})
_NEVER_BY_NAME: Final = PLATFORM_ONLY | {"billing:configure", "email_settings:write"}


class KeyStatus(StrEnum):
    """A revoked key stays so."""

    ACTIVE = "active"
    REVOKED = "revoked"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One row of api_keys. `scopes` are named ones and permissions, as they were asked for."""

    tenant_id: UUID
    id: UUID
    name: str
    description: str
    prefix: str
    key_sha256: bytes
    scopes: list[str]
    allowed_ips: list[str]
    rate_limit: int
    status: KeyStatus
    expires_at: datetime | None
    last_used_at: datetime | None
    usage_count: int
    replaces_id: UUID | None
    created_by: str
    version: int
    created_at: datetime
    updated_at: datetime
    revoked_at: datetime | None


def permissions_of_scopes(scopes: Iterable[str], catalogue: Iterable[str]) -> tuple[str, ...]:
    """What a key with these scopes may, sorted; `catalogue` is every permission there is.

    `read`: all that reads the business. `write`: that, and all that writes, sends, publishes or exports it. `full`: all
    of the business, refunds included. None of the three gives people, roles, keys, the audit log, personal data
    requests, accounts at payment providers or mail servers: a key that needs those names the permission itself.
    """
    known = frozenset(catalogue)
    business = {name for name in known - _NEVER_BY_NAME if name.split(":")[0] not in _PEOPLE_AND_KEYS}
    reading = {name for name in business if name.endswith(":read")}
    named = {
        "read": reading,
        "write": reading | {name for name in business if name.split(":")[1] in _WRITING},
        "full": business,
    }
    found: set[str] = set()
    for scope in scopes:
        found |= named.get(scope, {scope} & known)
    return tuple(sorted(found))


def normal_networks(allowed_ips: Sequence[str]) -> list[str]:
    """The addresses and networks in CIDR, each in its usual spelling. Raises Invalid naming what is neither."""
    found: list[str] = []
    for index, text in enumerate(allowed_ips):
        try:
            found.append(str(ip_network(text.strip(), strict=False)))
        except ValueError:
            raise Invalid(
                "An allowed address is none.",
                code="bad_network",
                errors=[FieldError(f"$.allowedIps[{index}]", "is neither an address nor a network in CIDR")],
            ) from None
    return list(dict.fromkeys(found))


def is_allowed_from(allowed_ips: Sequence[str], address: str | None) -> bool:
    """Whether the key may be used from that address; without a list from anywhere, with one never from nowhere.

    An IPv4 address counts as itself when it comes mapped into IPv6.
    """
    if not allowed_ips:
        return True
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ip_network(network) for network in allowed_ips)


def is_live(key: ApiKey, now: datetime) -> bool:
    """Whether the key opens anything now."""
    return key.status is KeyStatus.ACTIVE and (key.expires_at is None or now < key.expires_at)


def key_fact(key: ApiKey, catalogue: Iterable[str]) -> ApiKeyFact:
    """The key as the edge needs it."""
    return ApiKeyFact(
        key_id=key.id,
        tenant_id=key.tenant_id,
        key_sha256=key.key_sha256.hex(),
        scopes=tuple(key.scopes),
        permissions=permissions_of_scopes(key.scopes, catalogue),
        allowed_ips=tuple(key.allowed_ips),
        rate_limit=key.rate_limit,
        expires_at=key.expires_at,
    )
