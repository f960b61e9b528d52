"""Makes named places in the product kill, raise or sleep: seeded, counted, and only in processes started by testkit.

FAILPOINTS="relay.after_confirm_before_mark=kill@0.02;consumer.*=sleep(0.5)@#3;outbox.after_insert=raise@0.1x25"

name      as in the code; `*` and `?` match
action    kill (SIGKILL to this process), raise, sleep(seconds)
trigger   a probability (0.02) or the nth hit in this process (#3); without one: every hit
xN        at most N times, over all restarts where FAILPOINTS_LOG is set

FAILPOINTS_SEED repeats a schedule. FAILPOINTS_LOG is a file to which each firing is appended before it happens; a
restarted process draws other numbers than the one before, or it would die at the same hit for ever.
"""

import fnmatch
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bus.failpoints

_RULE = re.compile(
    r"(?P<name>[\w.*?-]+)=(?P<action>kill|raise|sleep\((?P<sleep_s>[\d.]+)\))"
    r"(?:@(?:#(?P<nth>\d+)|(?P<probability>[\d.]+)))?(?:x(?P<limit>\d+))?"
)


class FailpointHit(Exception):
    """A failpoint's `raise`: an error that the product cannot have foreseen."""


@dataclass(frozen=True)
class Rule:
    """One entry of FAILPOINTS."""

    name: str
    action: str
    sleep_s: float = 0.0
    nth: int | None = None
    probability: float = 1.0
    limit: int | None = None


def parse(text: str) -> list[Rule]:
    """The rules that FAILPOINTS names. Raises: ValueError quoting the entry that is none."""
    rules = []
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        match = _RULE.fullmatch(entry)
        if match is None:
            raise ValueError(f"not a failpoint: {entry!r}; expected name=kill|raise|sleep(s)[@probability|@#n][xN]")
        found = match.groupdict()
        rules.append(
            Rule(
                found["name"],
                found["action"].partition("(")[0],
                float(found["sleep_s"] or 0),
                int(found["nth"]) if found["nth"] else None,
                float(found["probability"] or 1),
                int(found["limit"]) if found["limit"] else None,
            )
        )
    return rules


class Failpoints:
    """Decides at each hit; one per process."""

    def __init__(self, rules: list[Rule], *, seed: str = "0", log: Path | None = None) -> None:
        self._rules = rules
        self._log = log
        fired = log.read_text().splitlines() if log is not None and log.exists() else []
        self._fired = Counter(line.split()[0] for line in fired)
        self._hits: Counter[str] = Counter()
        self._draws = {rule: random.Random(f"{seed}:{len(fired)}:{rule.name}") for rule in rules}

    def hit(self, name: str) -> None:
        """Called by the product at the place `name`. Raises: FailpointHit where a rule says so."""
        self._hits[name] += 1
        for rule in self._rules:
            if fnmatch.fnmatchcase(name, rule.name) and self._fires(rule, name):
                self._fire(rule, name)

    def _fires(self, rule: Rule, name: str) -> bool:
        if rule.limit is not None and self._fired[rule.name] >= rule.limit:
            return False
        if rule.nth is not None:
            return self._hits[name] == rule.nth
        return self._draws[rule].random() < rule.probability

    def _fire(self, rule: Rule, name: str) -> None:
        self._fired[rule.name] += 1
        if self._log is not None:
            # One write of one line: whole in the page cache, which survives SIGKILL.
            with self._log.open("a") as file:
                file.write(f"{rule.name} {name} {rule.action} {os.getpid()}\n")
        if rule.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if rule.action == "sleep":
            time.sleep(rule.sleep_s)  # Blocks the whole process, as a stopped one would be.
        if rule.action == "raise":
            raise FailpointHit(name)


def install_failpoints(env: Mapping[str, str]) -> Failpoints | None:
    """Arm the product's failpoints as the environment says; None (and nothing armed) without FAILPOINTS."""
    if not (text := env.get("FAILPOINTS")):
        return None
    log = env.get("FAILPOINTS_LOG")
    armed = Failpoints(parse(text), seed=env.get("FAILPOINTS_SEED", "0"), log=Path(log) if log else None)
    bus.failpoints.hit = armed.hit
    return armed
