"""Seed 002's contact form: a visitor's message becomes a mail to the operator."""

from typing import Annotated, Final

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing.api.seed_errors import seed_errors
from billing.domain.addresses import read_email, read_name
from billing.domain.selling import SellingTerms
from billing.usecases.pass_message_on import Message, pass_message_on
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database
from chassis.idempotency import once
from contracts.errors import Malformed
from contracts.tenancy import PLATFORM_TENANT_ID


class MessageData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who writes, and what; all but `phone` is needed."""

    name: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    email: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    message: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None


class MessageTaken(msgspec.Struct, frozen=True, kw_only=True):
    """That it is on its way."""

    success: bool
    message: str


@post("/contact", status_code=200, exception_handlers=seed_errors("error"))
async def post_message(
    data: JSONBody[MessageData],
    request: StrictRequest,
    db: NamedDependency[Database],
    terms: NamedDependency[SellingTerms],
    clock: NamedDependency[Clock],
) -> Response[MessageTaken]:
    """Passes a message on to the operator. An Idempotency-Key passes it on once."""
    name = read_name(data.name, field="$.name")
    text = (data.message or "").strip()
    if name is None or not data.email or not text:
        raise Malformed("Missing required fields", code="missing_fields")
    message = Message(
        name=name,
        email=read_email(data.email, field="$.email"),
        phone=read_name(data.phone, field="$.phone"),
        text=text,
    )

    async def take(conn: Connection) -> MessageTaken:
        await pass_message_on(conn, message, to=terms.contact_email, now=clock())
        return MessageTaken(success=True, message="Email sent successfully")

    return await once(request, db, data, take, status=200, tenant_id=PLATFORM_TENANT_ID)


ROUTES: Final = [post_message]
