"""The oracle of the fault tests: what was attempted, what was acknowledged, what took effect, and the verdict on it.

Append-only and fsynced, so that it survives the processes whose work it judges; several processes may each keep one.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self


class Fact(StrEnum):
    """What can be known of one id."""

    ATTEMPTED = "attempted"
    ACKNOWLEDGED = "acknowledged"
    EFFECT = "effect"


@dataclass(frozen=True)
class Verdict:
    """Each set must be empty. An attempt that was not acknowledged may have taken effect once, never twice."""

    attempted: int
    acknowledged: int
    effects: int
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.duplicated or self.unexpected)


class Ledger:
    """Writes facts to one file, each on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def attempted(self, *ids: str) -> None:
        """To be called before the request leaves."""
        self._append(Fact.ATTEMPTED, ids)

    def acknowledged(self, *ids: str) -> None:
        """To be called when the answer said that it is done."""
        self._append(Fact.ACKNOWLEDGED, ids)

    def effect(self, *ids: str) -> None:
        """To be called by whoever sees the effect, each time it happens."""
        self._append(Fact.EFFECT, ids)

    def close(self) -> None:
        """Close the file; the facts are there already."""
        os.close(self._fd)

    def _append(self, fact: Fact, ids: Iterable[str]) -> None:
        lines = "".join(json.dumps([fact.value, one]) + "\n" for one in ids)
        os.write(self._fd, lines.encode())
        os.fsync(self._fd)


def read_facts(*paths: Path) -> dict[Fact, list[str]]:
    """The ids of each fact over all files, in the order written; a torn last line is left out."""
    facts: dict[Fact, list[str]] = {fact: [] for fact in Fact}
    for path in paths:
        *whole, _torn = path.read_text().split("\n")
        for line in whole:
            fact, one = json.loads(line)
            facts[Fact(fact)].append(one)
    return facts


def judge(attempted: Iterable[str], acknowledged: Iterable[str], effects: Iterable[str]) -> Verdict:
    """The verdict after everything has come to rest: outboxes empty, queues empty."""
    tried, sure, counted = set(attempted), set(acknowledged), Counter(effects)
    return Verdict(
        attempted=len(tried),
        acknowledged=len(sure),
        effects=counted.total(),
        lost=tuple(sorted(sure - counted.keys())),
        duplicated=tuple(sorted(one for one, times in counted.items() if times > 1)),
        unexpected=tuple(sorted(counted.keys() - tried)),
    )


def judge_files(*paths: Path) -> Verdict:
    """The verdict over ledgers on disk."""
    facts = read_facts(*paths)
    return judge(facts[Fact.ATTEMPTED], facts[Fact.ACKNOWLEDGED], facts[Fact.EFFECT])
