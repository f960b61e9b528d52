"""The fake as a test or the local runner holds it: started, told what happens, and asked what it saw."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from chassis.clock import utc_now
from testkit.fake_asaas import reversals
from testkit.fake_asaas.page import invoice_page
from testkit.fake_asaas.refusals import Refusal
from testkit.fake_asaas.routes import Api
from testkit.fake_asaas.shapes import shown
from testkit.fake_asaas.webhooks import Webhooks
from testkit.fake_asaas.world import Object, World
from testkit.fake_hooks import Delivery, HookFaults
from testkit.fake_http import Answer, FakeServer, Request

API_KEY = "$aact_hmlg_fake"


class FakeAsaas:
    """One sandbox account on a socket of its own: `async with FakeAsaas() as asaas`, then `asaas.url` is the API's.

    `server.faults` are what may happen to requests, `hook_faults` what may happen to webhooks.
    """

    def __init__(
        self,
        *,
        api_key: str = API_KEY,
        port: int = 0,
        hang_s: float = 30.0,
        retry_s: float = 0.05,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.api_key = api_key
        self.hook_faults = HookFaults()
        self.server = FakeServer(self._respond, port=port, hang_s=hang_s)
        self._webhooks = Webhooks(self.hook_faults, retry_s, lambda: self.world.time_text())
        self.world = World(now, self._webhooks.emit, self.server.url)
        self._api = Api(self.world, self._webhooks, api_key)
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """The API's base URL."""
        return f"{self.server.url}/v3"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Listens and delivers while the block runs."""
        async with self.server.serving(), self._webhooks.hooks.delivering():
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
        """How often something was really made: `effects["payment"]["<our reference>"]`; also paid, refund and so on."""
        return self.world.effects

    @property
    def deliveries(self) -> list[Delivery]:
        """Every try to deliver a webhook."""
        return self._webhooks.hooks.deliveries

    def payment(self, payment_id: str) -> Object:
        """A payment as the API shows it."""
        return shown(self.world.payment(payment_id))

    def payments_of(self, reference: str) -> list[Object]:
        """The payments with our reference, oldest first, removed ones too."""
        return [shown(one) for one in self.world.payments.values() if one["externalReference"] == reference]

    # --- what happens

    def pay(self, payment_id: str, method: str | None = None) -> None:
        """The payer pays: PIX and boleto are RECEIVED, a card is CONFIRMED and RECEIVED when it is credited."""
        self.world.pay(payment_id, method)

    def credit(self, payment_id: str) -> None:
        """A confirmed card payment reaches the balance."""
        self.world.credit(payment_id)

    def overdue(self, payment_id: str) -> None:
        """Its due day has passed."""
        self.world.overdue(payment_id)

    def restore(self, payment_id: str) -> None:
        """Somebody restores a removed payment in Asaas' own interface."""
        self.world.restore_payment(payment_id)

    def refund(self, payment_id: str, amount_cents: int | None = None, description: str | None = None) -> None:
        """Somebody refunds it in Asaas' own interface."""
        reversals.refund(self.world, payment_id, amount_cents, description)

    def finish_refunds(self, payment_id: str) -> None:
        """Refunds that `world.refunds_wait` has kept pending are done."""
        reversals.finish_refunds(self.world, payment_id)

    def fail_refunds(self, payment_id: str) -> None:
        """Its refunds fail, those that were done too: the money is in the account again."""
        reversals.fail_refunds(self.world, payment_id)

    def chargeback(self, payment_id: str) -> None:
        """The payer's bank takes the money back, for now."""
        reversals.chargeback(self.world, payment_id)

    def dispute(self, payment_id: str) -> None:
        """The seller contests a chargeback."""
        reversals.dispute(self.world, payment_id)

    def end_dispute(self, payment_id: str, *, won: bool) -> None:
        """The bank decides a chargeback."""
        reversals.end_dispute(self.world, payment_id, won=won)

    def delete(self, payment_id: str) -> None:
        """Somebody withdraws a payment in Asaas' own interface."""
        self.world.remove_payment(payment_id)

    def delete_subscription(self, subscription_id: str) -> None:
        """Somebody ends a subscription in Asaas' own interface."""
        self.world.remove_subscription(subscription_id)

    def renew(self, subscription_id: str) -> str:
        """The subscription's next payment is made; its id."""
        return str(self.world.renew(subscription_id)["id"])

    # --- webhooks

    def add_webhook(self, url: str, auth_token: str | None, events: Sequence[str] = ()) -> str:
        """Registers an address, for all events unless some are named; its id. A token has 32 to 255 characters."""
        body = {"name": "test", "url": url, "email": "a@example.com", "authToken": auth_token, "events": list(events)}
        return str(self._webhooks.add(body)["id"])

    def webhook(self, webhook_id: str) -> Object:
        """A registered webhook as the API shows it: `interrupted` says that its queue has stopped."""
        return self._webhooks.one(webhook_id)

    def hold(self) -> None:
        """Delivers nothing until `release`: events pile up in their order."""
        self._webhooks.hooks.hold()

    def release(self) -> None:
        """Delivers what was held, newest first where `hook_faults.newest_first` says so."""
        self._webhooks.hooks.release()

    def forge(self, change: Callable[[Object], Object] | None) -> None:
        """Lets deliveries tell another object than the API does, as somebody with the token could; None ends it."""
        self._webhooks.forge = change or (lambda found: found)

    def send(self, body: Mapping[str, Any]) -> None:
        """Delivers any body to the addresses that want its `event`."""
        self._webhooks.send(body)

    async def settle(self, timeout_s: float = 10.0) -> None:
        """Returns when everything is delivered that can be. Raises TimeoutError."""
        await self._webhooks.hooks.settle(timeout_s)

    async def _respond(self, request: Request) -> Answer:
        if request.path.startswith("/v3/"):
            return self._api.answer(request)
        payment_id = f"pay_{request.path.removeprefix('/i/').removesuffix('/')}"
        if not request.path.startswith("/i/") or payment_id not in self.world.payments:
            return Answer(404, b"<h1>404</h1>")
        if request.method == "POST":
            method = parse_qs(request.body.decode("utf-8", "replace")).get("method", [None])[0]
            try:
                self.world.pay(payment_id, method)
            except Refusal as refusal:
                return Answer(409, f"<p>{refusal}</p>".encode())
            return Answer(303, b"", {"location": request.path})
        return Answer(200, invoice_page(self.world.payments[payment_id], request.path))
