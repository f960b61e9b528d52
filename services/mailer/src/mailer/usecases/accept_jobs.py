"""Takes mail jobs off `mail_queue`: each job once, a queued mail per recipient, its secrets sealed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from bus.inbox import first_times
from bus.messages import Incoming
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid
from contracts.mailer import MAIL_QUEUE
from mailer import store
from mailer.domain.email_settings import MASK
from mailer.domain.email_templates import TemplateChoice, TemplateIndex
from mailer.domain.emails import NewMail
from mailer.domain.identifiers import new_id
from mailer.domain.jobs import Job, decode_job
from mailer.domain.mime import message_id


async def accept_jobs(
    conn: Connection,
    messages: Sequence[Incoming],
    *,
    box: SecretBox,
    now: datetime,
    default_locale: str,
    message_id_domain: str,
) -> int:
    """Queues the mails of all these jobs, in the caller's platform transaction; returns how many mails are new.

    The template has to be there: it says which variables are secret, and nothing is stored before that is known.

    Raises Malformed, TooLarge or Invalid for the first job that cannot be accepted; then the caller commits none.
    """
    jobs = [decode_job(message.body) for message in messages]
    choices = await store.email_templates.list_choices(
        conn, list({job.tenant_id for job in jobs}), list({job.template for job in jobs})
    )
    index = TemplateIndex(choices, default_locale)
    identities = [job.identity(message.message_id) for job, message in zip(jobs, messages, strict=True)]
    new = await first_times(conn, MAIL_QUEUE, [identity for identity in identities if identity is not None])
    mails: list[NewMail] = []
    for job, message, identity in zip(jobs, messages, identities, strict=True):
        template = index.choose(job.tenant_id, job.template, job.locale)
        if template is None:
            raise _unknown_template(job)
        if identity is not None and identity not in new:
            continue
        new.discard(identity or "")  # the same job twice in one batch is one job
        mails += _mails(job, message, template, box=box, now=now, domain=message_id_domain)
    await store.emails.insert_queued(conn, mails)
    return len(mails)


def _mails(
    job: Job, message: Incoming, template: TemplateChoice, *, box: SecretBox, now: datetime, domain: str
) -> list[NewMail]:
    secrets = {name: job.variables[name] for name in template.secret_names if name in job.variables}
    shown = msgspec.json.encode(job.variables | dict.fromkeys(secrets, MASK)).decode()
    traceparent = message.headers.get("traceparent")
    mails = []
    for recipient in job.recipients:
        mail_id = new_id(now)
        mails.append(
            NewMail(
                id=mail_id,
                tenant_id=job.tenant_id,
                to_email=recipient.email,
                to_name=recipient.name,
                template=job.template,
                locale=job.locale,
                variables=shown,
                secret_variables=_sealed(box, secrets, job.tenant_id, mail_id),
                message_id=message_id(mail_id, domain),
                job_id=message.message_id,
                traceparent=traceparent if isinstance(traceparent, str) else None,
                created_at=now,
            )
        )
    return mails


def _sealed(box: SecretBox, secrets: dict[str, Any], tenant_id: UUID, mail_id: UUID) -> bytes | None:
    return box.seal(msgspec.json.encode(secrets).decode(), tenant_id, "emails", mail_id) if secrets else None


def _unknown_template(job: Job) -> Invalid:
    message = f"there is no template {job.template!r} for tenant {job.tenant_id}, nor of the platform"
    return Invalid(message, code="unknown_template", errors=[FieldError("$.template", message)])
