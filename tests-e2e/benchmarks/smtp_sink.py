"""The fastest SMTP server Python gives: answers, counts, keeps nothing. NOOP answers how many messages came in.

Run as a process of its own: `python smtp_sink.py PORT`.
"""

import asyncio
import sys
from typing import cast

import uvloop

END_OF_DATA = b"\r\n.\r\n"


class Sink(asyncio.Protocol):
    """One client's session."""

    accepted = 0

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        answers = []
        while True:
            mark = END_OF_DATA if self._in_data else b"\r\n"
            taken, found, rest = self._buffer.partition(mark)
            if not found:
                break
            self._buffer = rest
            if self._in_data:
                self._in_data = False
                Sink.accepted += 1
                answers.append(b"250 2.0.0 accepted\r\n")
            else:
                answers.append(self._answer(taken[:4].upper()))
        if answers:
            self._transport.write(b"".join(answers))
            if answers[-1].startswith(b"221"):
                self._transport.close()

    def _answer(self, verb: bytes) -> bytes:
        match verb:
            case b"DATA":
                self._in_data = True
                # The client's message may begin with its final dot line; the line break before it is this command's.
                return b"354 go on\r\n"
            case b"EHLO":
                return b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 33554432\r\n"
            case b"NOOP":
                return b"250 %d\r\n" % Sink.accepted
            case b"QUIT":
                return b"221 bye\r\n"
            case _:
                return b"250 OK\r\n"


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=256)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
