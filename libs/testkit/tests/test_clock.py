"""The clock stands, moves and shifts as told, also for a whole process."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from testkit.clock import MovableClock, clock_from

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_frozen_clock_moves_only_when_it_is_advanced() -> None:
    clock = MovableClock(NOON)
    assert clock() == clock() == NOON
    assert clock.advance(timedelta(hours=2)) == NOON + timedelta(hours=2) == clock()


def test_a_running_clock_runs_on_after_a_shift() -> None:
    clock = MovableClock()
    clock.advance(timedelta(days=-1))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert abs(clock() - yesterday) < timedelta(seconds=5)
    assert clock() < clock() or clock() <= clock()
    clock.freeze()
    assert clock() == clock()


def test_the_environment_describes_one() -> None:
    assert clock_from({}) is None
    clock = clock_from({"CLOCK_FREEZE": "2026-03-01T09:00:00-03:00", "CLOCK_OFFSET_S": "60"})
    assert clock is not None
    assert clock() == NOON + timedelta(minutes=1)
    with pytest.raises(ValueError, match="time zone"):
        clock_from({"CLOCK_FREEZE": "2026-03-01T09:00:00"})


def test_a_whole_process_takes_its_time_from_it() -> None:
    code = (
        "import os; from testkit.clock import install_clock; install_clock(os.environ);"
        "from inspect import signature; from chassis.app import create_app;"
        "print(signature(create_app).parameters['clock'].default())"
    )
    env = {"CLOCK_FREEZE": "2026-03-01T12:00:00+00:00"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(NOON)
