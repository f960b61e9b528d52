"""Hands a mail to the mailer, with the transaction that it tells about."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from bus.outbox import enqueue
from chassis.db import Connection
from contracts.mailer import MAIL_QUEUE, MailJob, MailRecipient


async def queue_mail(
    conn: Connection,
    template: str,
    to: str | None,
    variables: Mapping[str, Any],
    *,
    name: str | None = None,
    tenant_id: UUID | None,
    about: UUID,
    key: str,
    locale: str | None = None,
) -> bool:
    """Whether there was an address to write to. `key` makes the mail one mail, whoever asks for it how often.

    `tenant_id` None is the platform's own mail: its templates, its sender. `about` is the object it tells of.
    """
    if to is None:
        return False
    job = MailJob(
        to=MailRecipient(email=to, name=name),
        template=template,
        variables=dict(variables),
        tenant_id=tenant_id,
        locale=locale,
        idempotency_key=key,
    )
    await enqueue(conn, queue=MAIL_QUEUE, body=msgspec.json.encode(job), tenant_id=tenant_id, aggregate_id=about)
    return True
