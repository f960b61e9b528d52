"""Finds a slug that nobody has, and holds it."""

from uuid import UUID

from chassis.db import Connection
from contracts.errors import Conflict
from tenants import store
from tenants.domain.companies import slug_from

_NUMBERED = 9


async def free_slug(conn: Connection, tenant_id: UUID, name: str) -> str:
    """A slug that reads like `name`, the tenant's from now on; with a number or a piece of its id where it is taken."""
    base = slug_from(name)
    suffixes = ["", *(f"-{number}" for number in range(2, _NUMBERED + 1)), f"-{tenant_id.hex[-8:]}"]
    for suffix in suffixes:
        if await store.tenants.claim_name(conn, tenant_id, "slug", base + suffix):
            return base + suffix
    raise Conflict("There is no slug left for this name.", code="slug_taken")
