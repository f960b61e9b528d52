"""HTTP framing on raw sockets: nothing that two readers may read differently gets through, and never two for one."""

import asyncio
import time

import pytest

from .support import Gateway, Service, bearer, token

TOKEN = token().encode()
AUTH = b"Host: a\r\nAuthorization: Bearer " + TOKEN + b"\r\n"
GET = b"GET /emails HTTP/1.1\r\n" + AUTH + b"\r\n"
SMUGGLED = b"GET /email-templates HTTP/1.1\r\n" + AUTH + b"\r\n"


def post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    head = b"".join(line + b"\r\n" for line in lines)
    return b"POST /email-templates " + version + b"\r\n" + AUTH + head + b"\r\n" + body


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


CL = b"Content-Length: "
TE = b"Transfer-Encoding: "
LAST = b"0\r\n\r\n"

#: Each must be refused without reaching a service.
REFUSED: dict[str, bytes] = {
    "CL and TE": post(CL + b"4", TE + b"chunked", body=LAST + SMUGGLED),
    "TE and CL": post(TE + b"chunked", CL + b"4", body=b"1\r\nA\r\n" + LAST),
    "CL twice, same": post(CL + b"2", CL + b"2", body=b"{}"),
    "CL twice, different": post(CL + b"2", CL + b"50", body=b"{}" + SMUGGLED),
    "CL list": post(CL + b"2, 2", body=b"{}"),
    "CL plus": post(CL + b"+2", body=b"{}"),
    "CL minus": post(CL + b"-2", body=b"{}"),
    "CL hex": post(CL + b"0x2", body=b"{}"),
    "CL underscore": post(CL + b"1_0", body=b"{}" * 5),
    "CL decimal point": post(CL + b"2.0", body=b"{}"),
    "CL exponent": post(CL + b"2e0", body=b"{}"),
    "CL spaces": post(CL + b"2 2", body=b"{}"),
    "CL empty": post(CL, body=b"{}"),
    "CL letters": post(CL + b"two", body=b"{}"),
    "CL huge": post(CL + b"9" * 30, body=b"{}"),
    "CL NUL": post(CL + b"2\x00", body=b"{}"),
    "CL vertical tab": post(CL + b"\x0b2", body=b"{}"),
    "CL space before colon": post(b"Content-Length : 2", body=b"{}"),
    "CL full width": post(CL + "２".encode(), body=b"{}"),
    "TE space before colon": post(b"Transfer-Encoding : chunked", body=LAST),
    "TE tab before colon": post(b"Transfer-Encoding\t: chunked", body=LAST),
    "TE xchunked": post(TE + b"xchunked", body=LAST + SMUGGLED),
    "TE chunkedx": post(TE + b"chunkedx", body=LAST),
    "TE identity": post(TE + b"identity", body=LAST),
    "TE identity, chunked": post(TE + b"identity, chunked", body=LAST),
    "TE chunked, identity": post(TE + b"chunked, identity", body=LAST + SMUGGLED),
    "TE chunked, chunked": post(TE + b"chunked, chunked", body=LAST),
    "TE gzip, chunked": post(TE + b"gzip, chunked", body=LAST),
    "TE gzip": post(TE + b"gzip", body=LAST),
    "TE twice": post(TE + b"chunked", TE + b"chunked", body=LAST),
    "TE twice, second identity": post(TE + b"chunked", TE + b"identity", body=LAST),
    "TE twice, first identity": post(TE + b"identity", TE + b"chunked", body=LAST),
    "TE quoted": post(TE + b'"chunked"', body=LAST),
    "TE parameter": post(TE + b"chunked;q=1", body=LAST),
    "TE vertical tab": post(TE + b"\x0bchunked", body=LAST),
    "TE form feed": post(TE + b"chunked\x0c", body=LAST),
    "TE NUL": post(TE + b"chunked\x00", body=LAST),
    "TE comma": post(TE + b",chunked", body=LAST),
    "TE empty": post(TE, body=LAST),
    "TE folded": post(TE + b"\r\n chunked", body=LAST + SMUGGLED),
    "TE and HTTP/1.0": post(TE + b"chunked", body=LAST, version=b"HTTP/1.0"),
    "TE on GET": b"GET /emails HTTP/1.1\r\n" + AUTH + TE + b"chunked\r\n\r\n" + b"5\r\nhello\r\n" + LAST,
    "body on GET": b"GET /emails HTTP/1.1\r\n" + AUTH + CL + b"5\r\n\r\nhello",
    "chunk size plus": chunked(b"+2\r\n{}\r\n" + LAST),
    "chunk size minus": chunked(b"-2\r\n{}\r\n" + LAST),
    "chunk size hex prefix": chunked(b"0x2\r\n{}\r\n" + LAST),
    "chunk size space": chunked(b"2 \r\n{}\r\n" + LAST),
    "chunk size space before": chunked(b" 2\r\n{}\r\n" + LAST),
    "chunk size tab": chunked(b"2\t\r\n{}\r\n" + LAST),
    "chunk size empty": chunked(b"\r\n{}\r\n" + LAST),
    "chunk size letters": chunked(b"zz\r\n{}\r\n" + LAST),
    "chunk size huge": chunked(b"f" * 20 + b"\r\n{}\r\n" + LAST),
    "chunk size overflow": chunked(b"10000000000000002\r\n{}\r\n" + LAST),
    "chunk bare LF": chunked(b"2\n{}\r\n" + LAST),
    "chunk bare CR": chunked(b"2\r{}\r\n" + LAST),
    "chunk terminator missing": chunked(b"2\r\n{}" + LAST),
    "chunk terminator wrong": chunked(b"2\r\n{}XX" + LAST),
    "chunk terminator LF": chunked(b"2\r\n{}\n" + LAST),
    "chunk longer than its size": chunked(b"1\r\n{}\r\n" + LAST),
    "chunk extension control": chunked(b"2;a=\x01\r\n{}\r\n" + LAST),
    "chunk extension bare LF": chunked(b"2;a\n{}\r\n" + LAST),
    "Host missing": b"GET /emails HTTP/1.1\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n",
    "Host twice": b"GET /emails HTTP/1.1\r\nHost: b\r\n" + AUTH + b"\r\n",
    "Host twice, same": b"GET /emails HTTP/1.1\r\nHost: a\r\n" + AUTH + b"\r\n",
    "Host empty": GET.replace(b"Host: a", b"Host: "),
    "Host with path": GET.replace(b"Host: a", b"Host: a/b"),
    "Host with user": GET.replace(b"Host: a", b"Host: x@a"),
    "Host with space": GET.replace(b"Host: a", b"Host: a b"),
    "Host list": GET.replace(b"Host: a", b"Host: a, b"),
    "Host not ASCII": GET.replace(b"Host: a", b"Host: \xc3\xa9"),
    "Host bad port": GET.replace(b"Host: a", b"Host: a:x"),
    "absolute form": GET.replace(b" /emails", b" http://a/emails"),
    "absolute form elsewhere": GET.replace(b" /emails", b" http://evil/emails"),
    "absolute https": GET.replace(b" /emails", b" https://a/emails"),
    "authority form": GET.replace(b" /emails", b" a:80"),
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + AUTH + b"\r\n",
    "no slash": GET.replace(b" /emails", b" emails"),
    "fragment": GET.replace(b" /emails", b" /emails#x"),
    "space in target": GET.replace(b" /emails", b" /emails x"),
    "tab in target": GET.replace(b" /emails", b" /emails\tx"),
    "raw UTF-8 in target": GET.replace(b"/emails", "/é".encode()),
    "NUL in target": GET.replace(b"/emails", b"/emails\x00"),
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\n" + AUTH + b"\r\n" + SMUGGLED,
    "CONNECT path": b"CONNECT /emails HTTP/1.1\r\n" + AUTH + b"\r\n",
    "TRACE": b"TRACE /emails HTTP/1.1\r\n" + AUTH + b"\r\n",
    "unknown method": b"FOO /emails HTTP/1.1\r\n" + AUTH + b"\r\n",
    "method with CRLF": b"GE\r\nT /emails HTTP/1.1\r\n" + AUTH + b"\r\n",
    "lower-case method": b"get /emails HTTP/1.1\r\n" + AUTH + b"\r\n",
    "PROPFIND": b"PROPFIND /emails HTTP/1.1\r\n" + AUTH + b"\r\n",
    "M-SEARCH": b"M-SEARCH * HTTP/1.1\r\n" + AUTH + b"\r\n",
    "SOURCE ICE": b"SOURCE /emails ICE/1.0\r\n" + AUTH + b"\r\n",
    "HTTP/0.9": b"GET /emails\r\n",
    "HTTP/0.9 said": GET.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/1.2": GET.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2.0": GET.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/3.0": GET.replace(b"HTTP/1.1", b"HTTP/3.0"),
    "http/1.1": GET.replace(b"HTTP/1.1", b"http/1.1"),
    "HTTP/01.1": GET.replace(b"HTTP/1.1", b"HTTP/01.1"),
    "version space": GET.replace(b"HTTP/1.1", b"HTTP/1.1 "),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "binary": bytes(range(256)),
    "LF lines": GET.replace(b"\r\n", b"\n"),
    "CR lines": GET.replace(b"\r\n", b"\r"),
    "LF in the middle": GET.replace(b"Host: a\r\n", b"Host: a\n"),
    "CR in a value": GET.replace(b"Host: a", b"X: a\rb\r\nHost: a"),
    "LF in a value": GET.replace(b"Host: a", b"X: a\nX-Internal-Identity: b\r\nHost: a"),
    "NUL in a value": GET.replace(b"Host: a", b"X: a\x00b\r\nHost: a"),
    "DEL in a value": GET.replace(b"Host: a", b"X: a\x7fb\r\nHost: a"),
    "ESC in a value": GET.replace(b"Host: a", b"X: \x1b[31m\r\nHost: a"),
    "NUL in a name": GET.replace(b"Host: a", b"X\x00Y: a\r\nHost: a"),
    "space in a name": GET.replace(b"Host: a", b"X Y: a\r\nHost: a"),
    "colon first": GET.replace(b"Host: a", b": a\r\nHost: a"),
    "no colon": GET.replace(b"Host: a", b"X\r\nHost: a"),
    "not ASCII in a name": GET.replace(b"Host: a", "É: a\r\nHost: a".encode()),
    "slash in a name": GET.replace(b"Host: a", b"X/Y: a\r\nHost: a"),
    "folded": GET.replace(b"Host: a", b"X: a\r\n b\r\nHost: a"),
    "folded by tab": GET.replace(b"Host: a", b"X: a\r\n\tb\r\nHost: a"),
    "folded first": GET.replace(b"Host: a", b" X: a\r\nHost: a"),
    "Expect something": post(CL + b"2", b"Expect: 200-ok", body=b"{}"),
    "Expect twice": post(CL + b"2", b"Expect: 100-continue", b"Expect: 100-continue", body=b"{}"),
    "Upgrade with a body": post(CL + b"2", b"Upgrade: h2c", b"Connection: upgrade", body=b"{}" + SMUGGLED),
    "Upgrade with chunks": post(TE + b"chunked", b"Upgrade: websocket", b"Connection: Upgrade", body=LAST),
    "Connection names Authorization": GET.replace(b"Host: a", b"Host: a\r\nConnection: authorization"),
    "Connection names Host": GET.replace(b"Host: a", b"Host: a\r\nConnection: close, host"),
    "Connection names Content-Length": post(CL + b"2", b"Connection: content-length", body=b"{}"),
    "Connection names the tenant": GET.replace(b"Host: a", b"Host: a\r\nConnection: x-tenant-id"),
    "Authorization twice": GET.replace(b"Host: a", b"Host: a\r\nAuthorization: Bearer " + TOKEN),
    "Cookie twice": GET.replace(b"Host: a", b"Host: a\r\nCookie: a=b\r\nCookie: jwt=" + TOKEN),
    "tenant twice": GET.replace(b"Host: a", b"Host: a\r\nx-tenant-id: a\r\nX-Tenant-ID: b"),
    "Origin twice": GET.replace(b"Host: a", b"Host: a\r\nOrigin: http://a\r\nOrigin: http://b"),
    "1000 headers": GET.replace(b"Host: a", b"Host: a\r\n" + b"X: y\r\n" * 1000 + b"Y: z"),
    "101 headers": GET.replace(b"Host: a", b"Host: a\r\n" + b"X: y\r\n" * 101 + b"Y: z"),
    "one huge header": GET.replace(b"Host: a", b"Host: a\r\nX: " + b"y" * 17_000),
    "one huge name": GET.replace(b"Host: a", b"Host: a\r\n" + b"x" * 17_000 + b": y"),
    "huge target": GET.replace(b"/emails", b"/emails/" + b"x" * 64_000),
    "huge query": GET.replace(b"/emails", b"/emails?q=" + b"x" * 16_000),
    "too large by length": post(CL + b"99999999", body=b"{}"),
    "too large by chunks": chunked((b"10000\r\n" + b"x" * 65536 + b"\r\n") * 17 + LAST),
    "endless chunk extensions": chunked(b"2;" + b"a" * 300_000),
    "endless trailers": chunked(LAST[:-2] + b"X: y\r\n" * 50_000),
}

#: Each is one good request, whatever else is in the bytes.
ONE: dict[str, bytes] = {
    "plain": GET,
    "leading CRLF": b"\r\n\r\n" + GET,
    "HTTP/1.0": GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "Upgrade h2c ignored": GET.replace(b"Host: a", b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c"),
    "Upgrade and more bytes": GET.replace(b"Host: a", b"Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c") + SMUGGLED,
    "WebSocket": GET.replace(
        b"Host: a", b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x"
    ),
    "close and more bytes": GET.replace(b"Host: a", b"Host: a\r\nConnection: close") + SMUGGLED,
    "good, then garbage": GET + b"\x00\x01garbage\r\n\r\n",
    "good, then CL and TE": GET + post(CL + b"4", TE + b"chunked", body=LAST + SMUGGLED),
    "chunk extension": chunked(b"2;name=value\r\n{}\r\n" + LAST),
    "trailers": chunked(b"2\r\n{}\r\n0\r\nX-Tenant-Id: x\r\nAuthorization: Bearer x\r\n\r\n"),
    "chunks of one byte": chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"a": 1}') + LAST),
    "underscore length": post(b"Content_Length: 50", CL + b"2", body=b"{}"),
    "Expect": post(CL + b"2", b"Expect: 100-continue", body=b"{}"),
    "keep-alive list": GET.replace(b"Host: a", b"Host: a\r\nConnection: keep-alive, close"),
}


@pytest.mark.parametrize("chunk", [0, 7], ids=["at once", "in pieces"])
async def test_refused(gateway: Gateway, service: Service, chunk: int) -> None:
    async def one(name: str) -> None:
        size = chunk if len(REFUSED[name]) < 3000 else chunk * 1000
        raw = await gateway.raw(REFUSED[name], wait_s=1.0, chunk=size)
        status = raw[9:12]
        if not raw:
            # Closing while the client still sends resets the connection, and a reset may outrun the answer.
            assert chunk or len(REFUSED[name]) > 60_000 or name == "HTTP/0.9", name
            return
        assert status in (b"400", b"401", b"405", b"413", b"414", b"417", b"431", b"505"), (name, raw[:80])
        assert b"application/problem+json" in raw, name
        assert raw.count(b"content-type: ") == 1, (name, raw)

    await asyncio.gather(*(one(name) for name in REFUSED))
    assert [(seen.method, seen.target) for seen in service.seen] == []


async def test_one_request_for_one(gateway: Gateway, service: Service) -> None:
    for name, data in ONE.items():
        service.seen.clear()
        raw = await gateway.raw(data, wait_s=0.3)
        assert len(service.seen) == 1, name
        assert b" 200 OK\r\n" in raw, (name, raw)
        [seen] = service.seen
        assert seen.target in ("/emails", "/email-templates")
        assert len(seen.values("content-length") + seen.values("transfer-encoding")) == (seen.method == "POST")
        assert len(seen.values("host")) == len(seen.values("x-internal-identity")) == 1


async def test_trailers_change_nothing(gateway: Gateway, service: Service) -> None:
    nobody = b"POST /email-templates HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    raw = await gateway.raw(nobody + b"Authorization: Bearer " + TOKEN + b"\r\n\r\n", wait_s=0.5)
    assert raw.startswith(b"HTTP/1.1 401 ")
    assert not service.seen


async def test_pipelining_answers_in_order(gateway: Gateway, service: Service) -> None:
    count = 50
    data = b"".join(GET.replace(b"/emails ", b"/emails?n=%d " % number) for number in range(count))
    raw = await gateway.raw(data, wait_s=1.0)
    assert raw.count(b"HTTP/1.1 200 OK\r\n") == count
    assert [seen.target for seen in service.seen] == [f"/emails?n={number}" for number in range(count)]


async def test_a_broken_body_never_reaches_a_service_as_a_whole_one(gateway: Gateway, service: Service) -> None:
    """Streamed because it is long, broken in the middle: the service sees a connection that ends, not a request."""
    big = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for end in (b"zz\r\n", b"-1\r\n", b"5\r\nhelloXX"):
        raw = await gateway.raw(chunked(big * 3 + end), wait_s=1.0)
        assert not raw.startswith(b"HTTP/1.1 200"), raw[:60]
    assert not service.seen


async def test_slow_heads_are_dropped_and_others_are_served(gateway: Gateway, service: Service) -> None:
    """Slowloris: hundreds of sockets that send a header now and then; answers to others stay quick."""
    slow = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(300)]
    for _, writer in slow:
        writer.write(b"GET /emails HTTP/1.1\r\nHost: a\r\n")
    took: list[float] = []
    for number in range(40):
        for _, writer in slow[::10]:
            writer.write(b"X-%d: y\r\n" % number)
        started_at = time.perf_counter()
        assert (await gateway.get("/emails", bearer(token()))).status == 200
        took.append(time.perf_counter() - started_at)
    assert sorted(took)[len(took) // 2] < 0.25
    for _, writer in slow:
        writer.close()


async def test_a_head_has_ten_seconds(gateway: Gateway, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.server.HEAD_TIMEOUT_S", 0.2)
    monkeypatch.setattr("gateway.server._SWEEP_S", 0.1)
    assert (await gateway.raw(b"GET /emails HTTP/1.1\r\nHost: a\r\n", wait_s=3)).startswith(b"HTTP/1.1 408 ")
    assert await gateway.raw(b"", wait_s=3) == b""
    second = await gateway.raw(GET + b"GET /emails HTTP/1.1\r\n", wait_s=3)
    assert second.count(b"HTTP/1.1 200 ") == 1
    assert b"HTTP/1.1 408 " in second
