"""Finds what a caller may do in a tenant, and so what they may give to others."""

from uuid import UUID

from chassis.db import Connection
from chassis.identity import Identity
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.people import MemberStatus
from tenants.domain.roles import OWNER, PLATFORM_ONLY, Powers


async def find_powers(conn: Connection, tenant_id: UUID, identity: Identity) -> Powers:
    """The caller's powers in the tenant, as they stand now; in a platform transaction.

    Whoever has an account here has what their membership gives, whatever their token still says. Of somebody whom only
    the Go core knows, and of an API key, the gateway's word counts. What is the platform's own is given nowhere else.
    """
    catalogue = frozenset(one.key for one in await store.roles.list_permissions(conn))
    if tenant_id != PLATFORM_TENANT_ID:
        catalogue -= PLATFORM_ONLY
    if identity.kind == "platform_admin":
        return Powers(permissions=catalogue, is_platform_admin=True)
    allowed = {role.name: role.permissions for role in await store.roles.list_roles(conn, tenant_id)}
    roles: tuple[str, ...] = identity.roles
    granted = set(identity.permissions)
    person = _person(identity)
    if person is not None and await store.users.find_user(conn, person) is not None:
        membership = await store.memberships.find_membership(conn, tenant_id, person)
        if membership is None or membership.status is not MemberStatus.ACTIVE:
            return Powers(permissions=frozenset())
        roles, granted = (membership.role,), set(membership.permissions)
    if "*" in granted:
        granted |= catalogue
    for role in roles:
        granted |= set(allowed.get(role, ()))
    return Powers(permissions=catalogue & granted, is_owner=OWNER in roles)


def _person(identity: Identity) -> UUID | None:
    try:
        return UUID(identity.subject) if identity.kind == "user" else None
    except ValueError:
        return None
