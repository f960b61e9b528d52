"""What a caller says of a server, and what the server said of a mail: plain data."""

from typing import Literal

import msgspec

from mailer.smtp.errors import Refusal

TlsMode = Literal["implicit", "starttls", "opportunistic", "none"]


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to send.

    `implicit` is TLS from the first byte (465), `starttls` insists on it, `opportunistic` takes it where it is offered.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: TlsMode = "starttls"
    verify: bool = True
    #: Named by somebody who may not make us speak to our own network: looked at again when it is connected to.
    public_only: bool = False

    def __repr__(self) -> str:
        return (
            f"SmtpServer({self.host}:{self.port}, tls={self.tls}, verify={self.verify}, user={self.user is not None})"
        )


class SmtpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on time and on connections, per server."""

    connect_s: float = 10.0
    command_s: float = 30.0
    data_s: float = 60.0
    idle_s: float = 30.0
    connections: int = 10
    mails_per_connection: int = 100
    waiting: int = 1000
    failures_to_open: int = 5
    open_s: float = 30.0
    longest_open_s: float = 300.0


class Accepted(msgspec.Struct, frozen=True):
    """The server took the message for every recipient but the refused ones."""

    response: str
    refused: tuple[Refusal, ...] = ()
