"""A short slice of each row of the fault matrix about money; `make faults` runs them at length."""

import pytest
from faults.rows import PRODUCT_ROWS, tried
from faults.verdict import Size
from product import Product

#: Fixed, so that a red run is the same schedule again.
SEED = 20_260_101


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("row", PRODUCT_ROWS)
async def test_slice(row: str, product: Product) -> None:
    verdict = await tried(row, product.rig, Size(scale=0.001, seed=SEED, quick=True))
    assert verdict.passed, f"{verdict.trials}; lost {verdict.lost}, doubled {verdict.duplicated}; " + "; ".join(
        [*verdict.broken, *verdict.notes]
    )
