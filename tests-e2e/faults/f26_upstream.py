"""F26: one upstream of the gateway is down, slow or broken: its callers get 502, 503 or 504, others notice nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
from stack import LOOPBACK, Supervised

from faults.f26_f27_callers import calling
from faults.load import Answers
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

#: The gateway's time-out for these routes of an upstream that is ours to break.
DEADLINE_S = 15.0
READ, WRITE = "/plans", "/contact"
HALF_OPEN_WITHIN_S = 15.0
#: Calls to each kind of sick upstream: enough to open its breaker, half of them writes.
ASKED, AT_ONCE = 30, 10
#: Reads of a healthy service a second, through the gateway beside the sick one and through another gateway.
OTHERS_PER_S = 40.0
#: Beyond 1.3 times the p99 elsewhere, those beside may take this much: two cores carry everything.
NOISE_S = 0.05

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def healthy(writer: asyncio.StreamWriter) -> None:
    """Answers at once."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    await writer.drain()


async def hangs(writer: asyncio.StreamWriter) -> None:
    """Takes the request and never answers."""
    await asyncio.sleep(3600)


async def resets(writer: asyncio.StreamWriter) -> None:
    """Takes the request and ends the connection."""
    writer.transport.abort()
    raise ConnectionResetError


async def babbles(writer: asyncio.StreamWriter) -> None:
    """Answers something that is not HTTP."""
    writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\x00\x01\x02")
    await writer.drain()
    writer.close()
    raise ConnectionResetError


async def breaks_off(writer: asyncio.StreamWriter) -> None:
    """Promises more than it sends."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()
    raise ConnectionResetError


#: What an upstream does, and what its callers may be answered.
KINDS: tuple[tuple[str, Behaviour | None, set[int]], ...] = (
    ("resets", resets, {502, 503}),
    ("is down", None, {502, 503}),
    ("babbles", babbles, {502, 503}),
    ("breaks off", breaks_off, {200, 502, 503}),
)


class SickUpstream:
    """A service whose behaviour is a function; it counts each request that reaches it by its mark."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.behave: Behaviour = healthy
        self.port = 0
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SickUpstream"]:
        """Serve until the block ends."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Listen, on the same port each time."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    lines = head.lower().split(b"\r\n")
                    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                    body = await reader.readexactly(length)
                    self.seen[body.decode() or "read"] += 1
                    await self.behave(writer)
        finally:
            self._sessions.discard(task)
            writer.close()


async def run(rig: Rig, size: Size) -> Verdict:
    rounds = size.of(20, at_least=1)
    verdict = Verdict("F26", "a sick upstream: 502/503/504 as problems, others unharmed, no POST twice", "")
    trial = Trial(rig, size, verdict)
    sick = SickUpstream()
    # No fault is in the mailer's own connections: through the rig's proxies they would wait for the sick one's callers.
    direct = {"DATABASE_URL": rig.postgres.url, "AMQP_URL": rig.broker.url}
    tokens = [rig.tokens[rig.tenants[0]]]
    beside, elsewhere = Answers(), Answers()
    posts = 0
    async with (
        rig.changed("mailer", **direct),
        sick.running(),
        rig.more_gateways(2, mailer_url=rig.mailer.url, upstreams={"billing": f"http://{LOOPBACK}:{sick.port}"}) as (
            gateway,
            another,
        ),
        # What the machine does in this minute, it does to both; the other gateway is not asked for the sick one.
        calling(another.url, tokens, elsewhere, per_s=OTHERS_PER_S),
        calling(gateway.url, tokens, beside, per_s=OTHERS_PER_S),
    ):
        for number in range(rounds):
            for name, behaviour, expected in KINDS[: 1 if size.quick else None]:
                posts += await _sick(trial, gateway, sick, behaviour, name=f"{name} {number}", expected=expected)
                verdict.require(
                    await _recovers(gateway, sick) <= HALF_OPEN_WITHIN_S,
                    f"not back {HALF_OPEN_WITHIN_S:g} s after {name}",
                )
        await _deadline(trial, gateway, sick)
    repeated = {mark: n for mark, n in sick.seen.items() if mark != "read" and n > 1}
    verdict.duplicated += len(repeated)
    verdict.require(not repeated, f"requests sent twice: {repeated}")
    verdict.require(beside.share_2xx() == 1.0, f"other routes: {dict(beside.statuses)} {dict(beside.broken)}")
    p99_s, well_s = beside.quantile_s(0.99), elsewhere.quantile_s(0.99)
    verdict.require(
        p99_s <= 1.3 * well_s + size.noise_s(NOISE_S),
        f"other routes' p99 {p99_s * 1000:.0f} ms, {well_s * 1000:.0f} ms through a gateway where all is well",
    )
    verdict.trials = (
        f"{posts} POSTs to a sick upstream, {beside.total} reads beside it, p99 {p99_s * 1000:.0f} ms,"
        f" elsewhere {well_s * 1000:.0f}"
    )
    return verdict


async def _sick(
    trial: Trial,
    gateway: Supervised,
    sick: SickUpstream,
    behaviour: Behaviour | None,
    *,
    name: str,
    expected: set[int],
) -> int:
    """Reads and writes to the sick upstream, enough to open the breaker; returns how many writes."""
    if behaviour is None:
        await sick.stop()
    else:
        sick.behave = behaviour
    async with httpx.AsyncClient(base_url=gateway.url, timeout=40, trust_env=False) as http:

        async def ask(number: int) -> None:
            try:
                if number % 2:
                    answer = await http.get(READ)
                else:
                    answer = await http.post(WRITE, json={"mark": f"{trial.prefix}{name}-{number}"})
            except httpx.RemoteProtocolError:
                # An answer that had begun cannot become another one: it is cut, which is what happened to it.
                trial.verdict.require(behaviour is breaks_off, f"upstream {name}: the gateway hung up")
                return
            trial.verdict.require(answer.status_code in expected, f"upstream {name}: answered {answer.status_code}")
            if answer.status_code >= 500:
                problem = answer.headers["content-type"].startswith("application/problem+json")
                trial.verdict.require(problem, f"upstream {name}: {answer.status_code} is no problem document")

        for first in range(0, ASKED, AT_ONCE):
            await asyncio.gather(*(ask(number) for number in range(first, first + AT_ONCE)))
    if behaviour is None:
        await sick.start()
    return ASKED // 2


async def _recovers(gateway: Supervised, sick: SickUpstream) -> float:
    """Seconds until the healed upstream is asked again."""
    sick.behave = healthy
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=gateway.url, timeout=5, trust_env=False) as http:
        while time.monotonic() - began < 2 * HALF_OPEN_WITHIN_S:
            if (await http.get(READ)).status_code == 200:
                return time.monotonic() - began
            await asyncio.sleep(0.1)
    return float("inf")


async def _deadline(trial: Trial, gateway: Supervised, sick: SickUpstream) -> None:
    """An upstream that never answers is given up at the route's deadline."""
    sick.behave = hangs
    async with httpx.AsyncClient(base_url=gateway.url, timeout=40, trust_env=False) as http:
        began = time.monotonic()
        answer = await http.get(READ)
        took_s = time.monotonic() - began
    sick.behave = healthy
    trial.verdict.require(answer.status_code == 504, f"a silent upstream: answered {answer.status_code}")
    trial.verdict.require(
        abs(took_s - DEADLINE_S) <= 0.1 * DEADLINE_S, f"given up after {took_s:.1f} s; the deadline is {DEADLINE_S:g} s"
    )
