"""Who may do what beyond a permission: the platform's own administrators, and everybody in their own tenant only."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from chassis.identity import Identity
from contracts.errors import Forbidden, NotFound
from tenants.api.caller import actor_of, caller_of
from tenants.domain.doers import Doer


class PlatformAdminGuard(msgspec.Struct, frozen=True):
    """A Litestar guard for what the gateway's route table gives to platform administrators only."""

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not is_platform_admin(connection.scope["user"]):
            raise Forbidden("Only the platform's administrators may do this.", code="platform_admin_only")


class SignedInGuard(msgspec.Struct, frozen=True):
    """A Litestar guard for what takes a person, whatever they may."""

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if connection.scope["user"].kind not in ("user", "platform_admin"):
            raise Forbidden("Only a person who has signed in may do this.", code="person_needed")


def requires_platform_admin() -> PlatformAdminGuard:
    """A guard that lets only the platform's administrators pass. The guard raises Forbidden."""
    return PlatformAdminGuard()


def requires_person() -> SignedInGuard:
    """A guard that lets people pass, and neither programs nor the nameless. The guard raises Forbidden."""
    return SignedInGuard()


def is_platform_admin(identity: Identity) -> bool:
    """Whether the caller administers the platform; `*` within a tenant does not make one."""
    return identity.kind == "platform_admin"


def own_tenant(identity: Identity, tenant_id: UUID) -> UUID:
    """The tenant that a path names. Raises NotFound for another than the caller's: theirs look like none."""
    if identity.tenant_id == tenant_id or (is_platform_admin(identity) and identity.tenant_id is None):
        return tenant_id
    raise NotFound("no such tenant")


def doer_of(request: Request[Any, Any, Any]) -> Doer:
    """The caller at work, as the audit log is told."""
    return Doer(actor=actor_of(request.user), caller=caller_of(request))
