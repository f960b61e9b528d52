"""What the providers' fakes share: the delivery of webhooks over a real socket, and how it can be made to go wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

_PATIENCE_S = 10.0


@dataclass
class HookFaults:
    """What may befall deliveries: they come again, newest first, late, or not until they are let go."""

    duplicates: int = 0  # how many more times each accepted one is sent
    newest_first: bool = False
    delay_s: float = 0.0
    held: bool = False  # set by Hooks.hold and Hooks.release


@dataclass
class Delivery:
    """One try: what went out, and the status that came back, None when nothing did."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    status: int | None


@dataclass
class HookQueue:
    """Delivers to one address, one event after another; what fails is tried again after `retry_s`.

    After `failures_to_pause` failures in a row it is `interrupted`, and holds everything until it is resumed; after
    `failures_to_drop` it forgets the event that failed and goes on with the next.
    """

    url: str
    headers_of: Callable[[bytes], Mapping[str, str]]
    is_accepted: Callable[[int], bool]
    faults: HookFaults
    failures_to_pause: int | None = None
    failures_to_drop: int | None = None
    retry_s: float = 0.05
    failures: int = 0
    interrupted: bool = False
    pending: list[bytes] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    _is_sending: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, body: bytes) -> None:
        """Sends it, when its turn comes."""
        self.pending.append(body)
        self._wake.set()

    def resume(self) -> None:
        """Lets an interrupted queue go on with what it held."""
        self.failures, self.interrupted = 0, False
        self._wake.set()

    def wake(self) -> None:
        """Looks again whether something can go out."""
        self._wake.set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing will go out before somebody does something."""
        return not self._is_sending and (not self.pending or self.interrupted or self.faults.held)

    async def run(self, client: httpx.AsyncClient) -> None:
        """Delivers until it is cancelled."""
        while True:
            if self.is_idle:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._is_sending = True
            try:
                await self._send_one(client)
            finally:
                self._is_sending = False

    async def _send_one(self, client: httpx.AsyncClient) -> None:
        if self.faults.delay_s:
            await asyncio.sleep(self.faults.delay_s)
        body = self.pending.pop(-1 if self.faults.newest_first else 0)
        for _ in range(1 + self.faults.duplicates):
            if not await self._try(client, body):
                self.failures += 1
                if self.failures_to_drop is not None and self.failures >= self.failures_to_drop:
                    self.failures = 0
                    return
                self.pending.insert(len(self.pending) if self.faults.newest_first else 0, body)
                self.interrupted = self.failures_to_pause is not None and self.failures >= self.failures_to_pause
                if not self.interrupted:
                    await asyncio.sleep(self.retry_s)
                return
            self.failures = 0

    async def _try(self, client: httpx.AsyncClient, body: bytes) -> bool:
        headers = self.headers_of(body)
        try:
            status = (await client.post(self.url, content=body, headers=headers)).status_code
        except httpx.HTTPError:
            status = None
        self.deliveries.append(Delivery(self.url, body, headers, status))
        return status is not None and self.is_accepted(status)


class Hooks:
    """All of a fake's queues, by their address."""

    def __init__(self, make_queue: Callable[[str], HookQueue], faults: HookFaults) -> None:
        self._make_queue = make_queue
        self.faults = faults
        self.queues: dict[str, HookQueue] = {}
        self._client: httpx.AsyncClient | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def queue(self, url: str) -> HookQueue:
        """The queue of that address, made when it is the first to ask."""
        if url not in self.queues:
            self.queues[url] = self._make_queue(url)
            self._start(url)
        return self.queues[url]

    def remove(self, url: str) -> None:
        """Forgets an address and what it had not got yet."""
        self.queues.pop(url, None)
        if task := self._tasks.pop(url, None):
            task.cancel()

    def hold(self) -> None:
        """Delivers nothing until `release`: events pile up in their order."""
        self.faults.held = True

    def release(self) -> None:
        """Delivers what was held, newest first where the faults say so."""
        self.faults.held = False
        for queue in self.queues.values():
            queue.wake()

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Delivers while the block runs."""
        async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False, verify=False) as client:
            self._client = client
            for url in self.queues:
                self._start(url)
            try:
                yield
            finally:
                self._client = None
                tasks = list(self._tasks.values())
                self._tasks.clear()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self, timeout_s: float = 10.0) -> None:
        """Returns when nothing is left to deliver, but for what is held or interrupted. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not all(queue.is_idle for queue in self.queues.values()):  # noqa: ASYNC110 - there is no one event for many queues
                await asyncio.sleep(0.005)

    @property
    def deliveries(self) -> list[Delivery]:
        """Every try to every address."""
        return [delivery for queue in self.queues.values() for delivery in queue.deliveries]

    def _start(self, url: str) -> None:
        if self._client is not None and url not in self._tasks:
            self._tasks[url] = asyncio.create_task(self.queues[url].run(self._client))
