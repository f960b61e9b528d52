"""The delivery log over HTTP: read only; mails come by the queue."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from chassis.db import Database, transaction
from chassis.identity import Identity, requires, tenant_of
from chassis.moments import in_utc
from mailer import store
from mailer.api.pages import Cursor, Limit, Page, page_of, start_of
from mailer.domain.emails import Email, Filter, Status


@get("/emails", guards=[requires("emails:read")])
async def list_emails(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    status: FromQuery[Status | None] = None,
    to: Annotated[str | None, QueryParameter(min_length=1, max_length=320)] = None,
    template: Annotated[str | None, QueryParameter(min_length=1, max_length=200)] = None,
    since: FromQuery[datetime | None] = None,
    until: FromQuery[datetime | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Email]:
    """The delivery log, newest first, perhaps narrowed; secret variables are masked. Times without zone are UTC."""
    tenant_id = tenant_of(identity)
    wanted = Filter(status=status, to_email=to, template=template, since=in_utc(since), until=in_utc(until))
    async with transaction(db, tenant_id) as conn:
        rows = await store.emails.list_emails(conn, tenant_id, wanted, before=start_of(cursor), limit=limit + 1)
    return page_of(rows, rows, limit)


@get("/emails/{email_id:uuid}", guards=[requires("emails:read")])
async def get_email(
    db: NamedDependency[Database], identity: NamedDependency[Identity], email_id: FromPath[UUID]
) -> Email:
    """One mail of the delivery log."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        return await store.emails.get_email(conn, tenant_id, email_id)


ROUTES = [list_emails, get_email]
