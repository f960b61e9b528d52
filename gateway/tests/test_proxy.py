"""The way to a service and back: framing, streaming, time-outs, stale connections, garbage, disconnects, breaker."""

import asyncio
import hashlib
import json
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.routes.row import PUBLIC, Row

from .support import OK, Gateway, Seen, Service, answering, bearer, free_port, parse, token

Launch = Callable[..., Awaitable[Gateway]]
MIB = 1024 * 1024
TABLE = {
    "mailer": (
        Row("GET POST PUT DELETE", "/quick", PUBLIC, timeout_s=0.5),
        Row("GET POST PUT PATCH", "/big", PUBLIC, timeout_s=5, body_limit_bytes=64 * MIB),
        Row("POST", "/login", PUBLIC, sets_cookies=True),
    ),
    "billing": (Row("GET", "/other", PUBLIC, timeout_s=5),),
}


@pytest.fixture
async def gateway(service: Service, launch: Launch) -> Gateway:
    return await launch(TABLE, upstream_mailer=service.url)


def code(answer: Any) -> str:
    return str(json.loads(answer.body)["code"])


BAD_ANSWERS: dict[str, bytes] = {
    "not HTTP": b"220 mail.example.com ESMTP\r\n",
    "empty": b"",
    "CRLF in a header": b"HTTP/1.1 200 OK\r\nX: a\r\r\nSet-Cookie: jwt=evil\r\nContent-Length: 0\r\n\r\n",
    "LF in a header": b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: jwt=evil\r\nContent-Length: 0\r\n\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "control in a header": b"HTTP/1.1 200 OK\r\nX: a\x1bb\r\nContent-Length: 0\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bad name": b"HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 0\r\n\r\n",
    "LF lines": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two different lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
    "length list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 No\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "1xx flood": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "huge header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 400_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"Content-Length: 0\r\n\r\n",
}


async def test_garbage_is_a_502(service: Service, launch: Launch) -> None:
    for start in range(0, len(BAD_ANSWERS), 9):  # two calls each: fewer than open the breaker
        gateway = await launch(TABLE, upstream_mailer=service.url)
        for name in list(BAD_ANSWERS)[start : start + 9]:
            service.seen.clear()
            service.script = answering(BAD_ANSWERS[name], then_close=True)
            answer = await gateway.request("POST", "/quick", {}, b"x")
            assert (answer.status, answer.header("content-type")) == (502, "application/problem+json"), name
            assert answer.header("set-cookie") is None
            assert len(service.seen) == 1, name
            service.script = answering(OK)
            assert (await gateway.get("/quick")).status == 200


BROKEN_BODIES: dict[str, bytes] = {
    "bad chunk size": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    "bad chunk end": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    "no last chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "short": b"Content-Length: 50\r\n\r\nhello",
    "endless trailers": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 100_000,
}


async def test_a_broken_body_is_cut_off_not_completed(gateway: Gateway, service: Service) -> None:
    for name, body in BROKEN_BODIES.items():

        async def script(seen: Seen, reader: Any, writer: asyncio.StreamWriter, body: bytes = body) -> bool:
            head, _, rest = body.partition(b"hello")
            writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"hello")
            await asyncio.sleep(0.05)  # so that the client has the head before the body breaks
            writer.write(rest)
            return False

        service.script = script
        raw = await gateway.raw(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200 OK\r\n"), name
        assert b"hello" in raw
        assert not parse(raw).whole, name
    service.script = answering(b"HTTP/1.1 200 OK\r\n" + BROKEN_BODIES["bad chunk size"], then_close=True)
    assert (await gateway.get("/big")).status == 502  # seen before the head went out


async def test_what_follows_an_answer_is_never_the_next_one(gateway: Gateway, service: Service) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    service.script = answering(OK + evil)
    for _ in range(3):
        answer = await gateway.get("/quick")
        assert answer.body != b"evil"
    service.script = answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil")
    assert (await gateway.get("/quick")).body == b""

    async def later(seen: Seen, reader: Any, writer: Any) -> bool:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(evil)
        return True

    service.script = later
    await gateway.get("/quick")
    await asyncio.sleep(0.1)
    service.script = answering(OK)
    assert (await gateway.get("/quick")).body == b"{}"


async def test_headers_of_a_service_are_filtered(gateway: Gateway, service: Service) -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nServer: secret/1\r\nX-Powered-By: x\r\nSet-Cookie: jwt=evil\r\nConnection: x-a\r\n"
        b"Keep-Alive: timeout=1\r\nAccess-Control-Allow-Origin: *\r\nX-Internal-Identity: x\r\nX-Request-Id: theirs\r\n"
        b'Proxy-Authenticate: x\r\nETag: "1"\r\nContent-Length: 2\r\n\r\n{}'
    )
    service.script = answering(raw)
    answer = await gateway.request("POST", "/quick", {"X-Request-Id": "mine"}, b"")
    assert {name for name, _ in answer.headers} == {"date", "etag", "content-length", "x-request-id", "connection"}
    assert answer.header("x-request-id") == "mine"
    assert (await gateway.request("POST", "/login", {}, b"")).header("set-cookie") == "jwt=evil"


async def test_interim_answers_are_skipped(gateway: Gateway, service: Service) -> None:
    service.script = answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    answer = await gateway.get("/quick")
    assert (answer.status, answer.header("link"), answer.body) == (200, None, b"{}")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(gateway: Gateway, service: Service, status: int) -> None:
    service.script = answering(b"HTTP/1.1 %d X\r\nETag: x\r\nContent-Length: 5\r\n\r\n" % status)
    for _ in range(2):
        answer = await gateway.get("/quick")
        assert (answer.status, answer.body, answer.header("etag")) == (status, b"", "x")


async def test_an_answer_may_end_with_its_connection(gateway: Gateway, service: Service) -> None:
    service.script = answering(b"HTTP/1.1 200 OK\r\n\r\nhello", then_close=True)
    answer = await gateway.get("/quick")
    assert (answer.status, answer.body, answer.whole) == (200, b"hello", True)


# Bodies


async def test_raw_bodies_arrive_byte_for_byte(gateway: Gateway, service: Service) -> None:
    for body in (b"", b"\x00\xff\r\n", b"{}" * 40_000, bytes(range(256)) * 5000):
        service.seen.clear()
        await gateway.request("POST", "/big", {"Content-Type": "text/x; q"}, body)
        assert service.seen[0].body == body
        assert service.seen[0].values("content-type") == ["text/x; q"]
        assert service.seen[0].values("content-length") == [str(len(body))]


async def test_chunked_bodies(gateway: Gateway, service: Service) -> None:
    head = b"POST /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    small = head + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    await gateway.raw(small)
    large = b"x" * 100_000
    await gateway.raw(head + (b"%x\r\n%b\r\n" % (len(large), large)) * 5 + b"0\r\n\r\n")
    assert service.seen[0].body == b"hello!"
    assert service.seen[0].values("content-length") == ["6"]
    assert service.seen[1].body == large * 5
    assert service.seen[1].values("transfer-encoding") == ["chunked"]


async def test_the_route_limits_the_body(gateway: Gateway, service: Service) -> None:
    for body in (b"x" * (MIB + 1), b"x" * (5 * MIB)):
        answer = await gateway.request("POST", "/quick", {}, body)
        assert (answer.status, code(answer)) == (413, "too_large")
    assert (await gateway.request("POST", "/quick", {}, b"x" * MIB)).status == 200
    assert len(service.seen) == 1


async def test_streaming_both_ways_holds_little_memory(gateway: Gateway, service: Service) -> None:
    """48 MiB up and down past a reader that is slower than the sender."""
    size, piece = 48 * MIB, b"x" * 65536
    service.reads_bodies = False
    digest = hashlib.sha256()

    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        left = int(seen.values("content-length")[0])
        while left:
            part = await reader.read(min(65536, left))
            assert part
            digest.update(part)
            left -= len(part)
            await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
        return False

    service.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    tracemalloc.start()
    try:
        writer.write(b"POST /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        received = 0
        while part := await reader.read(65536):
            received += len(part)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        writer.close()
    assert received == size
    assert digest.hexdigest() == hashlib.sha256(b"x" * size).hexdigest()
    assert peak_bytes < 12 * MIB


async def test_a_stalled_reader_stops_the_service(gateway: Gateway, service: Service) -> None:
    """Back-pressure: the client reads nothing, so the service cannot send more than the buffers between them."""
    sent = 0

    async def script(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()
            sent += 65536

    service.script = script
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.write(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.7)
    before = sent
    await asyncio.sleep(0.3)
    assert sent == before < 32 * MIB
    writer.transport.abort()
    await asyncio.wait_for(service.disconnected.wait(), 3)


async def test_an_early_answer_ends_an_upload(gateway: Gateway, service: Service) -> None:
    service.reads_bodies = False
    service.script = answering(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", then_close=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 200_000)
    assert b" 403 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 3)
    writer.close()


# Time


async def test_a_slow_service_is_a_504_on_time(gateway: Gateway, service: Service) -> None:
    async def script(seen: Seen, reader: Any, writer: Any) -> bool:
        await asyncio.sleep(5)
        return False

    service.script = script
    for method in ("GET", "POST"):
        service.seen.clear()
        started_at = time.perf_counter()
        answer = await gateway.request(method, "/quick", {}, b"x" if method == "POST" else None)
        took_s = time.perf_counter() - started_at
        assert (answer.status, code(answer)) == (504, "upstream_timeout")
        assert 0.45 <= took_s <= 0.75
        assert len(service.seen) == 1


async def test_other_routes_do_not_wait(gateway: Gateway, service: Service, launch: Launch) -> None:
    other = await Service().start()
    both = await launch(TABLE, upstream_mailer=service.url, upstream_billing=other.url)

    async def hang(seen: Seen, reader: Any, writer: Any) -> bool:
        await asyncio.sleep(5)
        return False

    service.script = hang
    slow = [asyncio.create_task(both.get("/quick")) for _ in range(20)]
    await asyncio.sleep(0.05)
    started_at = time.perf_counter()
    assert (await both.get("/other")).status == 200
    assert time.perf_counter() - started_at < 0.3
    assert {(await task).status for task in slow} <= {503, 504}
    await other.stop()


async def test_a_body_that_stops_is_cut_off(service: Service, launch: Launch) -> None:
    gateway = await launch(TABLE, upstream_mailer=service.url, upstream_idle_s="0.3")

    async def script(seen: Seen, reader: Any, writer: Any) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.sleep(5)
        return False

    service.script = script
    started_at = time.perf_counter()
    raw = await gateway.raw(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", wait_s=4)
    assert b"hello" in raw
    assert not raw.endswith(b"0\r\n\r\n")
    assert time.perf_counter() - started_at < 2


async def test_an_endless_answer_ends(service: Service, launch: Launch) -> None:
    gateway = await launch(TABLE, upstream_mailer=service.url, upstream_total_s="0.5")

    async def script(seen: Seen, reader: Any, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    service.script = script
    started_at = time.perf_counter()
    raw = await gateway.raw(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n", wait_s=4)
    assert raw.count(b"x\r\n") > 5
    assert time.perf_counter() - started_at < 2


async def test_a_slow_sender_holds_no_connection(
    gateway: Gateway, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.proxy.BODY_PAUSE_S", 0.3)
    for already in (10, 200_000):
        head = b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"
        raw = await gateway.raw(head + b"x" * already, wait_s=3)
        assert raw.startswith(b"HTTP/1.1 408 ")
    assert not service.seen


# Connections


async def test_connections_are_reused(gateway: Gateway, service: Service) -> None:
    for _ in range(20):
        assert (await gateway.get("/quick")).status == 200
    assert service.connections == 1


async def test_a_stale_connection_repeats_what_may_be_repeated(gateway: Gateway, service: Service) -> None:
    """The service closes without an answer: a GET and a PUT are sent once more, a POST never."""
    dying = 0

    async def script(seen: Seen, reader: Any, writer: asyncio.StreamWriter) -> bool:
        nonlocal dying
        if dying:
            dying -= 1
            return False
        writer.write(OK)
        return True

    service.script = script
    for method, status, times in (("GET", 200, 2), ("PUT", 200, 2), ("DELETE", 200, 2), ("POST", 502, 1)):
        assert (await gateway.get("/quick")).status == 200
        service.seen.clear()
        dying = 1
        answer = await gateway.request(method, "/quick", {}, b"x" if method in ("PUT", "POST") else None)
        assert (answer.status, len(service.seen)) == (status, times), method
    dying = 5
    service.seen.clear()
    assert (await gateway.get("/quick")).status == 502
    assert len(service.seen) == 2


async def test_nothing_is_repeated_once_a_byte_came_back(gateway: Gateway, service: Service) -> None:
    service.script = answering(b"HTTP/1.1 2", then_close=True)
    assert (await gateway.get("/quick")).status == 502
    assert len(service.seen) == 1


async def test_a_closed_idle_connection_is_not_used(gateway: Gateway, service: Service) -> None:
    assert (await gateway.request("POST", "/quick", {}, b"x")).status == 200
    for writer in tuple(service.live):
        writer.close()
    await asyncio.sleep(0.05)
    assert (await gateway.request("POST", "/quick", {}, b"x")).status == 200
    assert len(service.seen) == 2


async def test_connection_close_is_obeyed(gateway: Gateway, service: Service) -> None:
    service.script = answering(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    for _ in range(3):
        assert (await gateway.request("POST", "/quick", {}, b"x")).status == 200
    assert service.connections == 3


async def test_connections_are_bounded_and_shared_in_turn(service: Service, launch: Launch) -> None:
    gateway = await launch(TABLE, upstream_mailer=service.url, upstream_connections="4")
    busy = most = 0

    async def script(seen: Seen, reader: Any, writer: Any) -> bool:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.02)
        busy -= 1
        writer.write(OK)
        return True

    service.script = script
    answers = await asyncio.gather(*(gateway.get("/big") for _ in range(60)))
    assert {answer.status for answer in answers} == {200}
    assert most == 4


async def test_a_client_that_leaves_ends_the_request(gateway: Gateway, service: Service) -> None:
    async def script(seen: Seen, reader: asyncio.StreamReader, writer: Any) -> bool:
        assert await reader.read(1) == b""
        service.disconnected.set()
        return False

    service.script = script
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.3)
    writer.transport.abort()
    await asyncio.wait_for(service.disconnected.wait(), 2)


async def test_a_client_that_leaves_in_its_upload_ends_it(gateway: Gateway, service: Service) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + b"x" * 300_000)
    await asyncio.sleep(0.2)
    writer.transport.abort()
    await asyncio.wait_for(service.disconnected.wait(), 2)
    assert not service.seen


# A service that is away


async def test_a_request_waits_for_a_service_that_comes_back(launch: Launch) -> None:
    """What could not be sent yet is not lost in a restart: even a POST waits for the connect budget."""
    service = Service()
    service.port = free_port()
    gateway = await launch(TABLE, upstream_mailer=service.url, upstream_connect_budget_s="3")
    waiting = [asyncio.create_task(gateway.request("POST", "/big", {}, b"x")) for _ in range(10)]
    await asyncio.sleep(0.4)
    await service.start()
    assert {(await task).status for task in waiting} == {200}
    assert len(service.seen) == 10
    await service.stop()


async def test_a_service_that_is_away_is_a_503(launch: Launch) -> None:
    gateway = await launch(TABLE, upstream_mailer=f"http://127.0.0.1:{free_port()}")
    answer = await gateway.get("/quick")
    assert (answer.status, code(answer), answer.header("retry-after")) == (503, "upstream_unreachable", "2")


async def test_the_breaker_opens_and_lets_one_probe_through(service: Service, launch: Launch) -> None:
    gateway = await launch(TABLE, upstream_mailer=service.url, breaker_cool_down_s="0.5")
    service.script = answering(b"garbage\r\n\r\n", then_close=True)
    statuses = [(await gateway.request("POST", "/quick", {}, b"x")).status for _ in range(30)]
    assert statuses == [502] * 20 + [503] * 10
    assert len(service.seen) == 20
    answer = await gateway.request("POST", "/quick", {}, b"x")
    assert (code(answer), answer.header("retry-after")) == ("circuit_open", "1")
    await asyncio.sleep(0.6)

    async def slow_ok(seen: Seen, reader: Any, writer: Any) -> bool:
        await asyncio.sleep(0.1)
        writer.write(OK)
        return True

    service.script = slow_ok
    answers = await asyncio.gather(*(gateway.get("/quick") for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [503] * 9
    assert (await gateway.get("/quick")).status == 200


# Headers on the way in


async def test_spoofed_headers_never_arrive(gateway: Gateway, service: Service) -> None:
    """Identity and forwarding headers in every spelling, by themselves and named by Connection."""
    names = [
        *("X-Tenant-Id", "X-User-Id", "X-Roles", "X-Role", "X-Permissions", "X-Internal-Identity", "X-Internal-Token"),
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Port"),
        *("X-Forwarded-User", "X-Forwarded-Email", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP"),
        *("X-Client-IP", "X-Cluster-Client-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override"),
        *("X-Method-Override", "X-HTTP-Method", "X-Auth-Request-User", "Remote-User", "X-Authenticated-Userid"),
        *("Proxy-Authorization", "Proxy", "X-Api-Key", "Stripe-Signature", "Via", "X-Deadline-Ms", "Cookie", "TE"),
        *("Keep-Alive", "Trailer", "X-Amzn-Oidc-Identity", "X-Envoy-Original-Path", "X-Evil"),
    ]
    spellings: list[Callable[[str], str]] = [
        str,
        str.upper,
        str.lower,
        lambda name: name.replace("-", "_"),
        lambda name: name.replace("-", "_").lower(),
        lambda name: name.replace("-", "__"),
    ]
    ours = {"host", "x-internal-identity", "x-request-id", "traceparent"}
    ours |= {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
    tried = 0
    for name in names:
        lines = [f"{spell(name)}: spoofed-{index}" for index, spell in enumerate(dict.fromkeys(spellings))]
        for line in lines:
            for connection in ("close", f"close, {line.split(':')[0]}"):
                service.seen.clear()
                head = f"GET /quick HTTP/1.1\r\nHost: edge.example.com\r\n{line}\r\nConnection: {connection}\r\n\r\n"
                raw = await gateway.raw(head.encode())
                tried += 1
                if not service.seen:
                    assert raw.startswith(b"HTTP/1.1 400 "), head
                    continue
                [seen] = service.seen
                assert {key for key, _ in seen.headers} == ours, head
                assert "spoofed" not in str(seen.headers)
                assert len(seen.headers) == len(ours)
                assert seen.values("x-forwarded-for") == ["127.0.0.1"]
                assert seen.values("x-forwarded-host") == ["edge.example.com"]
    assert tried >= 400


async def test_connection_drops_what_it_names(gateway: Gateway, service: Service) -> None:
    headers = {
        "Accept": "x/y",
        "If-Match": '"1"',
        "Connection": "close, if-match, x-internal-identity, Accept-Language",
    }
    await gateway.get("/quick", headers)
    [seen] = service.seen
    assert seen.values("accept") == ["x/y"]
    assert not seen.values("if-match")
    assert len(seen.values("x-internal-identity")) == 1


async def test_forwarded_for_is_believed_from_trusted_proxies_only(service: Service, launch: Launch) -> None:
    gateway = await launch(TABLE, upstream_mailer=service.url, trusted_proxies="127.0.0.0/8,10.0.0.0/8")
    for sent, expected in (
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("garbage", "127.0.0.1"),
        ("6.6.6.6, garbage", "127.0.0.1"),
        ("", "127.0.0.1"),
    ):
        service.seen.clear()
        await gateway.get("/quick", {"X-Forwarded-For": sent, "X-Forwarded-Proto": "https"})
        assert service.seen[0].values("x-forwarded-for") == [expected]
        assert service.seen[0].values("x-forwarded-proto") == ["https"]


async def test_a_trace_goes_on(gateway: Gateway, service: Service) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    await gateway.get("/quick", {"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    await gateway.get("/quick", {"traceparent": "00-zz-b7ad6b7169203331-01", "X-Request-Id": "bad id\t!"})
    await gateway.get("/quick", bearer(token()))
    first, second, third = service.seen
    assert first.values("traceparent")[0].split("-")[1] == trace
    made = second.values("traceparent")[0].split("-")
    assert len(made[1]) == 32
    assert second.values("x-request-id") == [made[1]]
    assert third.values("traceparent") != second.values("traceparent")
