"""Who calls: the gateway's signed word for it, and what a handler asks of it. Nothing else is trusted."""

import base64
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from chassis.clock import Clock, utc_now
from contracts.errors import Forbidden, Malformed, Unauthenticated
from contracts.tenancy import PLATFORM_TENANT_ID

HEADER = "X-Internal-Identity"
ISSUER = "gateway"
LIFETIME_S = 60
MAX_LIFETIME_S = 300
LEEWAY_S = 5
MAX_TOKEN_BYTES = 8_192
CACHE_SIZE = 4_096

#: PyJWT also reads padded and otherwise odd base64: one token would have many spellings. 64 bytes end in A, Q, g or w.
_CANONICAL = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]", re.ASCII)

#: `gateway` is the gateway itself, asking for what it decides by; no caller of its own is ever that.
Kind = Literal["user", "platform_admin", "api_key", "webhook", "public", "gateway"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The caller, as the gateway verified them. `tenant_id` is None where no tenant is known."""

    subject: str
    tenant_id: UUID | None = None
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    kind: Kind = "user"

    def may(self, permission: str) -> bool:
        """Whether the caller holds `permission`; a platform administrator and `*` hold every one."""
        return self.kind == "platform_admin" or permission in self.permissions or "*" in self.permissions


class _Claims(msgspec.Struct, frozen=True):
    """The internal token's claims with their exact types; PyJWT itself takes a numeric string for `exp`."""

    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    jti: str
    kind: Kind
    tenant: UUID | None = None
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()


class IdentitySigner:
    """The gateway's side: signs an identity for one service, and reuses the token for half its life."""

    def __init__(self, private_key: str, *, clock: Clock = utc_now) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(_unpadded(private_key))
        self._clock = clock
        self._cache: dict[tuple[Identity, str], tuple[str, float]] = {}

    @property
    def public_key(self) -> str:
        """The other half, as services take it in INTERNAL_PUBLIC_KEY."""
        return base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).rstrip(b"=").decode()

    def sign(self, identity: Identity, service: str) -> str:
        """A token that only `service` accepts, good for at least 30 more seconds."""
        now = self._clock()
        cached = self._cache.get((identity, service))
        if cached and cached[1] > now.timestamp():
            return cached[0]
        claims = {
            "iss": ISSUER,
            "aud": service,
            "sub": identity.subject,
            "tenant": str(identity.tenant_id) if identity.tenant_id is not None else None,
            "roles": identity.roles,
            "permissions": sorted(identity.permissions),
            "kind": identity.kind,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=LIFETIME_S)).timestamp()),
            "jti": uuid4().hex,
        }
        token = jwt.encode(claims, self._key, algorithm="EdDSA")
        _remember(self._cache, (identity, service), (token, now.timestamp() + LIFETIME_S / 2))
        return token


class IdentityVerifier:
    """The service's side: accepts the gateway's tokens for this service, signed with one of `public_keys`."""

    def __init__(self, public_keys: Sequence[str], service: str, *, clock: Clock = utc_now) -> None:
        self._keys = [Ed25519PublicKey.from_public_bytes(_unpadded(key)) for key in public_keys]
        self._service = service
        self._clock = clock
        self._cache: dict[str, tuple[Identity, int]] = {}

    def verify(self, token: str) -> Identity:
        """The identity in `token`. Raises Unauthenticated for anything but a live token made for this service."""
        now = self._clock().timestamp()
        cached = self._cache.get(token)
        if cached and now < cached[1] + LEEWAY_S:
            return cached[0]
        claims = self._read(token)
        too_long = claims.exp - claims.iat > MAX_LIFETIME_S  # no token of the gateway's, whoever signed it
        if now >= claims.exp + LEEWAY_S or claims.iat > now + LEEWAY_S or too_long:
            raise Unauthenticated("The identity token has expired.", code="invalid_token")
        identity = Identity(
            subject=claims.sub,
            tenant_id=claims.tenant,
            roles=claims.roles,
            permissions=claims.permissions,
            kind=claims.kind,
        )
        _remember(self._cache, token, (identity, claims.exp))
        return identity

    def _read(self, token: str) -> _Claims:
        if len(token) > MAX_TOKEN_BYTES or not _CANONICAL.fullmatch(token):
            raise Unauthenticated("The identity token is refused.", code="invalid_token")
        for key in self._keys:
            try:
                payload = jwt.decode(
                    token,
                    key,
                    algorithms=["EdDSA"],
                    audience=self._service,
                    issuer=ISSUER,
                    # Time is ours to check: PyJWT reads the system clock, and int() of whatever `exp` is.
                    options={
                        "require": ["exp", "iat", "sub", "aud", "iss", "jti"],
                        "strict_aud": True,
                        "verify_exp": False,
                        "verify_iat": False,
                        "verify_nbf": False,
                    },
                )
                return msgspec.convert(payload, _Claims)
            except jwt.InvalidSignatureError:
                continue  # perhaps the other key's
            except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError, RecursionError):
                break
        raise Unauthenticated("The identity token is refused.", code="invalid_token")


class PermissionGuard(msgspec.Struct, frozen=True):
    """A Litestar guard; `permission` is read by the test that compares the gateway's route table with the services."""

    permission: str

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not connection.scope["user"].may(self.permission):
            raise Forbidden(f"This needs the permission {self.permission}.", code="missing_permission")


def requires(permission: str) -> PermissionGuard:
    """A guard that lets only holders of `permission` pass: `@get("/emails", guards=[requires("emails:read")])`.

    The guard raises Forbidden.
    """
    return PermissionGuard(permission)


def tenant_of(identity: Identity) -> UUID:
    """The tenant that a request works for; a platform administrator who names none works for the platform itself.

    Raises Malformed where a tenant is needed and none is known.
    """
    if identity.tenant_id is not None:
        return identity.tenant_id
    if identity.kind == "platform_admin":
        return PLATFORM_TENANT_ID
    raise Malformed("TenantId é obrigatório no header (x-tenant-id).", code="tenant_required")


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= CACHE_SIZE:
        del cache[next(iter(cache))]  # the oldest: entries live a minute anyway
    cache[key] = value


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
