"""API keys over HTTP, in seed 002's shapes."""

from uuid import UUID

import msgspec
from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from contracts.errors import Conflict, NotFound
from tenants import store
from tenants.api.access import doer_of
from tenants.api.api_key_shapes import (
    ApiKeyAnswer,
    ApiKeyList,
    ApiKeyStats,
    CreatedApiKey,
    KeyReplacement,
    NewKey,
    key_view,
    scopes_of,
    without_key,
)
from tenants.api.seed_errors import seed_errors
from tenants.api.user_shapes import Limit, Page
from tenants.domain.api_keys import KeyStatus
from tenants.usecases.change_api_key import ApiKeyChange, change_api_key
from tenants.usecases.create_api_key import NewApiKey, create_api_key
from tenants.usecases.delete_api_key import delete_api_key
from tenants.usecases.find_powers import find_powers
from tenants.usecases.revoke_api_key import revoke_api_key


@get("/integrations/api-keys", guards=[requires("api_keys:read")], exception_handlers=seed_errors("002"))
async def list_api_keys(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    page: Page = 1,
    limit: Limit = 50,
) -> ApiKeyList:
    """The tenant's keys, without the keys themselves."""
    tenant_id, now = tenant_of(identity), clock()
    async with platform_transaction(db) as conn:
        keys = await store.api_keys.list_keys(conn, tenant_id, offset=(page - 1) * limit, limit=limit)
        counts = await store.api_keys.count_keys(conn, tenant_id, now)
        catalogue = await _catalogue(conn)
    return ApiKeyList(
        api_keys=[key_view(key, catalogue, now) for key in keys], total=counts.total, page=page, limit=limit
    )


@post("/integrations/api-keys", guards=[requires("api_keys:write")], exception_handlers=seed_errors("002"))
async def post_api_key(
    data: JSONBody[NewKey],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[CreatedApiKey]:
    """Makes a key that opens no more than its maker may.

    An Idempotency-Key makes one; the answer that is repeated by it does not show the key again.
    """
    tenant_id, now = tenant_of(request.user), clock()
    new = NewApiKey(
        name=data.name,
        description=data.description,
        scopes=scopes_of(data.scopes, data.permissions),
        allowed_ips=data.allowed_ips,
        rate_limit=data.rate_limit,
        expires_at=data.expires_at,
        replaces_id=data.replaces_id,
    )

    async def make(conn: Connection) -> CreatedApiKey:
        powers = await find_powers(conn, tenant_id, request.user)
        key, secret = await create_api_key(conn, tenant_id, new, powers=powers, by=doer_of(request), now=now)
        view = key_view(key, await _catalogue(conn), now)
        return CreatedApiKey(
            api_key=view, key=secret, message="Guarde esta chave agora: ela não será mostrada de novo."
        )

    return await once(request, db, data, make, on_platform=True, kept=without_key)


@get("/integrations/api-keys/stats", guards=[requires("api_keys:read")], exception_handlers=seed_errors("002"))
async def get_stats(
    db: NamedDependency[Database], identity: NamedDependency[Identity], clock: NamedDependency[Clock]
) -> ApiKeyStats:
    """How many keys the tenant has."""
    async with platform_transaction(db) as conn:
        counts = await store.api_keys.count_keys(conn, tenant_of(identity), clock())
    return ApiKeyStats(**msgspec.structs.asdict(counts))


@get("/integrations/api-keys/{key_id:uuid}", guards=[requires("api_keys:read")], exception_handlers=seed_errors("002"))
async def get_api_key(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    key_id: FromPath[UUID],
) -> ApiKeyAnswer:
    """One key, without the key itself."""
    async with platform_transaction(db) as conn:
        key = await store.api_keys.find_key(conn, tenant_of(identity), key_id)
        if key is None:
            raise NotFound("no such API key")
        return ApiKeyAnswer(api_key=key_view(key, await _catalogue(conn), clock()))


@put("/integrations/api-keys/{key_id:uuid}", guards=[requires("api_keys:write")], exception_handlers=seed_errors("002"))
async def put_api_key(
    data: JSONBody[KeyReplacement],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    key_id: FromPath[UUID],
) -> ApiKeyAnswer:
    """Changes what a key opens, from where and for how long. A revoked one stays as it is."""
    tenant_id, now = tenant_of(request.user), clock()
    async with platform_transaction(db) as conn:
        scopes: list[str] | UnsetType = UNSET
        if data.scopes is not UNSET or data.permissions is not UNSET:
            scopes = scopes_of(
                [] if data.scopes is UNSET else data.scopes, [] if data.permissions is UNSET else data.permissions
            )
        change = ApiKeyChange(
            name=data.name,
            description=data.description,
            scopes=scopes,
            allowed_ips=data.allowed_ips,
            rate_limit=data.rate_limit,
            expires_at=data.expires_at,
        )
        powers = await find_powers(conn, tenant_id, request.user)
        key = await change_api_key(conn, tenant_id, key_id, change, powers=powers, by=doer_of(request), now=now)
        return ApiKeyAnswer(api_key=key_view(key, await _catalogue(conn), now))


@delete(
    "/integrations/api-keys/{key_id:uuid}",
    guards=[requires("api_keys:write")],
    exception_handlers=seed_errors("002"),
)
async def remove_api_key(
    request: StrictRequest, db: NamedDependency[Database], clock: NamedDependency[Clock], key_id: FromPath[UUID]
) -> None:
    """Revokes a key and takes it off the list."""
    async with platform_transaction(db) as conn:
        await delete_api_key(conn, tenant_of(request.user), key_id, by=doer_of(request), now=clock())


@post(
    "/integrations/api-keys/{key_id:uuid}/revoke",
    guards=[requires("api_keys:write")],
    exception_handlers=seed_errors("002"),
    status_code=200,
)
async def post_revoke(
    request: StrictRequest, db: NamedDependency[Database], clock: NamedDependency[Clock], key_id: FromPath[UUID]
) -> ApiKeyAnswer:
    """Makes a key good for nothing, for good."""
    now = clock()
    async with platform_transaction(db) as conn:
        key = await revoke_api_key(conn, tenant_of(request.user), key_id, by=doer_of(request), now=now)
        return ApiKeyAnswer(api_key=key_view(key, await _catalogue(conn), now))


@post(
    "/integrations/api-keys/{key_id:uuid}/activate",
    guards=[requires("api_keys:write")],
    exception_handlers=seed_errors("002"),
    status_code=200,
)
async def post_activate(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    key_id: FromPath[UUID],
) -> ApiKeyAnswer:
    """Nothing for an active key. A revoked one is refused: whoever took it may have it still; make another."""
    async with platform_transaction(db) as conn:
        key = await store.api_keys.find_key(conn, tenant_of(identity), key_id)
        if key is None:
            raise NotFound("no such API key")
        if key.status is KeyStatus.REVOKED:
            raise Conflict("This key is revoked, and stays so: make another one.", code="key_revoked")
        return ApiKeyAnswer(api_key=key_view(key, await _catalogue(conn), clock()))


async def _catalogue(conn: Connection) -> list[str]:
    return [one.key for one in await store.roles.list_permissions(conn)]


ROUTES = [
    list_api_keys,
    post_api_key,
    get_stats,
    get_api_key,
    put_api_key,
    remove_api_key,
    post_revoke,
    post_activate,
]
