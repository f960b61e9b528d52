"""What the edge asks for when it starts. Nobody else gets it, and it is in no description of the API."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.identity import Identity
from contracts.errors import NotFound
from contracts.tenants import AccessSnapshot
from tenants import store
from tenants.usecases.take_access_snapshot import take_access_snapshot


class KeyUses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Uses by the key's id."""

    uses: dict[UUID, Annotated[int, msgspec.Meta(ge=1, le=2**31)]]


@get("/internal/access-snapshot", include_in_schema=False)
async def get_access_snapshot(
    db: NamedDependency[Database], identity: NamedDependency[Identity], clock: NamedDependency[Clock]
) -> AccessSnapshot:
    """All that the gateway decides by. For anybody else there is no such thing."""
    if identity.kind != "gateway":
        raise NotFound("Not found.")
    async with platform_transaction(db) as conn:
        return await take_access_snapshot(conn, now=clock())


@post("/internal/api-key-uses", include_in_schema=False, status_code=200)
async def post_api_key_uses(
    data: JSONBody[KeyUses],
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
) -> dict[str, int]:
    """How often the gateway let keys pass since it last said so. For anybody else there is no such thing."""
    if identity.kind != "gateway":
        raise NotFound("Not found.")
    async with platform_transaction(db) as conn:
        return {"keys": await store.snapshot.add_key_uses(conn, data.uses, clock())}


ROUTES = [get_access_snapshot, post_api_key_uses]
