"""Passes what a visitor of the site wrote on to the operator, as a mail."""

from datetime import datetime

import msgspec

from billing.domain.identifiers import new_id
from billing.usecases.queue_mail import queue_mail
from chassis.db import Connection
from contracts.errors import Unavailable


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor wrote. `email` and `name` are checked; `phone` and `text` are as they came."""

    name: str
    email: str
    phone: str | None
    text: str


async def pass_message_on(conn: Connection, message: Message, *, to: str | None, now: datetime) -> None:
    """The mail leaves when the transaction commits. Nothing of the message gets into a header but the name.

    Raises Unavailable where the operator has given no address (CONTACT_EMAIL).
    """
    if to is None:
        raise Unavailable("Nobody reads messages here yet.", code="contact_not_configured", retry_after_s=3600)
    message_id = new_id(now)
    await queue_mail(
        conn,
        "contact_message",
        to,
        {"name": message.name, "email": message.email, "phone": message.phone or "", "message": message.text},
        tenant_id=None,
        about=message_id,
        key=f"billing-contact-{message_id}",
    )
