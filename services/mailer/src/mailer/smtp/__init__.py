"""Delivery over SMTP: connections reused per server, answers classed, a dead server cut off before it slows others."""

from mailer.smtp.errors import (
    Refusal,
    SmtpBounced,
    SmtpDeferred,
    SmtpFailure,
    SmtpMisconfigured,
    SmtpUnknown,
    SmtpUnreachable,
)
from mailer.smtp.pool import SmtpPool
from mailer.smtp.server import Accepted, SmtpLimits, SmtpServer, TlsMode

__all__ = [
    "Accepted",
    "Refusal",
    "SmtpBounced",
    "SmtpDeferred",
    "SmtpFailure",
    "SmtpLimits",
    "SmtpMisconfigured",
    "SmtpPool",
    "SmtpServer",
    "SmtpUnknown",
    "SmtpUnreachable",
    "TlsMode",
]
