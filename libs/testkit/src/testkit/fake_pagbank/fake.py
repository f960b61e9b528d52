"""The fake as a test or the local runner holds it: started, told what happens, and asked what it saw."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from chassis.clock import utc_now
from testkit.fake_hooks import Delivery, HookFaults, HookQueue, Hooks
from testkit.fake_http import Answer, FakeServer, Request
from testkit.fake_pagbank import reversals
from testkit.fake_pagbank.page import checkout_page
from testkit.fake_pagbank.refusals import Refusal
from testkit.fake_pagbank.routes import Api
from testkit.fake_pagbank.signing import Signing
from testkit.fake_pagbank.world import Object, World

TOKEN = "pagbank-fake-token"
TRIES = 50  # PagBank publishes no number; an event that is refused for good must not stop the others here


class FakePagBank:
    """One account on a socket of its own: `async with FakePagBank() as pagbank`, then `pagbank.url` is the API's.

    `server.faults` are what may happen to requests, `hook_faults` what may happen to webhooks, `signing` says which
    signatures they carry.
    """

    def __init__(
        self,
        *,
        token: str = TOKEN,
        port: int = 0,
        hang_s: float = 30.0,
        retry_s: float = 0.05,
        sandbox: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """A `sandbox` signs no webhook, as PagBank's is reported to do."""
        self.token = token
        self.signing = Signing(token, by_token=not sandbox, by_key=not sandbox)
        self.hook_faults = HookFaults()
        self.server = FakeServer(self._respond, port=port, hang_s=hang_s)
        self._retry_s = retry_s
        self._hooks = Hooks(self._queue, self.hook_faults)
        self._forge: Callable[[Object], Object] = lambda found: found
        self.world = World(now, self._emit, self.server.url)
        self._api = Api(self.world, token, self.signing.public_key)
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """The API's base URL."""
        return self.server.url

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Listens and delivers while the block runs."""
        async with self.server.serving(), self._hooks.delivering():
            yield self

    async def __aenter__(self) -> Self:
        return await self._stack.enter_async_context(self.serving())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # --- what it has and has done

    @property
    def effects(self) -> dict[str, Counter[str]]:
        """How often something was really made: `effects["order"]["<our reference>"]`; also checkout, paid, refund."""
        return self.world.effects

    @property
    def deliveries(self) -> list[Delivery]:
        """Every try to deliver a webhook."""
        return self._hooks.deliveries

    def order(self, order_id: str) -> Object:
        """An order as the API shows it."""
        return self.world.order(order_id)

    def orders_of(self, reference: str) -> list[Object]:
        """The orders with our reference, oldest first."""
        return [order for order in self.world.orders.values() if order.get("reference_id") == reference]

    # --- what happens

    def pay(self, order_id: str, method: str = "PIX", amount_cents: int | None = None) -> str:
        """The payer pays an order, or another amount than it asks for; the charge's id."""
        return str(self.world.pay(order_id, method, amount_cents)["id"])

    def pay_checkout(self, checkout_id: str, method: str = "PIX") -> str:
        """The payer pays a checkout; the id of the order that comes of it."""
        return str(self.world.pay_checkout(checkout_id, method)["id"])

    def analyse_checkout(self, checkout_id: str) -> str:
        """A card is given on a checkout's page and looked into; the id of the order, which `pay` decides."""
        return str(self.world.analyse_checkout(checkout_id)["id"])

    def decline(self, order_id: str) -> str:
        """A card is refused; the charge's id."""
        return str(self.world.decline(order_id)["id"])

    def refund(self, order_id: str, amount_cents: int | None = None) -> None:
        """Somebody refunds the order's paid charge in PagBank's own interface."""
        charge = next(one for one in self.world.order(order_id)["charges"] if one["status"] == "PAID")
        summary = charge["amount"]["summary"]
        reversals.cancel(self.world, charge["id"], amount_cents or summary["paid"] - summary["refunded"])

    def finish_refunds(self, order_id: str) -> None:
        """What `world.refunds_wait` has kept of the order's paid charge goes back."""
        charge = next(one for one in self.world.order(order_id)["charges"] if one["id"] in self.world.waiting)
        reversals.finish_refunds(self.world, charge["id"])

    def fail_refund(self, order_id: str, amount_cents: int | None = None) -> None:
        """The payer's bank returns that much of what was refunded, or all of it."""
        charge = next(one for one in self.world.order(order_id)["charges"] if one["amount"]["summary"]["refunded"])
        reversals.fail_refund(self.world, charge["id"], amount_cents or charge["amount"]["summary"]["refunded"])

    def expire_checkout(self, checkout_id: str) -> None:
        """Nobody paid a checkout in time."""
        self.world.expire_checkout(checkout_id)

    # --- switches

    def release_account(self, *, is_released: bool) -> None:
        """Whether PagBank has listed the account: until then orders, charges and checkouts answer 403 ACCESS_DENIED."""
        self._api.is_released = is_released

    def move_public_keys(self, path: str) -> None:
        """Serves the webhook key at `path` only: PagBank's guide and reference name different ones."""
        self._api.public_keys_path = path

    # --- webhooks

    def hold(self) -> None:
        """Delivers nothing until `release`: events pile up in their order."""
        self._hooks.hold()

    def release(self) -> None:
        """Delivers what was held, newest first where `hook_faults.newest_first` says so."""
        self._hooks.release()

    def forge(self, change: Callable[[Object], Object] | None) -> None:
        """Lets deliveries tell another object than the API does, signed all the same; None ends it."""
        self._forge = change or (lambda found: found)

    def send(self, url: str, body: Mapping[str, Any]) -> None:
        """Delivers any body, signed as the others are."""
        self._hooks.queue(url).put(json.dumps(body, separators=(",", ":")).encode())

    async def settle(self, timeout_s: float = 10.0) -> None:
        """Returns when everything is delivered that can be. Raises TimeoutError."""
        await self._hooks.settle(timeout_s)

    def _queue(self, url: str) -> HookQueue:
        return HookQueue(
            url,
            lambda raw: self.signing.headers(raw),
            lambda status: 200 <= status < 300,
            self.hook_faults,
            failures_to_drop=TRIES,
            retry_s=self._retry_s,
        )

    def _emit(self, found: Object, urls: Sequence[str]) -> None:
        for url in urls:
            self.send(url, self._forge(json.loads(json.dumps(found))))

    async def _respond(self, request: Request) -> Answer:
        if request.path != "/pagamento":
            return self._api.answer(request)
        try:
            checkout = self.world.checkout(parse_qs(request.query).get("code", [""])[0])
            if request.method == "POST":
                method = parse_qs(request.body.decode("utf-8", "replace")).get("method", ["PIX"])[0]
                self.world.pay_checkout(checkout["id"], method)
                return Answer(303, b"", {"location": f"{request.path}?{request.query}"})
        except Refusal as refusal:
            return Answer(404 if refusal.status == 404 else 409, f"<p>{refusal}</p>".encode())
        return Answer(200, checkout_page(checkout, f"{request.path}?{request.query}"))
