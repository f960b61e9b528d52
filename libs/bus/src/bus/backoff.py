"""How long to wait before the next try: full jitter, so that many waiters do not return at once."""

import random


def full_jitter(attempt: int, *, base_s: float, cap_s: float) -> float:
    """A random wait in `[0, min(cap_s, base_s * 2**attempt)]` before try number `attempt` + 1.

    Raises ValueError for a negative attempt.
    """
    if attempt < 0:
        raise ValueError("attempt counts from 0")
    # 2**attempt of a row that failed for a year is a number that no float holds.
    return random.uniform(0.0, min(cap_s, base_s * 2.0 ** min(attempt, 64)))  # noqa: S311 - not a secret
