"""The socket under a connection: it can be cut at once, and no message's properties can take the connection down."""

import asyncio
import logging
import struct
from typing import Any, Final

from aiormq.connection import TransportFactory
from pamqp.constants import FRAME_HEADER
from pamqp.header import ContentHeader
from yarl import URL

# Stands for "properties that cannot be read": an empty user_id, which names nobody, and nothing else.
_UNREADABLE: Final = struct.pack(">HB", ContentHeader().properties.flags["user_id"], 0)
_PROPERTIES_AT: Final = 12

log = logging.getLogger(__name__)


class Socket(TransportFactory):
    """Opens the socket and keeps hold of it: aiormq's own close waits for a peer that may never answer."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        provider = kwargs.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        reader = _Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, str(url.host), int(url.port or 0), ssl=context, **kwargs
        )
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer

    def abort(self) -> None:
        """Drops the socket without a word, if there is one."""
        if self._writer is not None:
            self._writer.transport.abort()


class _Reader(asyncio.StreamReader):
    """Reads frames as aiormq does, in three parts: 1 byte of type, 6 of channel and length, the payload.

    The broker does not look into a publisher's properties. pamqp raises for bytes that are not UTF-8, unknown field
    types and dates out of range, and aiormq then gives up the connection, to meet the same message on the next one.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._parts = 0
        self._frame_type = b""

    async def readexactly(self, n: int) -> bytes:
        data = await super().readexactly(n)
        part = self._parts % 3
        self._parts += 1
        if part == 0:
            self._frame_type = data
        elif part == 2 and self._frame_type[0] == FRAME_HEADER:
            return _readable(data)
        return data


def _readable(payload: bytes) -> bytes:
    try:
        ContentHeader().unmarshal(payload[:-1])
    except Exception as error:
        log.warning("a message's properties cannot be read: %r", error)
        # Unreadable properties take a byte at least, so that the mark fits in their place.
        kept = _PROPERTIES_AT + len(_UNREADABLE)
        return payload[:_PROPERTIES_AT] + _UNREADABLE + payload[kept:]
    return payload
