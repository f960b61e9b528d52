"""What an SMTP server's answer means for a mail, and when a deferred mail is tried again."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from mailer.domain.email_settings import MASK

#: After this long a mail is given up (RFC 5321 4.5.4.1 asks for days; password resets and receipts are stale in one).
GIVE_UP_AFTER = timedelta(hours=24)
_FIRST_CEILING_S = 60.0
_LAST_CEILING_S = 2 * 3600.0
_SHORTEST_S = 5.0
_MAX_TEXT = 500
_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")


class Phase(StrEnum):
    """Where in the dialogue the server answered."""

    CONNECT = "connect"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class Meaning(StrEnum):
    """What the answer asks of us."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    MISCONFIGURED = "misconfigured"
    BOUNCED = "bounced"


class Verdict(msgspec.Struct, frozen=True):
    """The meaning of an answer; `suppress` when the recipient's mailbox itself is at fault."""

    meaning: Meaning
    suppress: bool = False


def judge(phase: Phase, code: int, text: str) -> Verdict:
    """The class of one answer.

    4xx defers. 5xx bounces and suppresses the recipient, with three exceptions that would punish the wrong one: before
    MAIL it speaks about our settings (deferred, so that a corrected password delivers the mail); at MAIL about the
    sender; and an enhanced code (RFC 3463) may blame the message, its size, a policy or a full mailbox.
    Anything else (a code outside 200 to 599, nonsense) is a passing fault.
    """
    if 200 <= code < 400:
        return Verdict(Meaning.ACCEPTED)
    if phase is Phase.AUTH or code in (530, 534, 535, 538):
        return Verdict(Meaning.MISCONFIGURED)
    if not 500 <= code < 600:
        return Verdict(Meaning.DEFERRED)
    if phase in (Phase.CONNECT, Phase.TLS) or (code in (500, 501, 502, 503, 504) and phase is not Phase.RCPT):
        return Verdict(Meaning.MISCONFIGURED)
    if phase is Phase.MAIL:
        return Verdict(Meaning.BOUNCED)
    return Verdict(Meaning.BOUNCED, suppress=_mailbox_at_fault(text))


def _mailbox_at_fault(text: str) -> bool:
    enhanced = _ENHANCED.search(text)
    if enhanced is None:
        return True
    _, subject, detail = enhanced.groups()
    # X.1 address, X.2 mailbox (but not .2 full and .3 too big); X.3 to X.7: system, routing, protocol, content, policy.
    return subject in ("0", "1") or (subject == "2" and detail not in ("2", "3"))


def shown_text(text: str) -> str:
    """A server's words, fit to be stored and shown: printable, one line, bounded."""
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_TEXT])
    return " ".join(printable.split())[:_MAX_TEXT]


def masked(text: str, hidden: Iterable[str]) -> str:
    """Such words without what they quote of `hidden`, in whatever case, whole or begun where they were cut off."""
    for value in hidden:
        text = re.sub(re.escape(value), MASK, text, flags=re.IGNORECASE)
        if len(text) >= _MAX_TEXT:
            ends = (n for n in range(len(value) - 1, 0, -1) if text.lower().endswith(value[:n].lower()))
            text = text[: len(text) - next(ends, 0)]
    return text


def next_try_at(*, first_tried_at: datetime, now: datetime, attempts: int, draw: float) -> datetime | None:
    """When a deferred mail is due again, or None when its 24 hours are over.

    Full jitter: `draw`, uniform in [0, 1), times a ceiling that doubles from 1 minute to 2 hours with each of the
    `attempts` made (at least 1), and never under 5 seconds. The last try comes when the 24 hours end.
    """
    ends_at = first_tried_at + GIVE_UP_AFTER
    if now >= ends_at:
        return None
    ceiling_s = min(_LAST_CEILING_S, _FIRST_CEILING_S * 2.0 ** min(max(attempts, 1) - 1, 20))
    return min(ends_at, now + timedelta(seconds=max(_SHORTEST_S, draw * ceiling_s)))
