"""Each mode of the proxy does to a real connection what its name says, to live ones too."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from testkit.fault_modes import (
    Blackhole,
    CutAfter,
    Direction,
    DropReply,
    HalfOpen,
    Latency,
    Pass,
    Rate,
    Refuse,
    Reset,
)
from testkit.fault_proxy import FaultProxy, fault_proxy


class Echo:
    """Answers each line with itself and remembers what it was asked."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.lines.append(line)
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    yield echo, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[FaultProxy]:
    async with fault_proxy("127.0.0.1", echo[1], seed=7) as started:
        yield started


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, line: bytes, timeout_s: float = 5.0) -> bytes:
        self.writer.write(line + b"\n")
        return await asyncio.wait_for(self.reader.readline(), timeout_s)


async def connect(proxy: FaultProxy) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_a_healthy_network_passes_bytes_and_the_end_of_a_stream(proxy: FaultProxy) -> None:
    client = await connect(proxy)
    assert await client.ask(b"x" * 60_000) == b"x" * 60_000 + b"\n"
    client.writer.write_eof()
    assert await client.reader.read() == b""


async def test_latency_delays_a_stream_without_thinning_it(proxy: FaultProxy) -> None:
    client = await connect(proxy)
    await proxy.become(Latency(80, 10))
    started = time.monotonic()
    assert await client.ask(b"slow") == b"slow\n"
    assert time.monotonic() - started > 0.13
    started = time.monotonic()
    for number in range(20):
        client.writer.write(b"%d\n" % number)
        await asyncio.sleep(0.01)
    for number in range(20):
        assert await client.reader.readline() == b"%d\n" % number
    assert time.monotonic() - started < 2.5  # twenty round trips one by one would take 3.2 s


async def test_rate_makes_a_live_line_thin(proxy: FaultProxy) -> None:
    client = await connect(proxy)
    await proxy.become(Rate(50))
    started = time.monotonic()
    await client.ask(b"x" * 20_000)
    assert time.monotonic() - started > 0.35


async def test_refuse_refuses_new_and_resets_live_connections_until_it_is_over(proxy: FaultProxy) -> None:
    client = await connect(proxy)
    await client.ask(b"before")
    await proxy.become(Refuse())
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    with pytest.raises(ConnectionResetError):
        await client.ask(b"during")
    await proxy.become(Pass())
    assert await (await connect(proxy)).ask(b"after") == b"after\n"


async def test_reset_is_a_tcp_reset_and_not_an_orderly_end(proxy: FaultProxy) -> None:
    live = await connect(proxy)
    await live.ask(b"before")
    await proxy.become(Reset())
    with pytest.raises(ConnectionResetError):
        await live.reader.read()
    with pytest.raises(ConnectionResetError):
        await (await connect(proxy)).ask(b"new")


async def test_a_blackhole_is_silent_for_live_and_new_connections_and_lets_go_afterwards(
    proxy: FaultProxy, echo: tuple[Echo, int]
) -> None:
    live = await connect(proxy)
    await live.ask(b"before")
    await proxy.become(Blackhole())
    new = await connect(proxy)  # accepted
    for client in (live, new):
        with pytest.raises(TimeoutError):
            await client.ask(b"lost in space", timeout_s=0.2)
    assert echo[0].lines == [b"before\n"]
    await proxy.become(Pass())
    assert await asyncio.wait_for(live.reader.readline(), 5) == b"lost in space\n"


async def test_half_open_silences_one_direction_only(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    client = await connect(proxy)
    await client.ask(b"before")
    await proxy.become(HalfOpen(Direction.TO_CLIENT))
    with pytest.raises(TimeoutError):
        await client.ask(b"heard", timeout_s=0.2)
    assert echo[0].lines[-1] == b"heard\n"
    await proxy.become(HalfOpen(Direction.TO_SERVER))
    assert await asyncio.wait_for(client.reader.readline(), 5) == b"heard\n"
    with pytest.raises(TimeoutError):
        await client.ask(b"unheard", timeout_s=0.2)
    assert echo[0].lines[-1] == b"heard\n"


async def test_cut_after_counts_from_the_switch(proxy: FaultProxy) -> None:
    client = await connect(proxy)
    await client.ask(b"x" * 1000)
    await proxy.become(CutAfter(100))
    assert await client.ask(b"y" * 20) == b"y" * 20 + b"\n"
    client.writer.write(b"y" * 200 + b"\n")
    with pytest.raises(ConnectionResetError):
        await client.reader.read()


async def test_drop_reply_lets_the_request_through_and_loses_the_answer(
    proxy: FaultProxy, echo: tuple[Echo, int]
) -> None:
    client = await connect(proxy)
    await client.ask(b"before")
    await proxy.become(DropReply(b"COMMIT", times=1))
    assert await client.ask(b"INSERT") == b"INSERT\n"
    with pytest.raises(ConnectionResetError):
        await client.ask(b"COMMIT")
    assert echo[0].lines[-1] == b"COMMIT\n"
    assert proxy.dropped_replies == 1
    assert await (await connect(proxy)).ask(b"COMMIT") == b"COMMIT\n"


async def test_reset_all_ends_what_is_live_and_nothing_later(proxy: FaultProxy) -> None:
    client = await connect(proxy)
    await client.ask(b"before")
    assert proxy.live == 1
    proxy.reset_all()
    with pytest.raises(ConnectionResetError):
        await client.ask(b"after")
    assert await (await connect(proxy)).ask(b"again") == b"again\n"
