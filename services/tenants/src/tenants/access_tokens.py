"""Access tokens as the gateway and the Go core take them: HS256 under JWT_SECRET, short-lived, seed 002's claims."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import jwt


class AccessTokens:
    """Signs; verifying is the edge's."""

    def __init__(self, secret: str, *, lifetime_s: int, issuer: str | None, audience: str | None) -> None:
        self._secret = secret
        self._lifetime = timedelta(seconds=lifetime_s)
        self._issuer = issuer
        self._audience = audience

    @property
    def lifetime_s(self) -> int:
        """For how long a token is good."""
        return int(self._lifetime.total_seconds())

    def sign(
        self,
        *,
        user_id: UUID,
        email: str,
        role: str,
        tenant_id: UUID | None,
        tenant_ids: Sequence[UUID],
        permissions: Sequence[str],
        valid_from: datetime,
        now: datetime,
    ) -> str:
        """A token. `iat` is not before `valid_from`, by which the edge tells tokens that were called back.

        A platform administrator has no tenant; everybody else's `tenant_id` is the active one of `tenant_ids`.
        """
        issued_at = max(now, valid_from)
        claims: dict[str, object] = {
            "sub": str(user_id),
            "userId": str(user_id),
            "email": email,
            "role": role,
            "permissions": list(permissions),
            "iat": int(issued_at.timestamp()),
            "exp": int((now + self._lifetime).timestamp()),
            "jti": uuid4().hex,
        }
        if tenant_id is not None:
            claims |= {
                "tenantId": str(tenant_id),
                "tenant_id": str(tenant_id),
                "tenants": [str(one) for one in tenant_ids],
            }
        if self._issuer is not None:
            claims["iss"] = self._issuer
        if self._audience is not None:
            claims["aud"] = self._audience
        return jwt.encode(claims, self._secret, algorithm="HS256")
