"""When what passes the edge stalls: a service that is away, that fails, or that takes too long. Pure figures."""

from collections import deque
from typing import Final, Literal

import msgspec

AWAY_S: Final = 300.0
WINDOW_S: Final = 300.0
ERROR_SHARE: Final = 0.05
#: Of fewer answers no share can be told.
ENOUGH: Final = 20
SLOW_S: Final = 5.0


class Figures(msgspec.Struct, frozen=True):
    """What a service answered since the process began: how many answers, errors of ours, and those over SLOW_S."""

    answers: int
    errors: int
    slow: int


class Stall(msgspec.Struct, frozen=True):
    """What an administrator has to know of a service."""

    service: str
    kind: Literal["away", "errors", "slow"]
    message: str


class Stalls:
    """Looked at now and then; a stall is told as long as it lasts."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, Figures]]] = {}
        self._there_at: dict[str, float] = {}

    def note(self, service: str, figures: Figures, now_s: float, *, is_there: bool) -> list[Stall]:
        """Takes in how the service stands; what of it has stalled in the last WINDOW_S."""
        if is_there or service not in self._there_at:
            self._there_at[service] = now_s
        seen = self._seen.setdefault(service, deque())
        seen.append((now_s, figures))
        while len(seen) > 1 and seen[1][0] <= now_s - WINDOW_S:
            seen.popleft()
        before = seen[0][1]
        answers, errors = figures.answers - before.answers, figures.errors - before.errors
        slow, away_s = figures.slow - before.slow, now_s - self._there_at[service]
        found: list[Stall] = []
        if away_s >= AWAY_S:
            found.append(Stall(service, "away", f"não responde há {int(away_s // 60)} min"))
        if answers >= ENOUGH and errors > answers * ERROR_SHARE:
            found.append(Stall(service, "errors", f"{errors} de {answers} respostas foram erros em 5 min"))
        if slow:
            found.append(Stall(service, "slow", f"{slow} de {answers} respostas levaram mais de 5 s em 5 min"))
        return found
