"""One try of one mail: its message built, handed to its server, and the answer read."""

import random
import time

from chassis.clock import Clock
from contracts.errors import Invalid
from mailer.domain.addresses import Address
from mailer.domain.emails import SENT, Ending, bounced, deferred, failed
from mailer.domain.lanes import Lane
from mailer.domain.mime import build_message
from mailer.domain.smtp_answers import masked
from mailer.renderer import Rendered
from mailer.smtp import SmtpBounced, SmtpDeferred, SmtpPool, SmtpUnreachable
from mailer.usecases.claim_emails import Parcel


async def send_email(parcel: Parcel, rendered: Rendered, *, smtp: SmtpPool, lane: Lane, clock: Clock) -> Ending:
    """How the try ended; `lane` learns how the server did. Nothing that a template or a server does makes it raise."""
    claim, origin = parcel.claim, parcel.origin
    recipient = Address(claim.to_email, claim.to_name)
    try:
        message = build_message(
            message_id=claim.message_id,
            date=clock(),
            sender=origin.sender,
            recipients=[recipient],
            subject=rendered.subject,
            html=rendered.html,
            text=rendered.text,
        )
        await smtp.send(origin.server, origin.sender.email, [recipient.email], message)
    except Invalid as error:
        return failed(masked(error.detail, parcel.hidden))
    except SmtpBounced as refusal:
        lane.answered()
        return bounced(refusal.code or 550, masked(refusal.text, parcel.hidden), suppress=refusal.suppress)
    except SmtpDeferred as refusal:
        if isinstance(refusal, SmtpUnreachable):
            lane.was_unreachable(time.monotonic())
        else:
            lane.answered()
        draw = random.random()  # noqa: S311 - jitter
        return deferred(claim, masked(refusal.text, parcel.hidden), code=refusal.code, now=clock(), draw=draw)
    lane.answered()
    return SENT
