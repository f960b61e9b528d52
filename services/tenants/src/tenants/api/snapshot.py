"""What the edge asks for when it starts. Nobody else gets it, and it is in no description of the API."""

from litestar import get
from litestar.di import NamedDependency

from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.identity import Identity
from contracts.errors import NotFound
from contracts.tenants import AccessSnapshot
from tenants.usecases.take_access_snapshot import take_access_snapshot


@get("/internal/access-snapshot", include_in_schema=False)
async def get_access_snapshot(
    db: NamedDependency[Database], identity: NamedDependency[Identity], clock: NamedDependency[Clock]
) -> AccessSnapshot:
    """All that the gateway decides by. For anybody else there is no such thing."""
    if identity.kind != "gateway":
        raise NotFound("Not found.")
    async with platform_transaction(db) as conn:
        return await take_access_snapshot(conn, now=clock())


ROUTES = [get_access_snapshot]
