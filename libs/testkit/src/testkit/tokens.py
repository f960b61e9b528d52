"""Mints the tokens that users and the gateway present, independently of the code that verifies them."""

import base64
import secrets
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def new_key_pair() -> tuple[str, str]:
    """A new Ed25519 pair as the product's settings take it: (private, public), raw, base64url."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _base64url(private), _base64url(public)


def user_jwt(
    jwt_secret: str,
    *,
    subject: str = "user-1",
    tenant_id: uuid.UUID | None = None,
    role: str = "owner",
    permissions: Iterable[str] | None = None,
    lifetime_s: float = 3600,
    **claims: Any,
) -> str:
    """An HS256 token as the Go core signs it for its users; extra claims replace the ones made here."""
    payload: dict[str, Any] = {"sub": subject, "role": role, "exp": int(time.time() + lifetime_s)}
    if tenant_id is not None:
        payload["tenant_id"] = str(tenant_id)
    if permissions is not None:
        payload["permissions"] = list(permissions)
    return jwt.encode(payload | claims, jwt_secret, algorithm="HS256")


@dataclass
class Identities:
    """The gateway's key pair, and the identity tokens it would send to services."""

    private_key: str = ""
    public_key: str = ""
    jwt_secret: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def __post_init__(self) -> None:
        if not self.private_key:
            self.private_key, self.public_key = new_key_pair()

    def token(
        self,
        service: str,
        *,
        tenant_id: uuid.UUID | None = None,
        permissions: Iterable[str] = (),
        roles: Iterable[str] = (),
        subject: str = "user-1",
        kind: str = "user",
        lifetime_s: float = 60,
        **claims: Any,
    ) -> str:
        """The value of `X-Internal-Identity` for this service; extra claims replace the ones made here."""
        now = int(time.time())
        payload: dict[str, Any] = {
            "iss": "gateway",
            "aud": service,
            "sub": subject,
            "tenant": str(tenant_id) if tenant_id is not None else None,
            "roles": list(roles),
            "permissions": list(permissions),
            "kind": kind,
            "iat": now,
            "exp": now + int(lifetime_s),
            "jti": uuid.uuid4().hex,
        }
        raw = base64.urlsafe_b64decode(self.private_key + "=" * (-len(self.private_key) % 4))
        return jwt.encode(payload | claims, Ed25519PrivateKey.from_private_bytes(raw), algorithm="EdDSA")

    def headers(self, service: str, **claims: Any) -> dict[str, str]:
        """The request headers that carry `token(service, ...)`."""
        return {"X-Internal-Identity": self.token(service, **claims)}

    def jwt(self, **claims: Any) -> str:
        """A user's token for the gateway, signed with `jwt_secret`."""
        return user_jwt(self.jwt_secret, **claims)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
