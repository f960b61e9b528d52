"""Failpoints fire as told, in real processes, and the same seed gives the same schedule."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from testkit.failpoints import FailpointHit, Failpoints, parse

HIT_TEN_TIMES = """
import os
from bus.failpoints import failpoint
from testkit.failpoints import install_failpoints
install_failpoints(os.environ)
for number in range(10):
    print(number, flush=True)
    failpoint("relay.after_mark")
"""


def _run(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIT_TEN_TIMES], env=env, capture_output=True, text=True, check=False)


def test_nothing_is_armed_without_the_variable() -> None:
    done = _run({})
    assert (done.returncode, len(done.stdout.split())) == (0, 10)


def test_kill_is_sigkill_at_the_nth_hit() -> None:
    done = _run({"FAILPOINTS": "relay.after_mark=kill@#3"})
    assert (done.returncode, done.stdout.split()) == (-9, ["0", "1", "2"])


def test_a_limit_holds_over_restarts_and_a_restart_gets_further(tmp_path: Path) -> None:
    env = {"FAILPOINTS": "relay.*=kill@0.5x3", "FAILPOINTS_SEED": "4", "FAILPOINTS_LOG": str(tmp_path / "log")}
    codes = [_run(env).returncode for _ in range(5)]
    assert codes == [-9, -9, -9, 0, 0]
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_the_same_seed_gives_the_same_schedule() -> None:
    def schedule(seed: str) -> list[bool]:
        points = Failpoints(parse("a=raise@0.3"), seed=seed)
        fired = []
        for _ in range(50):
            try:
                points.hit("a")
            except FailpointHit:
                fired.append(True)
            else:
                fired.append(False)
        return fired

    assert schedule("1") == schedule("1") != schedule("2")


def test_sleep_stops_the_process_for_a_while() -> None:
    points = Failpoints(parse("a=sleep(0.2)@#1"))
    moments = [time.monotonic()]
    for _ in range(2):
        points.hit("a")
        moments.append(time.monotonic())
    assert moments[1] - moments[0] >= 0.2 > moments[2] - moments[1]


@pytest.mark.parametrize("wrong", ["a", "a=explode", "a=kill@often", "a=sleep"])
def test_what_is_no_failpoint_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a failpoint"):
        parse(wrong)
