"""Hands a mail to the mailer, with the transaction that it tells about."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from bus.outbox import enqueue
from chassis.db import Connection
from contracts.mailer import MAIL_QUEUE, MailJob, MailRecipient
from tenants import store
from tenants.domain.emails import one_line


async def queue_mail(
    conn: Connection,
    template: str,
    to: str | None,
    variables: Mapping[str, Any],
    *,
    name: str | None = None,
    about: UUID,
    key: str,
    locale: str | None = None,
) -> bool:
    """Whether there was an address to write to. `key` makes the mail one mail, whoever asks for it how often.

    It is always the platform's mail, by its template and its server. A link in it opens an account that may belong to
    several tenants: by a tenant's own server or template, that tenant's administrator could read it. The body of one
    with a link is erased once the broker had it for a while (`erase_mailed_links`). In a platform transaction.

    Names come from payments and imports too; one that no header can hold would cost its reader the mail.
    """
    if to is None:
        return False
    job = MailJob(
        to=MailRecipient(email=to, name=one_line(name or "") or None),
        template=template,
        variables={key: one_line(value) if isinstance(value, str) else value for key, value in variables.items()},
        locale=one_line(locale or "") or None,
        idempotency_key=key,
    )
    message_id = await enqueue(
        conn, queue=MAIL_QUEUE, body=msgspec.json.encode(job), tenant_id=None, aggregate_id=about
    )
    if "link" in variables:
        await store.mailed_links.insert_mailed_link(conn, message_id)
    return True
