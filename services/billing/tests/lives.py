"""Lives of purchases at the fake Stripe, recorded step by step: what it said at each moment, to be told again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec

from billing.domain.orders import Order
from billing.domain.providers import (
    CheckoutState,
    InvoiceState,
    NotAtProvider,
    Notice,
    PaymentState,
    SubscriptionState,
)
from billing.stripe_api import StripeApi, read_stripe_event
from testkit.fake_stripe import FakeStripe

from .shop import Shop

T = TypeVar("T", bound=msgspec.Struct)
Snapshot = dict[tuple[str, str], str]

_KINDS: dict[str, type[msgspec.Struct]] = {
    "checkout": CheckoutState,
    "subscription": SubscriptionState,
    "invoice": InvoiceState,
    "payment": PaymentState,
}


class Told(msgspec.Struct, frozen=True):
    """One event of a life: what a webhook says of it, and the moment (a snapshot's number) at which it happened."""

    notice: Notice
    moment: int


@dataclass
class Life:
    """A recorded life: `events` in their order, `snapshots` of everything at Stripe after each step."""

    order_id: str
    trial_days: int
    events: list[Told] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


class RecordedStripe(StripeApi):
    """Stripe as it was at `moment` of a life, with ids of its own so that a life can be lived many times."""

    def __init__(self, life: Life, order: Order) -> None:
        super().__init__("sk_test_recorded")
        self._life = life
        self._order = order
        self._suffix = f"x{order.id.hex}"
        self.moment = 0

    def rename(self, text: str) -> str:
        """The recorded ids as this living of the life has them."""
        for _, external_id in self._life.snapshots[-1]:
            text = text.replace(external_id, external_id + self._suffix)
        return text.replace(self._life.order_id, str(self._order.id))

    def notice(self, told: Told) -> Notice:
        """The event's notice with these ids."""
        return msgspec.json.decode(self.rename(msgspec.json.encode(told.notice).decode()), type=Notice)

    async def get_checkout(self, session_id: str) -> CheckoutState:
        return self._get("checkout", session_id, CheckoutState)

    async def get_subscription(self, subscription_id: str) -> SubscriptionState:
        return self._get("subscription", subscription_id, SubscriptionState)

    async def get_invoice(self, invoice_id: str) -> InvoiceState:
        return self._get("invoice", invoice_id, InvoiceState)

    async def get_payment(self, payment_intent_id: str) -> PaymentState:
        return self._get("payment", payment_intent_id, PaymentState)

    async def find_checkout(self, reference: UUID, since: datetime) -> CheckoutState | None:
        for kind, external_id in self._life.snapshots[self.moment]:
            if kind == "checkout":
                return await self.get_checkout(external_id + self._suffix)
        return None

    def _get(self, kind: str, external_id: str, into: type[T]) -> T:
        known = self._life.snapshots[self.moment].get((kind, external_id.removesuffix(self._suffix)))
        if known is None:
            raise NotAtProvider("not there at that moment")
        return msgspec.json.decode(self.rename(known), type=into)


class Recorder:
    """Records a life while it is lived at the fake."""

    def __init__(self, shop: Shop, order: Order) -> None:
        self.stripe: FakeStripe = shop.stripe
        self.page = str(order.external_id)
        self.life = Life(str(order.id), order.trial_days)
        self._shop = shop
        self._order = order
        self._known = len(shop.stripe.events)

    async def step(self, *told: str) -> None:
        """Takes down what is at Stripe now, and of what happened since the last step the latest event of each type."""
        happened = self.stripe.events[self._known :]
        self._known = len(self.stripe.events)
        self.life.snapshots.append(await self._snapshot())
        for event_type in told:
            event = next(one for one in reversed(happened) if one["type"] == event_type)
            body, _ = self.stripe.sender.request(event)
            self.life.events.append(Told(read_stripe_event(body), len(self.life.snapshots) - 1))

    async def _snapshot(self) -> Snapshot:
        api = await self._shop.accounts.of_platform(self._order.provider)
        assert isinstance(api, StripeApi)
        world, found = self.stripe.world, Snapshot()
        page = world.get("checkout.session", self.page)
        found["checkout", self.page] = _text(await api.get_checkout(self.page))
        if page["subscription"]:
            found["subscription", page["subscription"]] = _text(await api.get_subscription(page["subscription"]))
        for invoice in world.all("invoice", _subscription=page["subscription"]):
            found["invoice", invoice["id"]] = _text(await api.get_invoice(invoice["id"]))
            if invoice["_intent"]:
                found["payment", invoice["_intent"]] = _text(await api.get_payment(invoice["_intent"]))
        if page["payment_intent"]:
            found["payment", page["payment_intent"]] = _text(await api.get_payment(page["payment_intent"]))
        return found


def _text(state: msgspec.Struct) -> str:
    return msgspec.json.encode(state).decode()


async def late_then_ended(shop: Shop) -> Life:
    """A renewal fails, is made good, and the subscription ends."""
    record = Recorder(shop, await shop.sell())
    session = record.stripe.pay(record.page)
    await record.step("customer.subscription.created", "invoice.paid", "checkout.session.completed")
    renewal = record.stripe.fail_renewal(session["subscription"])
    await record.step("invoice.payment_failed")
    record.stripe.retry_invoice(renewal["id"])
    await record.step("invoice.paid")
    record.stripe.cancel(session["subscription"])
    await record.step("customer.subscription.deleted")
    return record.life


async def paid_later(shop: Shop) -> Life:
    """The page is completed unpaid, and the bank says yes."""
    record = Recorder(shop, await shop.sell())
    session = record.stripe.pay(record.page, unpaid=True)
    await record.step("customer.subscription.created", "checkout.session.completed")
    record.stripe.settle_async(record.page)
    await record.step("invoice.paid", "customer.subscription.updated", "checkout.session.async_payment_succeeded")
    record.stripe.cancel_in_portal(session["subscription"])
    await record.step("customer.subscription.updated")
    return record.life


async def never_paid(shop: Shop) -> Life:
    """The page is completed unpaid, and the bank says no."""
    record = Recorder(shop, await shop.sell())
    record.stripe.pay(record.page, unpaid=True)
    await record.step("customer.subscription.created", "checkout.session.completed")
    record.stripe.settle_async(record.page, succeeded=False)
    await record.step(
        "invoice.payment_failed", "invoice.voided", "customer.subscription.updated",
        "checkout.session.async_payment_failed",
    )  # fmt: skip
    return record.life


async def a_trial(shop: Shop) -> Life:
    """A trial that ends in a paid period, and another that fails."""
    record = Recorder(shop, await shop.sell(trial_days=14))
    session = record.stripe.pay(record.page)
    await record.step("customer.subscription.created", "checkout.session.completed")
    record.stripe.announce_trial_end(session["subscription"])
    await record.step("customer.subscription.trial_will_end")
    record.stripe.end_trial(session["subscription"])
    await record.step("invoice.paid")
    record.stripe.fail_renewal(session["subscription"])
    await record.step("invoice.payment_failed", "customer.subscription.updated")
    return record.life


async def given_back(shop: Shop) -> Life:
    """Part of the first payment goes back, then all of it, and the subscription ends."""
    record = Recorder(shop, await shop.sell())
    session = record.stripe.pay(record.page)
    await record.step("invoice.paid", "checkout.session.completed")
    intent = record.stripe.world.get("invoice", session["invoice"])["_intent"]
    record.stripe.refund(intent, 700)
    await record.step("charge.refunded")
    record.stripe.refund(intent)
    await record.step("charge.refunded")
    record.stripe.cancel(session["subscription"])
    await record.step("customer.subscription.deleted")
    return record.life


async def owed_no_more(shop: Shop) -> Life:
    """A renewal fails and its invoice is voided; the next one is paid."""
    record = Recorder(shop, await shop.sell())
    session = record.stripe.pay(record.page)
    await record.step("checkout.session.completed")
    renewal = record.stripe.fail_renewal(session["subscription"])
    await record.step("invoice.payment_failed", "customer.subscription.updated")
    record.stripe.void(renewal["id"])
    await record.step("invoice.voided")
    record.stripe.renew(session["subscription"])
    await record.step("invoice.paid", "customer.subscription.updated")
    return record.life


async def one_payment(shop: Shop) -> Life:
    """A page of one payment, disputed and won; the cycle is ours."""
    record = Recorder(shop, await shop.sell(is_recurring=False))
    session = record.stripe.pay(record.page)
    await record.step("payment_intent.succeeded", "checkout.session.completed")
    record.stripe.dispute(session["payment_intent"])
    await record.step("charge.dispute.created")
    record.stripe.dispute(session["payment_intent"], "won")
    await record.step("charge.dispute.closed")
    return record.life


async def left_open(shop: Shop) -> Life:
    """Nobody pays, and the page expires."""
    record = Recorder(shop, await shop.sell())
    await record.step()
    record.stripe.expire(record.page)
    await record.step("checkout.session.expired")
    return record.life


LIVES: tuple[Callable[[Shop], Awaitable[Life]], ...] = (
    late_then_ended,
    paid_later,
    never_paid,
    a_trial,
    given_back,
    owed_no_more,
    one_payment,
    left_open,
)


def unique_event(notice: Notice) -> Notice:
    """The notice as a new event: the same news, told once more under another id."""
    return msgspec.structs.replace(notice, event_id=f"evt_{uuid4().hex}")


def facts_of(told: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What events say, less ids and times: sorted, so that two runs can be compared."""
    names = (
        "type", "status", "previous_status", "amount_cents", "refunded_cents", "amount_refunded_cents", "paid_cents",
        "attempts", "outcome", "cancel_at_period_end", "currency",
    )  # fmt: skip
    return sorted(tuple(str(one.get(name)) for name in names) for one in told)
