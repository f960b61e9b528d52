"""Callers at a steady rate, each time on a new connection, as a process of their own.

The rig's loop holds the fault proxies, the SMTP server and ledgers that fsync: callers in it would measure that loop,
and starve the product behind it. `calling` runs this file, which reads a plan from standard input, calls until that
ends, and prints what came back.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from faults.load import Answers

PATH = "/suppressions"
ANSWER_WITHIN_S = 15.0


class Plan(msgspec.Struct, kw_only=True):
    """Whom to call, how often a second, as whom in turn; with `writes_as` each fourth call adds a suppression."""

    port: int
    per_s: float
    tokens: list[str]
    writes_as: str | None = None


class Seen(msgspec.Struct, kw_only=True):
    """What came back; `broken` are connections that ended without a whole answer."""

    statuses: dict[int, int] = {}
    broken: dict[str, int] = {}
    refusals: list[str] = []
    seconds: list[float] = []


@asynccontextmanager
async def calling(
    base_url: str, tokens: Sequence[str], answers: "Answers", *, per_s: float, writes_as: str | None = None
) -> AsyncIterator[None]:
    """Call while the block runs; what came back is in `answers` when it has ended."""
    plan = Plan(port=urlsplit(base_url).port or 80, per_s=per_s, tokens=list(tokens), writes_as=writes_as)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=pipe, stdout=pipe, start_new_session=True
    )
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        yield
        told, _ = await process.communicate(b"")  # its standard input ends
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    seen = msgspec.json.decode(told, type=Seen)
    answers.statuses.update(seen.statuses)
    answers.broken.update(seen.broken)
    answers.refusals += seen.refusals
    answers.seconds += seen.seconds


async def _call(port: int, request: bytes, statuses: Counter[int], broken: Counter[str], seen: Seen) -> None:
    began = time.monotonic()
    method = request[: request.index(b" ")].decode()
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            body = await reader.readexactly(int(head.split("content-length: ", 1)[1].split("\r\n", 1)[0]))
    except (OSError, EOFError, TimeoutError) as error:
        broken[f"{method} {error!r}"[:80]] += 1
        return
    finally:
        if writer is not None:
            writer.close()
    seen.seconds.append(round(time.monotonic() - began, 4))
    status = int(head.split(" ", 2)[1])
    statuses[status] += 1
    if not 200 <= status < 300:
        seen.refusals.append(f"{method} {status} {body.decode(errors='replace')[:300]}")


def _request(plan: Plan, number: int) -> bytes:
    method, body, more = "GET", "", ""
    if plan.writes_as is not None and number % 4 == 0:
        key = f"{plan.writes_as}r{number}"
        method, body = "POST", json.dumps({"email": f"{key.lower()}@suppressed.example.org"})
        more = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nIdempotency-Key: {key}\r\n"
    token = plan.tokens[number % len(plan.tokens)]
    return f"{method} {PATH} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {token}\r\n{more}\r\n{body}".encode()


async def main() -> None:
    """Call until standard input ends, then until every call has ended."""
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    over = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    seen, statuses, broken = Seen(), Counter[int](), Counter[str]()
    began = time.monotonic()
    number = 0
    async with asyncio.TaskGroup() as group:
        while not over.done():
            group.create_task(_call(plan.port, _request(plan, number), statuses, broken, seen))
            number += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + number / plan.per_s - time.monotonic())):
                    await asyncio.shield(over)
    seen.statuses, seen.broken, seen.refusals = dict(statuses), dict(broken), seen.refusals[:5]
    sys.stdout.buffer.write(msgspec.json.encode(seen))


if __name__ == "__main__":
    asyncio.run(main())
