"""What the edge knows of roles, API keys and called-back tokens: a snapshot of the tenants service, kept up by events.

Without a tenants service in the deployment it knows the roles of policy.py and no key.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final
from uuid import UUID

from bus.envelope import Envelope, decode_data
from contracts import tenants as events
from contracts.errors import Forbidden, Unauthenticated, Unavailable
from contracts.event import event_type
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import AccessSnapshot, ApiKeyFact
from gateway.policy import ALL_PERMISSIONS, KEY_PERMISSIONS, ROLE_PERMISSIONS
from gateway.rate_limit import RateLimit

_DISABLED: Final = frozenset({"inactive", "suspended"})
_CLOSED: Final = frozenset({"suspended", "closed"})
_HOUR_S: Final = 3600.0


class Key:
    """A live API key: what it may, from where, until when, how often an hour."""

    __slots__ = ("_uses", "expires_at_s", "fact", "limit", "networks", "permissions")

    def __init__(self, fact: ApiKeyFact, uses: Counter[str], before: "Key | None" = None) -> None:
        """`uses` is where each use is counted, by the key's id. What was used of the key `before` a change stays so."""
        self.fact = fact
        self.permissions = frozenset(fact.permissions) & (ALL_PERMISSIONS | KEY_PERMISSIONS)
        self.networks: list[IPv4Network | IPv6Network] = [ip_network(one, strict=False) for one in fact.allowed_ips]
        self.expires_at_s = fact.expires_at.timestamp() if fact.expires_at is not None else None
        self.limit: RateLimit = (
            before.limit
            if before is not None and before.fact.rate_limit == fact.rate_limit
            else RateLimit(fact.rate_limit, _HOUR_S)
        )
        self._uses = uses

    def admit(self, address: str, now_s: float) -> None:
        """Counts a use. Raises Unauthenticated once it has run out, Forbidden from elsewhere, TooManyRequests."""
        if self.expires_at_s is not None and now_s >= self.expires_at_s:
            raise Unauthenticated("the API key has expired", code="invalid_api_key")
        if self.networks:
            here = ip_address(address)
            if not any(here in network for network in self.networks):
                raise Forbidden("the API key is not used from here", code="address_not_allowed")
        self.limit.take("")
        self._uses[str(self.fact.key_id)] += 1


class AccessBook:
    """The knowledge; whoever caches a decision made by it is told by `on_change` to forget it."""

    def __init__(self, *, expects_snapshot: bool, now: Callable[[], float] = time.time) -> None:
        self.is_loaded = False
        self.on_change: Callable[[], None] = lambda: None
        self._expects_snapshot = expects_snapshot
        self._now = now
        self._roles: dict[tuple[UUID, str], frozenset[str]] = {
            (PLATFORM_TENANT_ID, role): permissions for role, permissions in ROLE_PERMISSIONS.items()
        }
        self._keys: dict[bytes, Key] = {}
        self._uses: Counter[str] = Counter()
        self._valid_from_s: dict[str, int] = {}
        self._disabled: set[tuple[str, UUID | None]] = set()
        self._closed: set[UUID] = set()

    @property
    def knows_keys(self) -> bool:
        """Whether there is a tenants service at all, to have issued any."""
        return self._expects_snapshot

    # --- what is decided by it

    def permissions(self, tenant_id: UUID | None, roles: Iterable[str], granted: Iterable[str]) -> frozenset[str]:
        """What the roles allow in the tenant plus what a token grants by name; `*` is all that a tenant may."""
        found: set[str] = set()
        for role in roles:
            own = self._roles.get((tenant_id, role)) if tenant_id is not None else None
            found |= own if own is not None else self._roles.get((PLATFORM_TENANT_ID, role), frozenset())
        for name in granted:
            found |= ALL_PERMISSIONS if name == "*" else ({name} & ALL_PERMISSIONS)
        return frozenset(found)

    def check_subject(self, subject: str, tenant_id: UUID | None, issued_at_s: int | None) -> None:
        """Nothing, for a token that is still good.

        A token without `iat` cannot be called back by time, only by disabling its subject. Raises Unauthenticated for
        one that was called back, Forbidden where nobody acts in the tenant any more.
        """
        called_back = self._valid_from_s.get(subject, 0)
        if issued_at_s is not None and issued_at_s < called_back:
            raise Unauthenticated("the token was called back", code="invalid_token")
        if (subject, None) in self._disabled or (subject, tenant_id) in self._disabled:
            raise Unauthenticated("the account is not active", code="invalid_token")
        if tenant_id is not None and tenant_id in self._closed:
            raise Forbidden("the tenant is suspended", code="tenant_suspended")

    def is_closed(self, tenant_id: UUID) -> bool:
        """Whether nobody acts in the tenant."""
        return tenant_id in self._closed

    def key(self, text: bytes) -> Key:
        """The live API key. Raises Unauthenticated for what is none, Unavailable while the keys are not known."""
        if not self.is_loaded:
            raise Unavailable("API keys are not known here yet", code="keys_not_loaded", retry_after_s=2)
        found = self._keys.get(hashlib.sha256(text).digest())
        if found is None:
            raise Unauthenticated("the API key is not one of ours", code="invalid_api_key")
        if found.fact.tenant_id in self._closed:
            raise Forbidden("the tenant is suspended", code="tenant_suspended")
        return found

    async def missing(self) -> str | None:
        """The readiness check: without its snapshot the edge would decide by guesses."""
        return "no snapshot yet" if self._expects_snapshot and not self.is_loaded else None

    # --- what it is kept up by

    def load(self, snapshot: AccessSnapshot) -> None:
        """Replaces everything by the snapshot; counts and limits of keys that stay go on."""
        self._roles = {(fact.tenant_id, fact.role): frozenset(fact.permissions) for fact in snapshot.roles}
        for name in ("superadmin", "super_admin", "platform_admin"):
            self._roles.setdefault((PLATFORM_TENANT_ID, name), ROLE_PERMISSIONS[name])
        keys: dict[bytes, Key] = {}
        for fact in snapshot.api_keys:
            digest = bytes.fromhex(fact.key_sha256)
            known = self._keys.get(digest)
            keys[digest] = known if known is not None and known.fact == fact else Key(fact, self._uses, known)
        self._keys = keys
        self._valid_from_s = {}
        self._disabled = set()
        for subject in snapshot.subjects:
            self._call_back(str(subject.user_id), int(subject.valid_from.timestamp()), subject.tenant_id)
            if subject.is_disabled:
                self._disabled.add((str(subject.user_id), subject.tenant_id))
        self._closed = set(snapshot.closed_tenants)
        self.is_loaded = True
        self.on_change()

    def apply(self, envelope: Envelope) -> None:
        """Takes in one event; what is known already changes nothing. Raises Malformed for one that cannot be read."""
        kind = FOLLOWED.get(envelope.type)
        if kind is None:
            return
        event: Any = decode_data(envelope, kind)
        match event:
            case events.RoleChanged():
                self._change_role(event)
            case events.ApiKeyCreated():
                digest = bytes.fromhex(event.key.key_sha256)
                self._keys[digest] = Key(event.key, self._uses, self._keys.get(digest))
            case events.ApiKeyRevoked():
                self._keys.pop(bytes.fromhex(event.key_sha256), None)
            case events.TenantEvent():
                (self._closed.add if event.status in _CLOSED else self._closed.discard)(event.tenant_id)
            case events.UserEvent():
                subject = str(event.user_id)
                self._call_back(subject, int(event.tokens_valid_from.timestamp()), None)
                # The nil tenant's is about the person everywhere.
                here = (subject, None if event.tenant_id == PLATFORM_TENANT_ID else event.tenant_id)
                (self._disabled.add if event.status in _DISABLED else self._disabled.discard)(here)
        self.on_change()

    def take_uses(self) -> dict[str, int]:
        """How often each key was used since the last time this was asked, by the key's id; a figure, no record."""
        uses = dict(self._uses)
        self._uses.clear()
        return uses

    def _change_role(self, event: events.RoleChanged) -> None:
        if event.permissions is None:
            self._roles.pop((event.tenant_id, event.role), None)
        else:
            self._roles[event.tenant_id, event.role] = frozenset(event.permissions)

    def _call_back(self, subject: str, valid_from_s: int, tenant_id: UUID | None) -> None:
        if tenant_id is None:
            self._valid_from_s[subject] = max(valid_from_s, self._valid_from_s.get(subject, 0))


#: The events that change a decision of the edge's.
FOLLOWED: Final = {
    event_type(event): event
    for event in (
        events.RoleChanged,
        events.ApiKeyCreated,
        events.ApiKeyRevoked,
        events.TenantCreated,
        events.TenantUpdated,
        events.TenantSuspended,
        events.TenantReactivated,
        events.TenantClosed,
        events.UserCreated,
        events.UserUpdated,
        events.UserDisabled,
    )
}
