"""The Go core's HS256 tokens: verified once, strictly, then remembered until they expire."""

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from chassis.identity import Kind
from contracts.errors import Unauthenticated
from contracts.tenancy import PLATFORM_TENANT_ID
from gateway.access_book import AccessBook, Key

LEEWAY_S: Final = 30
MAX_TOKEN_BYTES: Final = 4096
MAX_HEADER_BYTES: Final = 512
MAX_DEPTH: Final = 16
MAX_NAMES: Final = 256
_MAX_TIME: Final = 253_402_300_799  # the end of the year 9999
_HS256_SIGNATURE: Final = 43  # base64url of 32 bytes
_SEGMENTS: Final = re.compile(rb"([A-Za-z0-9_-]{1,700})\.([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{43})")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# No control, blank or surrogate: names go into headers, logs and databases.
_NAME: Final = re.compile(r"[^\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]{1,128}")

#: Tenants of the older systems are named by words ("default"); ours by UUID. The same word is always the same UUID.
TENANT_NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:backoffice:tenant")


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """Where a token says what: the first name that is present counts."""

    subject: tuple[str, ...] = ("sub", "userId", "user_id")
    tenant: tuple[str, ...] = ("tenant_id", "tenantId")
    tenants: tuple[str, ...] = ("tenants", "tenant_ids")
    roles: tuple[str, ...] = ("role", "roles")
    permissions: tuple[str, ...] = ("permissions",)


class Principal:
    """Who calls, and what the gateway remembers about them: while a token lives, or for good for the nameless ones."""

    __slots__ = (
        "_grants",
        "default_tenant",
        "expires_at_s",
        "key",
        "kind",
        "limit_key",
        "memory",
        "permissions",
        "roles",
        "subject",
        "tenants",
    )

    def __init__(
        self,
        *,
        subject: str,
        kind: Kind = "user",
        tenants: tuple[UUID, ...] = (),
        default_tenant: UUID | None = None,
        roles: tuple[str, ...] = (),
        permissions: frozenset[str] = frozenset(),
        grants: Callable[[UUID | None], frozenset[str]] | None = None,
        expires_at_s: float = 0.0,
        key: Key | None = None,
    ) -> None:
        """`permissions` are those in the default tenant; `grants` tells those in another that may be selected."""
        self.subject = subject
        self.kind = kind
        self.tenants = tenants
        self.default_tenant = default_tenant  # what counts when the request selects none
        self.roles = roles
        self.permissions = permissions
        self._grants = grants
        self.key = key  # of a program; each use is counted there
        self.expires_at_s = expires_at_s
        self.limit_key = _limit_key(subject, default_tenant)
        self.memory: dict[str | tuple[str, UUID | None], tuple[bytes, float]] = {}  # what identity.py has signed

    def permissions_in(self, tenant_id: UUID | None) -> frozenset[str]:
        """What they may in that tenant: a role may allow other things there."""
        if tenant_id is self.default_tenant or self._grants is None or tenant_id == self.default_tenant:
            return self.permissions
        return self._grants(tenant_id)


def _limit_key(subject: str, tenant: UUID | None) -> str:
    """What all tokens of one user are counted under.

    A UUID is one person in every tenant; another id, as the Go core's may be a number, only in its own.
    """
    try:
        return str(UUID(subject))
    except ValueError:
        return f"{tenant or ''}|{subject}"


class TokenVerifier:
    """Verifies tokens of `secrets`, tried in order, and remembers at most `max_cached` of them."""

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        issuer: str | None = None,
        audience: str | None = None,
        claims: Claims = Claims(),  # noqa: B008  frozen
        platform_admin_roles: frozenset[str] = frozenset(),
        book: AccessBook | None = None,
        max_cached: int = 10_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = [secret.encode() for secret in secrets]
        self._issuer = issuer
        self._audience = audience
        self._claims = claims
        self._admin_roles = platform_admin_roles
        self._book = book or AccessBook(expects_snapshot=False)
        self._max_cached = max_cached
        self._now = now
        self._jws = PyJWS(algorithms=["HS256"])
        self._known: dict[bytes, Principal] = {}

    def forget(self) -> None:
        """Every token is looked at anew: roles have changed, or somebody's tokens were called back."""
        self._known.clear()

    def verify(self, token: bytes) -> Principal:
        """Who holds `token`.

        Raises Unauthenticated, code `invalid_token`, without saying what a forger got right, and Forbidden where nobody
        acts in the token's tenant any more.
        """
        principal = self._known.get(token)
        if principal is not None:
            if self._now() < principal.expires_at_s:
                return principal
            del self._known[token]
            raise _invalid("the token has expired")
        principal = self._principal(self._payload(token))
        if len(self._known) >= self._max_cached:
            del self._known[next(iter(self._known))]
        self._known[token] = principal
        return principal

    def _payload(self, token: bytes) -> dict[str, Any]:
        """The claims of a well-formed, well-signed token. Only the header is parsed before the signature holds."""
        if len(token) > MAX_TOKEN_BYTES:
            raise _invalid("the token is too long")
        segments = _SEGMENTS.fullmatch(token)
        if segments is None:
            raise _invalid("the token is malformed")
        header, payload, signature = (_canonical_base64(segment) for segment in segments.groups())
        if header is None or payload is None or signature is None or len(header) > MAX_HEADER_BYTES:
            raise _invalid("the token is malformed")
        _check_header(_strict_json(header))
        for key in self._keys:
            try:
                self._jws.decode(token, key, algorithms=["HS256"])
            except PyJWTError:
                continue
            return _strict_json(payload)
        raise _invalid("the token's signature does not verify")

    def _principal(self, claims: dict[str, Any]) -> Principal:
        now = self._now()
        expires_at_s = _time(claims, "exp")
        if expires_at_s is None:
            raise _invalid("the token never expires")
        if now >= expires_at_s + LEEWAY_S:
            raise _invalid("the token has expired")
        for name in ("nbf", "iat"):
            starts_at_s = _time(claims, name)
            if starts_at_s is not None and starts_at_s > now + LEEWAY_S:
                raise _invalid("the token is not valid yet")
        self._check_parties(claims)
        for name in ("typ", "type", "token_type", "token_use"):
            if claims.get(name) in ("refresh", "refresh_token"):
                raise _invalid("a refresh token opens nothing")
        roles = _names(claims, self._claims.roles, split=",")
        own, tenants = self._tenants(claims)
        is_admin = not tenants and not self._admin_roles.isdisjoint(roles)
        subject = self._subject(claims)
        default = own or (tenants[0] if len(tenants) == 1 else None)
        self._book.check_subject(subject, default, claims.get("iat"))
        granted = _names(claims, self._claims.permissions, split=",")

        def grants(tenant: UUID | None) -> frozenset[str]:
            return self._book.permissions(tenant, roles, granted)

        return Principal(
            subject=subject,
            kind="platform_admin" if is_admin else "user",
            tenants=tuple(one for one in tenants if not self._book.is_closed(one)),
            default_tenant=default,
            roles=roles,
            permissions=grants(default),
            grants=grants,
            expires_at_s=expires_at_s + LEEWAY_S,
        )

    def _check_parties(self, claims: dict[str, Any]) -> None:
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise _invalid("the token's issuer is not ours")
        if self._audience is not None:
            audience = claims.get("aud")
            audiences = audience if isinstance(audience, list) else [audience]
            if not all(isinstance(name, str) for name in audiences) or self._audience not in audiences:
                raise _invalid("the token is meant for someone else")

    def _subject(self, claims: dict[str, Any]) -> str:
        subject = next((claims[name] for name in self._claims.subject if name in claims), None)
        if not isinstance(subject, str) or _NAME.fullmatch(subject) is None:
            raise _invalid("the token names no subject")
        return subject

    def _tenants(self, claims: dict[str, Any]) -> tuple[UUID | None, tuple[UUID, ...]]:
        """The token's own tenant and all that it may select. null counts as absent; anything unusable is refused."""
        named = {_tenant(claims[name]) for name in self._claims.tenant if claims.get(name) is not None}
        if len(named) > 1:
            raise _invalid("the token names two tenants as its own")
        own = next(iter(named), None)
        others = [_tenant(name) for name in _names(claims, self._claims.tenants)]
        return own, tuple(dict.fromkeys([own, *others] if own else others))


def _tenant(value: object) -> UUID:
    tenant = tenant_id(value) if isinstance(value, str) else None
    if tenant is None or tenant == PLATFORM_TENANT_ID:
        raise _invalid("the token's tenant cannot be used")
    return tenant


def tenant_id(text: str) -> UUID | None:
    """The UUID of a tenant named by UUID or by an older system's word, or None when it is neither."""
    if _UUID.fullmatch(text):
        return UUID(text)
    return uuid5(TENANT_NAMESPACE, text) if _NAME.fullmatch(text) else None


def _invalid(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, code="invalid_token")


def _canonical_base64(segment: bytes) -> bytes | None:
    try:
        raw = base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == segment else None  # no stray trailing bits


def _strict_json(raw: bytes) -> dict[str, Any]:
    """One JSON object without duplicate keys, NaN, infinities or depth. Raises Unauthenticated."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _invalid("the token is malformed") from None
    if not isinstance(value, dict) or _too_deep(value):
        raise _invalid("the token is malformed")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return True


def _check_header(header: Mapping[str, Any]) -> None:
    """Exactly alg HS256, with typ JWT and a short kid if any: no crit, b64, zip, jku, x5u or jwk can ask for more."""
    kid = header.get("kid", "")
    if (
        header.get("alg") != "HS256"
        or not header.keys() <= {"alg", "typ", "kid"}
        or header.get("typ", "JWT") not in ("JWT", "jwt", "at+jwt")
        or not isinstance(kid, str)
        or len(kid) > 128
        or not kid.isprintable()
        or "/" in kid
    ):
        raise _invalid("the token's header is not one of ours")


def _time(claims: dict[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if name not in claims:
        return None
    if type(value) is not int or not 0 < value <= _MAX_TIME:  # bool is an int, and neither is a time
        raise _invalid(f"the token's {name} is not a time")
    return value


def _names(claims: dict[str, Any], aliases: Sequence[str], *, split: str | None = None) -> tuple[str, ...]:
    """A list of names, or one string of them. Raises Unauthenticated for anything else."""
    value: Any = next((claims[name] for name in aliases if claims.get(name) is not None), [])
    if isinstance(value, str):
        value = [part.strip() for part in value.split(split)] if split else [value]
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise _invalid("the token's roles, tenants or permissions are malformed")
    for name in value:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise _invalid("the token's roles, tenants or permissions are malformed")
    return tuple(value)
