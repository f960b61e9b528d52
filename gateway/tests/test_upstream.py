"""The pool of connections to a service: what was not sent yet is not lost, and what nobody asked is no answer."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.breaker import Breaker
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.pool import Limits, Upstream

from .support import Service

POST = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def pool(service: Service) -> AsyncIterator[Upstream]:
    upstream = Upstream("x", service.url, Limits(), Breaker())
    yield upstream
    await upstream.close()


async def post(upstream: Upstream) -> UpstreamConnection:
    """The connection on which a POST was answered."""

    async def client() -> Any:
        await asyncio.sleep(60)

    return await upstream.send(POST, is_head=False, may_repeat=False, timeout_s=5, client=client)


@pytest.mark.parametrize("what", ["its end", "an answer to nothing"])
async def test_what_a_connection_says_before_the_request_is_written_costs_no_request(
    service: Service, what: str
) -> None:
    """A POST is never sent twice; one that was not sent at all goes over another connection."""
    async with pool(service) as upstream:
        first = await post(upstream)
        upstream.release(first)
        second = asyncio.create_task(post(upstream))
        await asyncio.sleep(0)
        assert first.in_use, "taken again, and its request not written yet"
        assert len(service.seen) == 1
        if what == "its end":
            first.close()
        else:
            first.data_received(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        answered = await second
        assert answered is not first
        assert answered.status == 200
        assert len(service.seen) == 2
        upstream.release(answered)


async def test_requests_of_one_turn_are_written_in_a_row(service: Service) -> None:
    """Each on a connection of its own, none before the last one has begun."""
    async with pool(service) as upstream:
        warm = await asyncio.gather(*(post(upstream) for _ in range(5)))
        for connection in warm:
            upstream.release(connection)
        seen: list[int] = []
        flush = UpstreamConnection.flush

        def counted(connection: UpstreamConnection) -> None:
            seen.append(upstream.connections[1])
            flush(connection)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(UpstreamConnection, "flush", counted)
            began = time.monotonic()
            answered = await asyncio.gather(*(post(upstream) for _ in range(5)))
        assert time.monotonic() - began < 2
        assert seen == [5] * 5
        for connection in answered:
            upstream.release(connection)
