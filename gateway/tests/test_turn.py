"""Whole answers leave at the end of a turn of the loop: in a row, and before whatever else befalls their connection."""

import asyncio
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from gateway.server import EdgeHttp, edge_http

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Transport:
    """Notes what is done to it."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.closing = False

    def write(self, data: bytes) -> None:
        self.log.append(data.split(b"\r\n", 1)[0].decode())

    def close(self) -> None:
        self.closing = True
        self.log.append("closed")

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def pause_reading(self) -> None:
        """Nothing more comes anyway."""

    def resume_reading(self) -> None:
        """Nothing more comes anyway."""


async def answer(scope: Any, receive: Any, send: Any) -> None:
    head = [(b"content-length", b"0"), (b"x-for", scope["path"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head, "body": b""})


class Connections:
    """Connections to one server, and one log of what is done to all of them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._class = edge_http()
        self._config = Config(answer, log_config=None)
        self._config.load()
        self._state = ServerState()

    def open(self) -> EdgeHttp:
        connection = self._class(self._config, self._state, {})
        connection.connection_made(Transport(self.log))  # type: ignore[arg-type]
        return connection


@pytest.fixture
def connections() -> Connections:
    return Connections()


async def test_answers_of_one_turn_are_written_in_a_row(connections: Connections) -> None:
    for _ in range(3):
        connections.open().data_received(GET)
    made: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: made.append(len(connections.log)))
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert made == [0], "none was written while the others were made"
    assert connections.log == ["HTTP/1.1 200 OK"] * 3


async def test_an_answer_goes_before_the_refusal_of_what_follows_it(connections: Connections) -> None:
    connection = connections.open()
    connection.data_received(GET)
    await asyncio.sleep(0)
    assert connections.log == []
    connection.data_received(b"nonsense\r\n\r\n")
    assert connections.log == ["HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request", "closed"]
    await asyncio.sleep(0.01)
    assert len(connections.log) == 3


async def test_an_answer_goes_before_the_end_of_the_server(connections: Connections) -> None:
    connection = connections.open()
    connection.data_received(GET)
    await asyncio.sleep(0)
    connection.shutdown()
    assert connections.log == ["HTTP/1.1 200 OK", "closed"]


async def test_a_client_that_left_costs_the_others_nothing(connections: Connections) -> None:
    left, stayed = connections.open(), connections.open()
    left.data_received(GET)
    stayed.data_received(GET)
    await asyncio.sleep(0)
    left.transport.close()
    await asyncio.sleep(0.01)
    assert connections.log == ["closed", "HTTP/1.1 200 OK"]
