"""Who may do what beyond a tenant's permissions: only the platform itself sells plans and gives its own money back."""

from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from chassis.identity import Identity
from contracts.errors import Forbidden


class PlatformAdminGuard(msgspec.Struct, frozen=True):
    """A Litestar guard for what the gateway's route table gives to platform administrators only."""

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not is_platform_admin(connection.scope["user"]):
            raise Forbidden("Only the platform's administrators may do this.", code="platform_admin_only")


def requires_platform_admin() -> PlatformAdminGuard:
    """A guard that lets only the platform's administrators pass, whatever a tenant's user holds.

    The guard raises Forbidden.
    """
    return PlatformAdminGuard()


def is_platform_admin(identity: Identity) -> bool:
    """Whether the caller administers the platform; `*` within a tenant does not make one."""
    return identity.kind == "platform_admin"
