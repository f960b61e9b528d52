"""What the mailer hears and says: mail jobs in, delivery events and audit records out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from contracts.audit import AuditRecord
from contracts.event import Event
from contracts.privacy import PrivacyErased, PrivacyExported

#: The durable queue, on the default exchange, that the Go core and every service publish mail jobs to.
MAIL_QUEUE = "mail_queue"


class MailRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """One mailbox, with the name to show beside it."""

    email: str
    name: str | None = None


class MailJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The canonical mail job. `template` is a slug; `tenant_id` is absent for platform mail.

    Its identity is `idempotency_key`, else the AMQP message_id: the same identity is sent once.
    """

    to: str | MailRecipient | list[str | MailRecipient]
    template: str
    variables: dict[str, Any] = {}
    tenant_id: UUID | None = None
    locale: str | None = None
    idempotency_key: str | None = None


class EmailEvent(Event, frozen=True, kw_only=True):
    """What all delivery events carry. Addresses are not in events: `email_id` finds them, for who may read them."""

    email_id: UUID
    tenant_id: UUID
    template: str
    message_id: str
    attempts: int
    occurred_at: datetime


class EmailSent(EmailEvent, frozen=True, kw_only=True, tag="mailer.email.sent.v1"):
    """The SMTP server accepted the message for every recipient."""


class EmailDeferred(EmailEvent, frozen=True, kw_only=True, tag="mailer.email.deferred.v1"):
    """A passing failure; the next try is not before `retry_at`."""

    smtp_code: int | None
    reason: str
    retry_at: datetime


class EmailBounced(EmailEvent, frozen=True, kw_only=True, tag="mailer.email.bounced.v1"):
    """The server refused the recipient for good (5xx); the address is now suppressed."""

    smtp_code: int
    reason: str


class EmailFailed(EmailEvent, frozen=True, kw_only=True, tag="mailer.email.failed.v1"):
    """It cannot be sent: no template or settings, a rendering error, or 24 h of deferrals."""

    reason: str


class EmailSuppressed(EmailEvent, frozen=True, kw_only=True, tag="mailer.email.suppressed.v1"):
    """Not tried: every recipient is on the suppression list."""

    reason: str


class DataErased(PrivacyErased, frozen=True, kw_only=True, tag="mailer.privacy.erased.v1"):
    """The mailer's part of an erasure is done."""


class DataExported(PrivacyExported, frozen=True, kw_only=True, tag="mailer.privacy.exported.v1"):
    """The mailer's part of an export."""


class AuditRecorded(AuditRecord, frozen=True, kw_only=True, tag="mailer.audit.recorded.v1"):
    """Something worth a record was done in the mailer."""


EVENTS: tuple[type[Event], ...] = (
    EmailSent,
    EmailDeferred,
    EmailBounced,
    EmailFailed,
    EmailSuppressed,
    DataErased,
    DataExported,
    AuditRecorded,
)
