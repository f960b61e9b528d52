"""Why a message was not accepted, and which answer of a server says so.

SmtpFailure
+-- SmtpBounced
+-- SmtpDeferred
    +-- SmtpUnreachable
    +-- SmtpMisconfigured
    +-- SmtpUnknown
"""

from collections.abc import Sequence

import msgspec

from mailer.domain.smtp_answers import Meaning, Phase, judge, shown_text


class Refusal(msgspec.Struct, frozen=True):
    """A recipient that the server did not take; `suppress` when its mailbox itself is at fault."""

    email: str
    code: int
    text: str
    bounced: bool
    suppress: bool


class SmtpFailure(Exception):
    """The message was not accepted; `text` is fit to be stored and shown."""

    def __init__(
        self, text: str, *, code: int | None = None, suppress: bool = False, refused: Sequence[Refusal] = ()
    ) -> None:
        super().__init__(text)
        self.text = shown_text(text)
        self.code = code
        self.suppress = suppress
        self.refused = tuple(refused)


class SmtpBounced(SmtpFailure):
    """Refused for good (5xx); `suppress` says whether the recipient's mailbox is why."""


class SmtpDeferred(SmtpFailure):
    """Not now: a 4xx, or one of the kinds below."""


class SmtpUnreachable(SmtpDeferred):
    """No connection, no reply in time, or the server's breaker is open."""


class SmtpMisconfigured(SmtpDeferred):
    """The server refuses our settings: user, password, TLS, or that it is a mail server at all. Somebody must look."""


class SmtpUnknown(SmtpDeferred):
    """The whole message was sent and no reply came: it may have been accepted. A repeat carries the same Message-ID."""


def failure(phase: Phase, code: int, text: str) -> SmtpFailure:
    """What an answer that refuses the whole mail, or the connection, is to be raised as."""
    verdict = judge(phase, code, text)
    shown = f"{code} {text}"
    if verdict.meaning is Meaning.BOUNCED:
        return SmtpBounced(shown, code=code, suppress=verdict.suppress)
    if verdict.meaning is Meaning.MISCONFIGURED:
        return SmtpMisconfigured(shown, code=code)
    return SmtpUnreachable(shown, code=code) if phase is Phase.CONNECT else SmtpDeferred(shown, code=code)


def refusal(email: str, code: int, text: str) -> Refusal:
    """What an answer that refuses one recipient says about it."""
    verdict = judge(Phase.RCPT, code, text)
    return Refusal(email, code, f"{code} {shown_text(text)}", verdict.meaning is Meaning.BOUNCED, verdict.suppress)


def all_refused(refused: Sequence[Refusal]) -> SmtpFailure:
    """The failure of a mail that is left without a recipient."""
    # One recipient that may still be reached keeps the mail alive; the caller sees each one's own answer.
    first = next((one for one in refused if not one.bounced), refused[0])
    kind: type[SmtpFailure] = SmtpDeferred
    if first.bounced:
        kind = SmtpBounced
    elif judge(Phase.RCPT, first.code, first.text).meaning is Meaning.MISCONFIGURED:
        kind = SmtpMisconfigured
    return kind(first.text, code=first.code, suppress=first.suppress, refused=refused)
