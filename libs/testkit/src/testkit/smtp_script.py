"""What a scripted SMTP server can be told to do at each phase of a session, and ready-made scripts of real failures.

A script is a function from (session, phase) to what to do there; None means: as a healthy server would.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """Where in a session the server is about to answer."""

    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    ACCEPTED = "accepted"  # The message is in the ledger, the client does not know yet.
    QUIT = "quit"


@dataclass(frozen=True)
class Reply:
    """Answer with this code, after `delay_s`; `then_close` hangs up after it."""

    code: int
    text: str = "scripted"
    delay_s: float = 0.0
    then_close: bool = False


@dataclass(frozen=True)
class Delay:
    """Wait, then go on as a healthy server would."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Never answer; the connection stays open until the client gives up."""


@dataclass(frozen=True)
class Reset:
    """End the connection with a TCP reset, instead of an answer or (`after_reply`) right behind it."""

    after_reply: bool = False


Action = Reply | Delay | Hang | Reset


@dataclass
class Session:
    """One client's connection, as a script sees it."""

    peer: str
    number: int
    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    argument: str = ""
    user: str | None = None
    password: str | None = None
    tls: bool = False


Script = Callable[[Session, Phase], Action | None]


def healthy(session: Session, phase: Phase) -> None:
    """Accepts everything."""


def at(actions: Mapping[Phase, Action]) -> Script:
    """The same action at each of these phases, always."""
    return lambda session, phase: actions.get(phase)


def refuses(phase: Phase, code: int, text: str = "scripted refusal") -> Script:
    """Answers `code` at `phase`."""
    return at({phase: Reply(code, text)})


def shuts_down(phase: Phase = Phase.MAIL) -> Script:
    """421 and hangs up, as a server that is being restarted."""
    return at({phase: Reply(421, "4.3.2 shutting down", then_close=True)})


def hangs_in_data() -> Script:
    """Takes the message and never answers: the client cannot know whether it was accepted. It was not."""
    return at({Phase.BODY: Hang()})


def resets_after_accept() -> Script:
    """Accepts, says 250 and resets the connection right behind it."""
    return at({Phase.ACCEPTED: Reset(after_reply=True)})


def loses_its_250() -> Script:
    """Accepts and resets the connection before the 250 is out: the one unavoidable window of SMTP."""
    return at({Phase.ACCEPTED: Reset()})


def fails_tls() -> Script:
    """Offers STARTTLS and then speaks something else."""
    return at({Phase.HANDSHAKE: Reply(554, "5.7.0 no TLS today", then_close=True)})


def slow_banner(seconds: float) -> Script:
    """Lets a client wait for the greeting, as servers do that fend off spam."""
    return at({Phase.BANNER: Delay(seconds)})


def greylists(tries: int = 1) -> Script:
    """450 for the first `tries` attempts of a sender to a recipient, then accepts."""
    seen: dict[tuple[str, str], int] = {}

    def script(session: Session, phase: Phase) -> Action | None:
        if phase is not Phase.RCPT:
            return None
        pair = (session.sender, session.argument)
        seen[pair] = seen.get(pair, 0) + 1
        return Reply(450, "4.2.0 greylisted, try again later") if seen[pair] <= tries else None

    return script
