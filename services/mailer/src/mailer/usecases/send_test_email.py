"""Tries SMTP settings by sending one fixed mail through them."""

from datetime import datetime
from typing import Literal

import msgspec

from mailer.domain.addresses import parse_recipient
from mailer.domain.identifiers import new_id
from mailer.domain.mime import build_message, message_id
from mailer.smtp import SmtpBounced, SmtpFailure, SmtpPool, SmtpUnreachable
from mailer.usecases.open_origin import Origin


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; `detail` is the server's answer, or why there was none."""

    outcome: Literal["sent", "bounced", "deferred", "unreachable"]
    smtp_code: int | None
    detail: str
    message_id: str


async def send_test_email(origin: Origin, to: str, *, smtp: SmtpPool, now: datetime) -> Trial:
    """How the server took the mail. Raises Invalid when `to` is not one address."""
    recipient = parse_recipient(to)
    mail_id = message_id(new_id(now), origin.sender.domain)
    message = build_message(
        message_id=mail_id,
        date=now,
        sender=origin.sender,
        recipients=[recipient],
        subject="Test",
        html="<p>This is a test of your e-mail settings. They work.</p>",
        text="This is a test of your e-mail settings. They work.\n",
    )
    try:
        accepted = await smtp.send(origin.server, origin.sender.email, [recipient.email], message)
    except SmtpBounced as error:
        return Trial(outcome="bounced", smtp_code=error.code, detail=error.text, message_id=mail_id)
    except SmtpUnreachable as error:
        return Trial(outcome="unreachable", smtp_code=error.code, detail=error.text, message_id=mail_id)
    except SmtpFailure as error:
        return Trial(outcome="deferred", smtp_code=error.code, detail=error.text, message_id=mail_id)
    return Trial(outcome="sent", smtp_code=250, detail=accepted.response, message_id=mail_id)
