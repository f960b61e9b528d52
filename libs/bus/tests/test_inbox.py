"""The inbox: of everybody who brings the same message at once, one is first; a rolled back effect leaves no trace."""

import asyncio
from uuid import uuid4

from bus import deliveries
from bus.inbox import first_time, first_times

from .support import BusDatabase


async def test_one_of_many_at_once_is_first(database: BusDatabase) -> None:
    message_id = uuid4()

    async def bring() -> bool:
        async with database.transaction(message_id) as conn:
            first = await first_time(conn, "reader", message_id)
            await asyncio.sleep(0.02)
            return first

    assert sorted(await asyncio.gather(*(bring() for _ in range(8)))) == [False] * 7 + [True]


async def test_a_rolled_back_message_is_first_again_and_readers_are_apart(database: BusDatabase) -> None:
    async with database.app.acquire() as conn:
        rolled_back = conn.transaction()
        await rolled_back.start()
        assert await first_time(conn, "reader", "m")
        await rolled_back.rollback()
        assert await first_time(conn, "reader", "m")
        assert not await first_time(conn, "reader", "m")
        assert await first_time(conn, "other", "m")


async def test_of_many_only_the_new_ones_are_returned(database: BusDatabase) -> None:
    hostile = ["x" * 5000, "nul\x00", "\ud800", "line\nbreak", ""]
    async with database.app.acquire() as conn:
        assert await first_times(conn, "reader", ["a", "b", "a"]) == {"a", "b"}
        assert await first_times(conn, "reader", ["b", "c", *hostile]) == {"c", *hostile}
        assert await first_times(conn, "reader", ["a", "c", *hostile]) == set()
        assert await first_times(conn, "reader", []) == set()


async def test_a_death_is_a_holder_that_is_gone(database: BusDatabase) -> None:
    async with database.platform.acquire() as holder, database.platform.acquire() as other:
        (standing,) = (await deliveries.begin(holder, "q", [b"k", b"k"])).values()
        assert standing == deliveries.Standing(fresh=True, deaths=0)
        # In hand elsewhere: known, and no death.
        assert (await deliveries.begin(other, "q", [b"k"]))[b"k"] == deliveries.Standing(fresh=False, deaths=0)
        for deaths in (1, 2, 3):
            await other.execute("UPDATE deliveries SET holder_since = holder_since + interval '1 microsecond'")
            assert (await deliveries.begin(other, "q", [b"k"]))[b"k"].deaths == deaths
            # Put down by the death: asking again counts nothing.
            assert (await deliveries.begin(other, "q", [b"k"]))[b"k"].deaths == deaths
            await deliveries.hold(holder, "q", b"k")
        # A database that was restarted took every session with it.
        await other.execute("UPDATE deliveries SET holder_since = pg_postmaster_start_time() - interval '1 s'")
        assert (await deliveries.begin(other, "q", [b"k"]))[b"k"].deaths == 3
        await deliveries.forget(other, "q", [b"k", b"unknown"])
        assert (await deliveries.begin(other, "q", [b"k"]))[b"k"].fresh
        await other.execute("UPDATE deliveries SET started_at = now() - interval '25 hours'")
        assert await deliveries.purge(other) == 1
