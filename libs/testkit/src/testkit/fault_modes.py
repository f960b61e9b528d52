"""The ways in which a network can fail between two programs; testkit.fault_proxy acts them out."""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which way bytes travel through the proxy."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


@dataclass(frozen=True)
class Pass:
    """A healthy network."""


@dataclass(frozen=True)
class Latency:
    """Every chunk arrives this much later, in order."""

    delay_ms: float
    jitter_ms: float = 0.0


@dataclass(frozen=True)
class Rate:
    """A thin line: so many kilobytes a second in each direction of each connection."""

    kb_per_s: float


@dataclass(frozen=True)
class Refuse:
    """Nobody listens: connecting is refused, live connections are reset."""


@dataclass(frozen=True)
class Reset:
    """Connections are accepted and reset at once; live ones are reset too."""


@dataclass(frozen=True)
class Blackhole:
    """Connections are accepted and stay silent in both directions; what is on its way waits for the end of it."""


@dataclass(frozen=True)
class HalfOpen:
    """One direction is silent, the other works."""

    direction: Direction


@dataclass(frozen=True)
class CutAfter:
    """Each connection is reset once this many bytes, both ways together, have passed under this mode."""

    size_bytes: int


@dataclass(frozen=True)
class DropReply:
    """The request reaches the server, the connection dies before its answer returns.

    With `request_has` only requests whose bytes contain it are treated so (b"COMMIT"), `times` limits how often; then,
    and for other requests, the network is healthy.
    """

    request_has: bytes = b""
    times: int | None = None


Mode = Pass | Latency | Rate | Refuse | Reset | Blackhole | HalfOpen | CutAfter | DropReply
