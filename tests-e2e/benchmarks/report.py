"""How a benchmark prints: medians with min-max over interleaved rounds, and ratios taken inside each round."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Round:
    """One measurement: how many a second, and how long one took."""

    per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass
class Series:
    """All rounds of one contestant."""

    name: str
    unit: str
    rounds: list[Round] = field(default_factory=list)

    def line(self) -> str:
        """The contestant's row of the table."""
        rates = [one.per_s for one in self.rounds]
        row = f"  {self.name:<34}{median(rates):>10,.0f} {self.unit:<8}[{min(rates):,.0f}-{max(rates):,.0f}]"
        p50 = [one.p50_ms for one in self.rounds if one.p50_ms is not None]
        p99 = [one.p99_ms for one in self.rounds if one.p99_ms is not None]
        if p50 and p99:
            row = f"{row:<76}p50 {median(p50):6.2f} ms   p99 {median(p99):6.2f} ms [{min(p99):.2f}-{max(p99):.2f}]"
        return row


@dataclass(frozen=True)
class Ratio:
    """How one contestant stands to another; each round is divided by its own neighbour, so that noise cancels."""

    name: str
    ours: Series
    peer: Series
    at_least: float | None = None

    @property
    def value(self) -> float:
        """The median over rounds."""
        return median(self._each())

    @property
    def reached(self) -> bool:
        """Whether the target, if there is one, is met."""
        return self.at_least is None or self.value >= self.at_least

    def line(self) -> str:
        """The ratio's row of the table."""
        each = list(self._each())
        row = f"  {self.name:<44}{self.value:>6.2f}x [{min(each):.2f}-{max(each):.2f}]"
        if self.at_least is None:
            return row
        return f"{row:<76}target >= {self.at_least:.2f}x   {'reached' if self.reached else 'BELOW'}"

    def _each(self) -> Iterator[float]:
        return (ours.per_s / peer.per_s for ours, peer in zip(self.ours.rounds, self.peer.rounds, strict=True))


@dataclass(frozen=True)
class Figure:
    """A single number with the bar it stands against."""

    name: str
    value: float
    unit: str
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the bar, if there is one, is kept."""
        return self.at_most is None or self.value <= self.at_most

    def line(self) -> str:
        """The figure's row of the table."""
        row = f"  {self.name:<66}{self.value:>8,.1f} {self.unit}"
        if self.at_most is None:
            return row
        return f"{row:<84}target <= {self.at_most:g} {self.unit}   {'reached' if self.reached else 'ABOVE'}"


@dataclass(frozen=True)
class Section:
    """One part of the printed table."""

    title: str
    series: Sequence[Series] = ()
    ratios: Sequence[Ratio] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()

    @property
    def reached(self) -> bool:
        """Whether every target of this part is met."""
        return all(one.reached for one in self.ratios) and all(one.reached for one in self.figures)

    def show(self) -> None:
        """Print it."""
        print(f"\n{self.title}")
        lines = [one.line() for one in self.series]
        lines += [one.line() for one in self.ratios]
        lines += [one.line() for one in self.figures]
        print("\n".join(lines))
        for note in self.notes:
            print(f"  ({note})")
        print(flush=True)


def interleave(contestants: Sequence[tuple[Series, Callable[[], Round]]], *, rounds: int) -> None:
    """Measure A B C, A B C, ...: what disturbs the machine for a while disturbs every contestant."""
    for number in range(rounds):
        for series, measure in contestants:
            series.rounds.append(measure())
            rate = f"{series.rounds[-1].per_s:>10,.0f} {series.unit}"
            print(f"  round {number + 1}/{rounds}  {series.name:<34}{rate}", flush=True)
