"""The life of one mail: its states, what may follow which, and when a try is repeated."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from contracts.mailer import EmailBounced, EmailDeferred, EmailEvent, EmailFailed, EmailSent, EmailSuppressed
from mailer.domain.smtp_answers import next_try_at, shown_text

#: A mail that was claimed this often in a row without an end is taken to be what kills the process.
MAX_LOST_CLAIMS: Final = 10


class Status(StrEnum):
    """Where a mail stands; the README draws the arrows."""

    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    SENT = "sent"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    FAILED = "failed"


_MIN_HIDDEN_CHARS: Final = 4  # shorter ones would blank out ordinary words

#: How a claim may end. Everything else about a mail that waits is the queue's business, not the domain's.
ENDINGS: Final = frozenset({Status.SENT, Status.DEFERRED, Status.BOUNCED, Status.SUPPRESSED, Status.FAILED})


class NewMail(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient's mail as a job asks for it; `variables` is a JSON object in which secrets are masked."""

    id: UUID
    tenant_id: UUID
    to_email: str
    to_name: str | None
    template: str
    locale: str | None
    variables: str
    secret_variables: bytes | None
    message_id: str
    job_id: str | None
    traceparent: str | None
    created_at: datetime


class Email(msgspec.Struct, frozen=True, kw_only=True):
    """One mail as the delivery log shows it."""

    id: UUID
    tenant_id: UUID
    status: Status
    to_email: str
    to_name: str | None
    template: str
    locale: str | None
    variables: dict[str, Any]
    message_id: str
    attempts: int
    due_at: datetime | None
    smtp_code: int | None
    reason: str | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which mails of the log are wanted; None means any."""

    status: Status | None = None
    to_email: str | None = None
    template: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One mail that this process may try now: until its lease ends and nobody with a higher fence has come."""

    id: UUID
    tenant_id: UUID
    lane: UUID
    to_email: str
    to_name: str | None
    template: str
    locale: str | None
    variables: str
    secret_variables: bytes | None
    message_id: str
    job_id: str | None
    traceparent: str | None
    attempts: int
    lost_claims: int
    fence: int
    created_at: datetime


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a claim ended. `attempted` is false when no server was asked; only a deferral has `retry_after_s`.

    `suppress` says that the recipient is not to be written to again.

    Raises ValueError for an ending that the table's CHECKs would refuse.
    """

    status: Status
    attempted: bool = True
    smtp_code: int | None = None
    reason: str | None = None
    retry_after_s: float | None = None
    suppress: bool = False

    def __post_init__(self) -> None:
        if self.status not in ENDINGS:
            raise ValueError(f"{self.status} is not an ending")
        if (self.status is Status.DEFERRED) != (self.retry_after_s is not None):
            raise ValueError("a deferral, and nothing else, has a next try")
        if (self.status is Status.SENT) != (self.reason is None):
            raise ValueError("what is not sent says why")
        if self.status is Status.BOUNCED and self.smtp_code is None:
            raise ValueError("a bounce is a server's answer")


SENT: Final = Ending(status=Status.SENT)


def hidden_of(to_email: str, secret: Any) -> tuple[str, ...]:
    """What no reason may hold: the recipient's address, and each text and number of the secret variables."""
    found, waiting = {to_email}, [secret]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str | int | float) and len(str(value)) >= _MIN_HIDDEN_CHARS:
            found.add(str(value))
    return tuple(sorted(found, key=len, reverse=True))  # the longer first: one may be a part of another


def bounced(code: int, text: str, *, suppress: bool) -> Ending:
    """The server refused the mail for good; `suppress` when the recipient's mailbox is the reason."""
    return Ending(status=Status.BOUNCED, smtp_code=code, reason=shown_text(text), suppress=suppress)


def failed(reason: str) -> Ending:
    """It cannot be sent, whoever the recipient is; no server was asked."""
    return Ending(status=Status.FAILED, attempted=False, reason=shown_text(reason))


def suppressed(cause: str) -> Ending:
    """The recipient is on the suppression list; no server was asked."""
    return Ending(status=Status.SUPPRESSED, attempted=False, reason=f"the address is suppressed: {cause}")


def deferred(claim: Claim, reason: str, *, code: int | None, now: datetime, draw: float) -> Ending:
    """A passing failure: tried again later, or failed once the mail is a day old. `draw` is uniform in [0, 1)."""
    retry_at = next_try_at(first_tried_at=claim.created_at, now=now, attempts=claim.attempts + 1, draw=draw)
    if retry_at is None:
        return Ending(status=Status.FAILED, smtp_code=code, reason=f"given up after a day: {shown_text(reason)}")
    return Ending(
        status=Status.DEFERRED,
        smtp_code=code,
        reason=shown_text(reason),
        retry_after_s=(retry_at - now).total_seconds(),
    )


def event_of(claim: Claim, ending: Ending, *, now: datetime) -> EmailEvent:
    """The event that tells a ending. It names neither the address nor a variable."""
    facts: dict[str, Any] = {
        "email_id": claim.id,
        "tenant_id": claim.tenant_id,
        "template": claim.template,
        "message_id": claim.message_id,
        "attempts": claim.attempts + ending.attempted,
        "occurred_at": now,
    }
    reason = ending.reason or ""
    match ending.status:
        case Status.SENT:
            return EmailSent(**facts)
        case Status.DEFERRED:
            assert ending.retry_after_s is not None
            retry_at = now + timedelta(seconds=ending.retry_after_s)
            return EmailDeferred(**facts, smtp_code=ending.smtp_code, reason=reason, retry_at=retry_at)
        case Status.BOUNCED:
            assert ending.smtp_code is not None
            return EmailBounced(**facts, smtp_code=ending.smtp_code, reason=reason)
        case Status.SUPPRESSED:
            return EmailSuppressed(**facts, reason=reason)
        case _:
            return EmailFailed(**facts, reason=reason)
