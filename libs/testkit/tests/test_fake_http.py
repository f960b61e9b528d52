"""The fakes' server over a real socket: answers, and each fault as a client sees it."""

import httpx
import pytest

from testkit.fake_http import Answer, FakeServer, Fault, Request


async def test_it_answers_and_fails_as_told() -> None:
    effects: list[bytes] = []

    async def respond(request: Request) -> Answer:
        effects.append(request.body)
        return Answer(201, {"path": request.path, "auth": request.headers.get("authorization")})

    server = FakeServer(respond, hang_s=1.0)
    async with server.serving(), httpx.AsyncClient(base_url=server.url, timeout=0.5, trust_env=False) as client:
        answer = await client.post("/x?y=1", content=b"a", headers={"Authorization": "Bearer k"})
        assert (answer.status_code, answer.json()) == (201, {"path": "/x", "auth": "Bearer k"})
        server.faults = [Fault.REFUSE_429, Fault.FAIL_500, Fault.FAIL_500_AFTER, Fault.GARBAGE]
        assert [(await client.post("/x", content=b"b")).status_code for _ in range(4)] == [429, 500, 500, 200]
        assert effects == [b"a", b"b", b"b"]  # 429 and 500 did nothing
        server.faults = [Fault.DROP_REPLY, Fault.HANG]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/x", content=b"c")
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/x", content=b"d")
        assert effects[-2:] == [b"c", b"d"]
        server.faulty = lambda request: request.path == "/sick"
        server.faults = [Fault.FAIL_500]
        assert (await client.get("/well")).status_code == 201
        assert (await client.get("/sick")).status_code == 500
