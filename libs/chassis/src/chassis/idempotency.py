"""Idempotency-Key: the first answer is stored in the effect's own transaction, and repeated instead of the effect.

async def create(data: NewThing, request: StrictRequest, db: Database) -> Response[Thing]:
    return await once(request, db, data, lambda connection: create_thing(connection, data))
"""

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
import structlog
from litestar import Response
from litestar.serialization import encode_json

from chassis.body_guard import StrictRequest
from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.identity import tenant_of
from contracts.errors import Conflict, Invalid, Malformed

KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Scope: TypeAlias = tuple[UUID, str, str, str, str]
_log = structlog.get_logger("chassis.idempotency")
Effect: TypeAlias = Callable[[Connection], Awaitable[object]]


async def once(
    request: StrictRequest,
    db: Database,
    data: Any,
    effect: Effect,
    *,
    status: int = 201,
    tenant_id: UUID | None = None,
    on_platform: bool = False,
    kept: Callable[[Any], object] | None = None,
) -> Response[Any]:
    """What `effect` returns, as JSON; for a key seen within 24 hours the stored answer, `Idempotency-Replayed: true`.

    Without the header it just runs `effect` in a transaction. A failure stores nothing, so the key may be used again.
    `tenant_id` is whose the effect is where the caller, not signed in, has none; else it is the caller's. `on_platform`
    is for an effect across tenants: its transaction is the platform's, whose role the service grants the table of keys.
    `kept` makes of what `effect` returned what is stored and repeated: an answer less a secret that is shown once.
    Raises Malformed for a bad key, Invalid for a known key with another body, and Conflict when the first request with
    the key is still running after the lock's time limit.
    """
    tenant_id = tenant_id or tenant_of(request.user)
    keys = request.headers.getall(KEY_HEADER, [])
    if not keys:
        async with _transaction(db, tenant_id, on_platform=on_platform) as connection:
            return _answer(status, encode_json(await effect(connection)))
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise Malformed(f"{KEY_HEADER} must be 1 to 255 visible ASCII characters.", code="bad_idempotency_key")
    scope = (tenant_id, request.user.subject, request.method, request.scope["path"], keys[0])
    # The decoded body, in one order of keys: the same request written in another way is still the same.
    digest = hashlib.sha256(msgspec.json.encode(data, order="deterministic")).digest()
    async with _transaction(db, tenant_id, on_platform=on_platform) as connection:
        if not await _claim(connection, scope, digest):
            return await _replay(connection, scope, digest)
        answer = await effect(connection)
        await connection.execute(
            """
            UPDATE idempotency_keys SET status = $6, body = $7
            WHERE tenant_id = $1 AND subject = $2 AND method = $3 AND route = $4 AND key = $5
            """,
            *scope,
            status,
            encode_json(answer if kept is None else kept(answer)),
        )
    return _answer(status, encode_json(answer))


async def purge(connection: Connection) -> int:
    """Forgets answers older than 24 hours, an hour's worth; returns how many."""
    status = await connection.execute(
        """
        DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'
        AND created_at <= (SELECT min(created_at) + interval '1 hour' FROM idempotency_keys)
        """
    )
    return int(status.rsplit(" ", 1)[1])


@contextlib.asynccontextmanager
async def _transaction(db: Database, tenant_id: UUID, *, on_platform: bool) -> AsyncIterator[Connection]:
    """The effect's; in the platform's too the key is its tenant's, as row-level security sees it."""
    if not on_platform:
        async with transaction(db, tenant_id) as connection:
            yield connection
        return
    async with platform_transaction(db) as connection:
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant_id))
        yield connection


async def _claim(connection: Connection, scope: Scope, digest: bytes) -> bool:
    """Whether the key is ours; waits for a transaction that has the same key in hand."""
    try:
        return (
            await connection.fetchval(
                """
                INSERT INTO idempotency_keys (tenant_id, subject, method, route, key, body_sha256)
                VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true
                """,
                *scope,
                digest,
            )
            is True
        )
    except asyncpg.LockNotAvailableError:
        raise Conflict("The first request with this key is still running.", code="request_in_flight") from None


async def _replay(connection: Connection, scope: Scope, digest: bytes) -> Response[Any]:
    row = await connection.fetchrow(
        """
        SELECT body_sha256, status, body FROM idempotency_keys
        WHERE tenant_id = $1 AND subject = $2 AND method = $3 AND route = $4 AND key = $5
        """,
        *scope,
    )
    if row is None:  # purged between the two statements
        raise Conflict("This key was just retired; use another.", code="idempotency_key_retired")
    if row["body_sha256"] != digest:
        raise Invalid("This key was used with another body.", code="idempotency_key_reused")
    response = _answer(row["status"], row["body"])
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _answer(status: int, body: bytes) -> Response[Any]:
    return Response(body, status_code=status, media_type="application/json")
