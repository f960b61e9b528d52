"""What a row of the matrix says after its trials, and how the table prints it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True)
class Size:
    """How much of a row's bar is tried, and the seed that its schedule is drawn from."""

    scale: float
    seed: int
    quick: bool = False

    def of(self, bar: int, *, at_least: int = 1, quick: int | None = None) -> int:
        """The scaled share of a full bar; in a quick slice the given number instead."""
        if self.quick:
            return at_least if quick is None else quick
        return max(at_least, math.ceil(bar * self.scale))

    def noise_s(self, usual: float) -> float:
        """How much of a latency is the machine's: in a quick slice other tests run beside it, only what waits tells."""
        return 5.0 if self.quick else usual

    def within_s(self, promised: float) -> float:
        """How long what is promised may take: in a quick slice three times as long, since other tests run beside it."""
        return promised * 3 if self.quick else promised

    def events(self, bar: int = 10_000, *, quick: int = 40) -> int:
        """How many events a row plays."""
        return self.of(bar, at_least=quick, quick=quick)

    def random(self, row: str) -> Random:
        """The row's own stream: it does not depend on which rows ran before."""
        return Random(f"{self.seed}/{row}")


@dataclass
class Verdict:
    """One row: what was promised, how often it was tried, what broke. Any entry in `broken` is a failure."""

    row: str
    promise: str
    trials: str
    lost: int = 0
    duplicated: int = 0
    in_window: int = 0
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def passed(self) -> bool:
        """Nothing lost, nothing doubled outside the SMTP window, nothing else broken."""
        return not (self.lost or self.duplicated or self.broken)

    def require(self, kept: bool, otherwise: str) -> None:
        """Hold the row to one more statement."""
        if not kept:
            self.broken.append(otherwise)


HEAD = ("row", "promise", "trials", "lost", "dup", "window", "verdict", "s")
WIDTHS = (4, 66, 70, 5, 4, 6, 7, 5)


def show(verdicts: Sequence[Verdict]) -> None:
    """Print the table, then what broke, then what was noted."""
    print("\n" + _line(HEAD))
    print(_line(["-" * width for width in WIDTHS]))
    for one in verdicts:
        cells = (one.row, one.promise, one.trials, one.lost, one.duplicated, one.in_window)
        print(_line([*map(str, cells), "ok" if one.passed else "FAIL", f"{one.took_s:.0f}"]))
    for one in verdicts:
        for text in one.broken:
            print(f"FAIL {one.row}: {text}")
    for one in verdicts:
        for text in one.notes:
            print(f"     {one.row}: {text}")
    print(
        "window: mails the server had accepted when the process died before it could record that; the copy carries the"
        " same Message-ID",
        flush=True,
    )


def _line(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:<{width}}"[: max(width, len(cell))] for cell, width in zip(cells, WIDTHS, strict=True))
