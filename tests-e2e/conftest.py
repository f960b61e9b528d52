"""One running product for all journeys, bad inputs and fault slices of a test run: real processes, real parts."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from testkit.embedded.session import TemporaryServers

sys.path.insert(0, str(Path(__file__).parent))

from faults.money import product_of, stop_products
from faults.rig import Rig
from product import Product


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rig(temporary_servers: TemporaryServers) -> AsyncIterator[Rig]:
    """Gateway and mailer, supervised, on a Postgres and a broker of their own that a test may torment."""
    # Short leases and drains: what a dead process held is taken over in seconds, so that slices stay short.
    product = Rig(temporary_servers.directory / "end-to-end", MAIL_LEASE_S="4", DRAIN_WAIT_S="0.6")
    try:
        await product.start()
        yield product
    finally:
        await product.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def product(rig: Rig) -> AsyncIterator[Product]:
    """Every service and the providers' fakes, with a database and a broker of their own."""
    try:
        yield await product_of(rig)
    finally:
        await stop_products()
