"""One row of the routing table, and the six answers to "who may pass?"."""

from enum import StrEnum
from typing import Final, Literal

import msgspec

KIB: Final = 1024
MIB: Final = 1024 * KIB


class Access(StrEnum):
    """Who may pass."""

    PUBLIC = "public"
    USER = "user"
    PERMISSION = "permission"
    PLATFORM_ADMIN = "platform_admin"
    API_KEY = "api_key"
    WEBHOOK = "webhook"


class Policy(msgspec.Struct, frozen=True):
    """Who may pass, and the headers beyond the usual ones that the service needs to decide for itself.

    `permission` names the one that a user needs; `provider` the sender of a webhook. `headers` are lower-case names
    that reach the service on this route only: a webhook's signature. `signs_in` is for routes that take no
    token and give a new one: a bad token beside the request is ignored, since clients add the old one unasked, and the
    cookies in `headers` are passed on from pages of known origins only.
    """

    access: Access
    permission: str | None = None
    provider: str | None = None
    headers: tuple[str, ...] = ()
    signs_in: bool = False


PUBLIC: Final = Policy(Access.PUBLIC)
USER: Final = Policy(Access.USER)
PLATFORM_ADMIN: Final = Policy(Access.PLATFORM_ADMIN)
SIGN_IN: Final = Policy(Access.PUBLIC, signs_in=True)
#: The service reads a cookie of its own that is sent to these routes only: the refresh token.
REFRESH: Final = Policy(Access.PUBLIC, headers=("cookie",), signs_in=True)
#: A live API key, whatever it may: the service looks at its permissions.
API_KEY: Final = Policy(Access.API_KEY)


def permission(name: str) -> Policy:
    """Who holds the permission `name` in the tenant of the request, or administers the platform."""
    return Policy(Access.PERMISSION, permission=name)


def webhook(provider: str, *signature_headers: str) -> Policy:
    """Anyone: the service verifies the signature over the raw body, from the headers named here."""
    return Policy(Access.WEBHOOK, provider=provider, headers=signature_headers)


#: Which tenant a route needs. `none`: it works without one. `own`: a user needs one, a platform administrator without
#: `x-tenant-id` acts on the platform's own rows. `named`: there are no such rows, so an administrator names one too.
TenantNeed = Literal["none", "own", "named"]


class Row(msgspec.Struct, frozen=True):
    """`methods` is "GET" or "GET POST"; `path` has `{name}` for one segment; `/api` in front is understood."""

    methods: str
    path: str
    policy: Policy
    tenant: TenantNeed | None = None
    timeout_s: float = 15.0
    body_limit_bytes: int = MIB
    sets_cookies: bool = False

    @property
    def tenant_need(self) -> TenantNeed:
        """What `tenant` says, else: routes guarded by a permission need one, the others do not."""
        if self.tenant is not None:
            return self.tenant
        return "own" if self.policy.access is Access.PERMISSION else "none"
