"""The fake account on a socket: its API, its payers' pages, and what a test makes happen there."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

from testkit.fake_http import Answer, FakeServer, Request
from testkit.fake_stripe import charges, completion, invoices, reversals, sessions, subscriptions
from testkit.fake_stripe.errors import Refusal
from testkit.fake_stripe.forms import read_form
from testkit.fake_stripe.front import Front
from testkit.fake_stripe.render import render_event
from testkit.fake_stripe.sender import Sender
from testkit.fake_stripe.site import Site
from testkit.fake_stripe.world import Object, Shape, World


class FakeStripe:
    """One account, its API and its payers.

    `server` has the faults of the wire, `front` those of Stripe itself, `sender` those of the webhooks.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str = "sk_test_fake",
        webhook_urls: list[str] | None = None,
        webhook_secret: str = "whsec_fake",
        api_shape: Shape = "basil",
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.world = World(api_shape, now)
        self.front = Front(self.world, api_key)
        self._site = Site(self.world, self)
        self.server = FakeServer(self._respond, port=port)
        self.sender = Sender(
            shown=lambda event: render_event(self.world, event, self.webhook_shape),
            now=self.world.now,
            urls=list(webhook_urls or []),
            secrets=[webhook_secret],
        )
        self.world.on_event = self.sender.accept
        self.webhook_shape: Shape | None = None  # an endpoint has a version of its own; None for the API's

    @property
    def url(self) -> str:
        """The API's address."""
        return self.server.url

    @property
    def webhook_urls(self) -> list[str]:
        """The endpoints; may be changed at any time."""
        return self.sender.urls

    @property
    def webhook_secret(self) -> str:
        """What webhooks are signed with; more in `sender.secrets` while it is rolled."""
        return self.sender.secrets[0]

    @property
    def events(self) -> list[Object]:
        """Everything that happened, oldest first."""
        return self.world.events

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeStripe"]:
        """Listens and sends while the block runs."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.sender.running())
            await stack.enter_async_context(self.server.serving())
            yield self

    # What payers and banks do

    def pay(
        self, session_id: str, *, unpaid: bool = False, method: str | None = None, name: str | None = None
    ) -> Object:
        """The payer presses "Pay"; `unpaid`: by a method whose bank tells later."""
        session = self.world.get("checkout.session", session_id)
        return completion.complete(self.world, session, self.url, unpaid=unpaid, method=method, name=name)

    def settle_async(self, session_id: str, *, succeeded: bool = True) -> Object:
        """The bank tells what became of an unpaid session."""
        return completion.settle(self.world, self.world.get("checkout.session", session_id), succeeded=succeeded)

    def expire(self, session_id: str) -> Object:
        """The page's day is over."""
        return sessions.expire_session(self.world, read_form(""), session_id)

    def pay_pix(self, payment_intent_id: str) -> Object:
        """The payer scans the code and pays."""
        intent = self._awaiting_pix(payment_intent_id)
        charges.succeed(self.world, intent, "pix")
        return intent

    def expire_pix(self, payment_intent_id: str) -> Object:
        """The code's time is over."""
        intent = self._awaiting_pix(payment_intent_id)
        charges.fail(self.world, intent, "pix", "payment_intent_payment_attempt_expired")
        return intent

    def _awaiting_pix(self, payment_intent_id: str) -> Object:
        intent = self.world.get("payment_intent", payment_intent_id)
        if intent["status"] != "requires_action":
            raise Refusal(f"There is no code to pay: the payment's status is {intent['status']}.")
        return intent

    def renew(self, subscription_id: str, *, paid: bool = True) -> Object:
        """The next period begins; its invoice is paid or missed. Returns the invoice."""
        subscription = self.world.get("subscription", subscription_id)
        return subscriptions.renew(self.world, subscription, self.url, paid=paid)

    def fail_renewal(self, subscription_id: str) -> Object:
        """The next period begins, and its payment fails. Returns the invoice."""
        return self.renew(subscription_id, paid=False)

    def retry_invoice(self, invoice_id: str, *, paid: bool = True) -> Object:
        """Stripe tries again to collect an open invoice."""
        invoice = self.world.get("invoice", invoice_id)
        if invoice["status"] != "open":
            raise Refusal(f"The invoice is {invoice['status']}.")
        subscription = self.world.get("subscription", invoice["_subscription"])
        subscriptions.collect(self.world, subscription, invoice, paid=paid)
        return invoice

    def void(self, invoice_id: str) -> Object:
        """The invoice is not to be paid any more."""
        return invoices.void_invoice(self.world, read_form(""), invoice_id)

    def announce_trial_end(self, subscription_id: str) -> Object:
        """Three days before a trial ends."""
        subscription = self.world.get("subscription", subscription_id)
        return self.world.emit("customer.subscription.trial_will_end", subscription)

    def end_trial(self, subscription_id: str, *, paid: bool = True) -> Object:
        """The trial is over, and its first period is paid or not. Returns the invoice."""
        return self.renew(subscription_id, paid=paid)

    def cancel(self, subscription_id: str) -> Object:
        """Somebody cancels at Stripe, at once."""
        subscription = self.world.get("subscription", subscription_id)
        subscriptions.end_now(self.world, subscription)
        return subscription

    def cancel_in_portal(self, subscription_id: str, *, resume: bool = False) -> Object:
        """The customer cancels for the period's end, which a flexible subscription says by `cancel_at` alone."""
        subscription = self.world.get("subscription", subscription_id)
        before = {"cancel_at": subscription["cancel_at"]}
        end = subscription["items"]["data"][0]["current_period_end"]
        subscription |= {"cancel_at": None if resume else end, "cancel_at_period_end": False}
        self.world.emit("customer.subscription.updated", subscription, before)
        return subscription

    def pause(self, subscription_id: str, *, resume: bool = False) -> Object:
        """A subscription is paused, or resumed."""
        subscription = self.world.get("subscription", subscription_id)
        subscription["status"] = "active" if resume else "paused"
        self.world.emit(f"customer.subscription.{'resumed' if resume else 'paused'}", subscription)
        return subscription

    def refund(self, payment_intent_id: str, amount: int | None = None) -> Object:
        """Somebody refunds at Stripe."""
        return reversals.refund_charge(self.world, self._charge(payment_intent_id), amount)

    def settle_refund(self, refund_id: str, *, succeeded: bool = True) -> Object:
        """A refund under way comes to its end."""
        refund = self.world.get("refund", refund_id)
        reversals.settle_refund(self.world, refund, succeeded=succeeded)
        return refund

    def dispute(self, payment_intent_id: str, outcome: str | None = None) -> Object:
        """The payer objects; `won` or `lost` decides it, opening it first where it was not."""
        charge = self._charge(payment_intent_id)
        opened = (one for one in self.world.all("dispute", charge=charge["id"]) if one["status"] == "needs_response")
        dispute = next(opened, None) or reversals.open_dispute(self.world, charge)
        if outcome is not None:
            reversals.close_dispute(self.world, dispute, outcome)
        return dispute

    def _charge(self, payment_intent_id: str) -> Object:
        intent = self.world.get("payment_intent", payment_intent_id)
        return self.world.get("charge", str(intent["latest_charge"]), "charge")

    # Webhooks by hand, and counts

    async def deliver(self, event: Object) -> list[int | None]:
        """Sends an event now, once; the answers' statuses."""
        return await self.sender.deliver(event)

    async def settle(self) -> None:
        """Waits until all webhooks are handed over or given up."""
        await self.sender.settle()

    def made(self, kind: str, key: str | None = None) -> int:
        """How many objects of a kind there are, all or those that one Idempotency-Key made."""
        counted = self.world.effects.items()
        return sum(count for (of, by), count in counted if of == kind and key in (None, by))

    async def _respond(self, request: Request) -> Answer:
        if request.path.startswith("/v1/"):
            return await self.front.respond(request, self.url)
        return self._site.respond(request)


@asynccontextmanager
async def fake_stripe(
    *,
    port: int = 0,
    webhook_url: str | None = None,
    secret: str = "whsec_fake",
    api_key: str = "sk_test_fake",
    api_shape: Shape = "basil",
) -> AsyncIterator[FakeStripe]:
    """A fake that runs by itself: its API, its payers' pages, its webhooks to `webhook_url`."""
    fake = FakeStripe(
        port=port,
        api_key=api_key,
        webhook_urls=[webhook_url] if webhook_url else [],
        webhook_secret=secret,
        api_shape=api_shape,
    )
    async with fake.serving():
        yield fake
