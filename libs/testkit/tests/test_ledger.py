"""The oracle finds exactly what was lost, doubled or made up."""

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from testkit.ledger import Ledger, judge, judge_files


def test_each_fault_has_its_name() -> None:
    verdict = judge(["a", "b", "c", "d"], ["a", "b"], ["b", "c", "c", "x"])
    assert (verdict.lost, verdict.duplicated, verdict.unexpected) == (("a",), ("c",), ("x",))
    assert not verdict.holds


def test_an_unacknowledged_attempt_may_take_effect_once_or_never() -> None:
    assert judge(["a", "b", "c"], ["a"], ["a", "b"]).holds


@given(st.sets(st.text(min_size=1, max_size=5), min_size=1), st.data())
def test_one_fault_in_a_perfect_run_is_found(ids: set[str], data: st.DataObject) -> None:
    assert judge(ids, ids, ids).holds
    victim = data.draw(st.sampled_from(sorted(ids)))
    assert judge(ids, ids, ids - {victim}).lost == (victim,)
    assert judge(ids, ids, [*ids, victim]).duplicated == (victim,)
    assert judge(ids - {victim}, ids - {victim}, ids).unexpected == (victim,)


def test_facts_survive_the_process_that_wrote_them(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, signal
from testkit.ledger import Ledger
ledger = Ledger(pathlib.Path({str(tmp_path / "a")!r}))
ledger.attempted("é 1", "2"); ledger.acknowledged("é 1")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with Ledger(tmp_path / "b") as effects:
        effects.effect("é 1")
    with (tmp_path / "b").open("a") as file:
        file.write('["effect", "torn')
    verdict = judge_files(tmp_path / "a", tmp_path / "b")
    assert verdict.holds
    assert (verdict.attempted, verdict.acknowledged, verdict.effects) == (2, 1, 1)
