"""Who calls and whether they may: credentials, origin, policy and tenant of one request."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from contracts.errors import Forbidden, Malformed, Unauthenticated
from contracts.tenancy import PLATFORM_TENANT_ID
from gateway.access_book import AccessBook, Key
from gateway.cors import Origins
from gateway.headers import Head
from gateway.routes.row import Access, Row
from gateway.tokens import Principal, TokenVerifier, tenant_id

ANONYMOUS: Final = Principal(subject="anonymous", kind="public")
_BEARER_KEY: Final = b"Bearer nxs_"
_MAX_HOLDERS: Final = 10_000
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Seed 001's own words, which its users may look for.
TENANT_MISSING: Final = "TenantId é obrigatório no header (x-tenant-id)."


class Door:
    """Decides about one request at a time."""

    def __init__(
        self, verifier: TokenVerifier, origins: Origins, providers: Iterable[str], book: AccessBook | None = None
    ) -> None:
        """`providers` are the senders of webhooks that the routes name; `book` knows the API keys."""
        self._verifier = verifier
        self._book = book or AccessBook(expects_snapshot=False)
        self._holders: dict[Key, Principal] = {}
        self._origins = origins
        self._senders = {provider: Principal(subject=provider, kind="webhook") for provider in providers}

    def identify(self, row: Row, method: str, head: Head, scheme: str) -> Principal:
        """Who calls, as far as the route asks. Raises Unauthenticated, Forbidden.

        A Bearer token counts before the `jwt` cookie, and both must be the same token when both are sent. On a public
        route a bad Bearer token is still refused, as its sender means it; a bad cookie is not: browsers add it unasked.
        Where a token is got, neither is refused.
        """
        if not row.policy.signs_in:
            return self._holder(row, method, head, scheme)
        # Whose page it was counts for the service's own cookies as it does for ours.
        if method not in SAFE_METHODS and not self._origins.knows(
            head.read.get(b"origin"), scheme, head.read.get(b"host")
        ):
            head.lines[:] = [line for line in head.lines if not line.startswith(b"cookie:")]
        try:
            return self._holder(row, method, head, scheme)
        except (Unauthenticated, Forbidden):
            return ANONYMOUS

    def _holder(self, row: Row, method: str, head: Head, scheme: str) -> Principal:
        access = row.policy.access
        if access is Access.WEBHOOK:
            return self._senders[row.policy.provider or ""]
        authorization = head.authorization
        key = head.read.get(b"x-api-key")
        if access is Access.API_KEY or (key is not None and self._book.knows_keys):
            return self._program(authorization, key)
        cookie = head.read.get(b"cookie")
        if authorization is not None and cookie is None:  # the usual case
            if authorization.startswith(b"Bearer "):
                if authorization.startswith(_BEARER_KEY):
                    return self._program(authorization, None)
                return self._verifier.verify(authorization[7:])
            return self._without_token(access)
        in_cookie = _cookie_token(cookie) if cookie is not None else None
        if authorization is not None:
            if not authorization.startswith(b"Bearer "):
                return self._without_token(access)
            if in_cookie is not None and in_cookie != authorization[7:]:
                raise Unauthenticated("the header and the cookie hold different tokens", code="invalid_token")
            return self._verifier.verify(authorization[7:])
        if in_cookie is None:
            return self._without_token(access)
        return self._of_cookie(in_cookie, access, method, head, scheme)

    def _program(self, authorization: bytes | None, key: bytes | None) -> Principal:
        """The program that shows an API key. Raises Unauthenticated, Forbidden, Unavailable."""
        if authorization is not None:
            bearer = authorization[7:] if authorization.startswith(b"Bearer ") else b""
            if key is not None and key != bearer:
                raise Unauthenticated("two different credentials were sent", code="invalid_token")
            key = bearer
        if not key:
            raise Unauthenticated("an API key is needed: Authorization: Bearer, or X-API-Key")
        found = self._book.key(key)
        holder = self._holders.get(found)
        if holder is None:
            if len(self._holders) >= _MAX_HOLDERS:
                self._holders.clear()
            tenant = None if found.fact.tenant_id == PLATFORM_TENANT_ID else found.fact.tenant_id
            holder = self._holders[found] = Principal(
                subject=str(found.fact.key_id),
                kind="api_key",
                tenants=(tenant,) if tenant is not None else (),
                default_tenant=tenant,
                permissions=found.permissions,
                key=found,
            )
        return holder

    def _of_cookie(self, token: bytes, access: Access, method: str, head: Head, scheme: str) -> Principal:
        public = access is Access.PUBLIC
        try:
            principal = self._verifier.verify(token)
        except Unauthenticated:
            if public:
                return ANONYMOUS
            raise
        # A browser sends the cookie whoever wrote the form: only the Origin tells whose page it was.
        if method not in SAFE_METHODS and not self._origins.knows(
            head.read.get(b"origin"), scheme, head.read.get(b"host")
        ):
            if public:
                return ANONYMOUS
            raise Forbidden("a request with the cookie must come from a known origin", code="unknown_origin")
        return principal

    @staticmethod
    def _without_token(access: Access) -> Principal:
        if access is Access.PUBLIC:
            return ANONYMOUS
        raise Unauthenticated("a token is needed: Authorization: Bearer, or the jwt cookie")

    @staticmethod
    def authorise(row: Row, principal: Principal, head: Head) -> UUID | None:
        """The tenant that the request is for. Raises Forbidden, Malformed."""
        access = row.policy.access
        is_admin = principal.kind == "platform_admin"
        if principal.kind not in ("user", "platform_admin", "api_key"):
            return None  # nobody whose word could select a tenant
        if principal.kind == "api_key" and access in (Access.USER, Access.PLATFORM_ADMIN):
            raise Forbidden("this is for people; an API key is none")
        selector = head.read.get(b"x-tenant-id")
        tenant = principal.default_tenant if selector is None else _selected(principal, selector, is_admin=is_admin)
        if is_admin:
            if tenant is None and row.tenant_need == "named":
                raise Malformed(TENANT_MISSING, code="tenant_required")
            return tenant
        if access is Access.PLATFORM_ADMIN:
            raise Forbidden("only a platform administrator may do this")
        if access is Access.PERMISSION and row.policy.permission not in principal.permissions_in(tenant):
            raise Forbidden(f"the permission {row.policy.permission} is needed")
        if tenant is None and row.tenant_need != "none":
            raise Malformed(TENANT_MISSING, code="tenant_required")
        return tenant


def _selected(principal: Principal, selector: bytes, *, is_admin: bool) -> UUID | None:
    tenant = tenant_id(selector.decode("latin-1"))
    if tenant is None:
        raise Malformed("x-tenant-id is not a tenant", code="bad_tenant")
    if is_admin:
        return None if tenant == PLATFORM_TENANT_ID else tenant
    if tenant not in principal.tenants:
        raise Forbidden("the token does not belong to this tenant", code="foreign_tenant")
    return tenant


def _cookie_token(cookie: bytes) -> bytes | None:
    """The `jwt` cookie. Raises Unauthenticated for two that differ: one of them was planted."""
    found: bytes | None = None
    for pair in cookie.split(b";"):
        name, separator, value = pair.strip(b" \t").partition(b"=")
        if separator and name == b"jwt":
            if found is not None and found != value:
                raise Unauthenticated("two different jwt cookies were sent", code="invalid_token")
            found = value
    return found
