"""A short slice of each row of the fault matrix about mail and the bus; `make faults` runs them at length."""

import pytest
from faults.rig import Rig
from faults.rows import RIG_ROWS, tried
from faults.verdict import Size

#: Fixed, so that a red run is the same schedule again.
SEED = 20_260_101


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("row", RIG_ROWS)
async def test_slice(row: str, rig: Rig) -> None:
    verdict = await tried(row, rig, Size(scale=0.001, seed=SEED, quick=True))
    assert verdict.passed, f"{verdict.trials}; lost {verdict.lost}, doubled {verdict.duplicated}; " + "; ".join(
        [*verdict.broken, *verdict.notes]
    )
