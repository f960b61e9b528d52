"""Reads what each role that can be given in a tenant allows."""

from collections.abc import Mapping
from uuid import UUID

from chassis.db import Connection
from contracts.errors import FieldError, Invalid
from tenants import store


async def find_roles(conn: Connection, tenant_id: UUID, *wanted: str) -> Mapping[str, list[str]]:
    """Name -> permissions, of the tenant's own roles and the defaults. Raises Invalid where a `wanted` one is none.

    They stay so until the transaction ends: a role that is given to somebody is not removed meanwhile.
    """
    await store.roles.share_roles(conn, tenant_id)
    found = {role.name: role.permissions for role in await store.roles.list_roles(conn, tenant_id)}
    if any(name not in found for name in wanted):
        raise Invalid("There is no such role.", code="unknown_role", errors=[FieldError("$.role", "unknown")])
    return found
