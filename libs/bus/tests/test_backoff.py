"""Waiting times stay within their bounds and do not bunch together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.backoff import full_jitter

seconds = st.floats(min_value=0.001, max_value=10_000)


@given(attempt=st.integers(0, 10**9), base_s=seconds, cap_s=seconds)
def test_a_wait_is_never_negative_nor_over_its_cap(attempt: int, base_s: float, cap_s: float) -> None:
    wait_s = full_jitter(attempt, base_s=base_s, cap_s=cap_s)
    assert 0 <= wait_s <= cap_s
    if attempt < 60:
        assert wait_s <= base_s * 2**attempt


def test_waits_are_spread_over_the_whole_range() -> None:
    waits = [full_jitter(10, base_s=1, cap_s=60) for _ in range(2000)]
    for start in range(0, 60, 6):
        assert 100 < sum(start <= wait < start + 6 for wait in waits) < 300


def test_attempts_count_from_nought() -> None:
    with pytest.raises(ValueError, match="from 0"):
        full_jitter(-1, base_s=1, cap_s=1)
