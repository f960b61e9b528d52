"""The suppression list over HTTP."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.doers import doer_of
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from mailer import store
from mailer.api.pages import Cursor, Limit, Page, page_of, start_of
from mailer.domain.suppressions import Suppression, normal_form
from mailer.usecases.release_address import release_address
from mailer.usecases.suppress_address import suppress_address


class NewSuppression(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address not to be written to again, and why."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=320)]
    detail: Annotated[str, msgspec.Meta(max_length=500)] | None = None


@get("/suppressions", guards=[requires("suppressions:read")])
async def list_suppressions(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    email: Annotated[str | None, QueryParameter(min_length=1, max_length=320)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Suppression]:
    """The addresses that this tenant's mails do not go to."""
    tenant_id = tenant_of(identity)
    wanted = normal_form(email) if email else None
    async with transaction(db, tenant_id) as conn:
        rows = await store.suppressions.list_suppressions(
            conn, tenant_id, email=wanted, after=start_of(cursor), limit=limit + 1
        )
    return page_of(rows, rows, limit)


@post("/suppressions", guards=[requires("suppressions:write")])
async def create_suppression(
    data: JSONBody[NewSuppression],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
) -> Response[Suppression]:
    """Adds an address by hand. The same Idempotency-Key adds it once."""
    tenant_id = tenant_of(identity)
    return await once(
        request,
        db,
        data,
        lambda conn: suppress_address(
            conn, tenant_id, email=data.email, detail=data.detail, by=doer_of(request), now=clock()
        ),
    )


@delete("/suppressions/{suppression_id:uuid}", guards=[requires("suppressions:write")])
async def delete_suppression(
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    suppression_id: FromPath[UUID],
) -> None:
    """Takes an address off the list: mails to it are tried again."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        await release_address(conn, tenant_id, suppression_id, by=doer_of(request), now=clock())


ROUTES = [list_suppressions, create_suppression, delete_suppression]
