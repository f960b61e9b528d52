"""Webhooks: events signed as Stripe signs them and posted in the background, with the ways in which they go astray."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import httpx

from testkit.fake_stripe.world import Object


@dataclass
class Delivery:
    """One try to hand over an event; `status` is None when there was no answer."""

    event_id: str
    url: str
    status: int | None


def signature_header(body: bytes, secrets: list[str], at: datetime) -> str:
    """`Stripe-Signature` with a v1 for each secret, and the v0 that Stripe adds in test mode."""
    stamp = int(at.timestamp())
    signed = f"{stamp}.".encode() + body
    proofs = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={stamp}", *(f"v1={proof}" for proof in proofs), f"v0={'0' * 64}"])


@dataclass
class Sender:
    """Posts events to `urls` in the order in which they happened, until told otherwise by one of the switches."""

    shown: Callable[[Object], Object]
    now: Callable[[], datetime]
    urls: list[str]
    secrets: list[str]
    duplicates: int = 0  # how often each is sent once more
    reverse: bool = False  # whether what has gathered for `gather_s` is sent last first
    gather_s: float = 0.05
    delay_s: float = 0.0
    hold: bool = False  # whether they wait in `held` until they are sent by hand
    types: set[str] | None = None  # the types that the endpoint has asked for; None for all
    retry_after_s: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # Stripe takes three days for it
    timeout_s: float = 20.0
    held: list[Object] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    _queue: "asyncio.Queue[Object]" = field(default_factory=asyncio.Queue)
    _retries: "set[asyncio.Task[None]]" = field(default_factory=set)
    _client: httpx.AsyncClient | None = None

    def accept(self, event: Object) -> None:
        """Something happened."""
        if self.types is not None and event["type"] not in self.types:
            return
        if self.hold:
            self.held.append(event)
        elif self.urls:
            self._queue.put_nowait(event)

    def request(self, event: Object, *, at: datetime | None = None) -> tuple[bytes, dict[str, str]]:
        """The body and headers in which the event is sent."""
        body = json.dumps(self.shown(event), indent=2).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature_header(body, self.secrets, at or self.now()),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        return body, headers

    async def deliver(self, event: Object) -> list[int | None]:
        """Sends it now, once to each URL, to all at the same time; the answers' statuses."""
        return await asyncio.gather(*(self._post(event, url) for url in self.urls))

    async def release(self, *, newest_first: bool = False) -> None:
        """Sends what was held, once each."""
        waiting, self.held = self.held, []
        for event in reversed(waiting) if newest_first else waiting:
            await self.deliver(event)

    async def settle(self) -> None:
        """Waits until everything is handed over or given up."""
        await self._queue.join()
        while self._retries:
            await asyncio.gather(*self._retries)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends in the background while the block runs."""
        async with httpx.AsyncClient(timeout=self.timeout_s, trust_env=False, verify=False) as self._client:
            pump = asyncio.create_task(self._pump())
            try:
                yield
            finally:
                tasks = [pump, *self._retries]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self) -> None:
        while True:
            gathered = [await self._queue.get()]
            if self.reverse:
                await asyncio.sleep(self.gather_s)
            while not self._queue.empty():
                gathered.append(self._queue.get_nowait())
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            for event in reversed(gathered) if self.reverse else gathered:
                for _ in range(1 + self.duplicates):
                    await self._send(event)
                self._queue.task_done()

    async def _send(self, event: Object) -> None:
        for url in self.urls:
            status = await self._post(event, url)
            if status is None or not 200 <= status < 300:
                retry = asyncio.create_task(self._retry(event, url))
                self._retries.add(retry)
                retry.add_done_callback(self._retries.discard)

    async def _retry(self, event: Object, url: str) -> None:
        for wait_s in self.retry_after_s:
            await asyncio.sleep(wait_s)
            status = await self._post(event, url)
            if status is not None and 200 <= status < 300:
                return

    async def _post(self, event: Object, url: str) -> int | None:
        if self._client is None:
            raise RuntimeError("the fake does not run")
        body, headers = self.request(event)
        try:
            answer = await self._client.post(url, content=body, headers=headers)
            status: int | None = answer.status_code
        except httpx.HTTPError:
            status = None
        self.deliveries.append(Delivery(event["id"], url, status))
        return status
