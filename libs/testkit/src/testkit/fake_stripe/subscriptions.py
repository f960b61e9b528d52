"""Subscriptions: begun on a Checkout page, renewed, ended."""

from typing import Any

from testkit.fake_stripe import invoices
from testkit.fake_stripe.errors import Refusal, missing
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.periods import next_end
from testkit.fake_stripe.world import Object, World, listed, snapshot

DAY_S = 86_400
ENDED = ("canceled", "incomplete_expired")


def begin(
    world: World, price: Object, quantity: int, customer_id: str, metadata: dict[str, str], trial_days: int, url: str
) -> Object:
    """A subscription, incomplete or in its trial, and its first invoice, open or of nothing."""
    now = world.seconds()
    recurring = price["recurring"]
    trial_end = now + trial_days * DAY_S if trial_days else None
    end = trial_end or next_end(now, now, recurring["interval"], recurring["interval_count"])
    subscription_id = world.new_id("sub")
    item = {
        "id": world.new_id("si"),
        "object": "subscription_item",
        "created": now,
        "current_period_end": end,
        "current_period_start": now,
        "metadata": {},
        "price": snapshot(price),
        "quantity": quantity,
        "subscription": subscription_id,
    }
    fields: dict[str, Any] = {
        "billing_cycle_anchor": trial_end or now,
        "billing_mode": {"type": "flexible"},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "collection_method": "charge_automatically",
        "currency": price["currency"],
        "customer": customer_id,
        "default_payment_method": None,
        "description": None,
        "ended_at": None,
        "items": listed(f"/v1/subscription_items?subscription={subscription_id}", [item]),
        "latest_invoice": None,
        "metadata": dict(metadata),
        "pause_collection": None,
        "schedule": None,
        "start_date": now,
        "status": "trialing" if trial_end else "incomplete",
        "trial_end": trial_end,
        "trial_start": now if trial_end else None,
        "_pending": [],
    }
    subscription = world.add("subscription", "sub", fields, object_id=subscription_id)
    world.emit("customer.subscription.created", subscription)
    amount = 0 if trial_end else price["unit_amount"] * quantity
    title = "Trial period" if trial_end else "1 x subscription"
    first = invoices.line(world, subscription, amount, now, end, title=title)
    invoice = invoices.bill(world, subscription, [first], "subscription_create", url, period=(now, now))
    if not invoice["amount_due"]:
        invoices.pay(world, invoice)
    return subscription


def set_status(world: World, subscription: Object, status: str) -> None:
    """Changes the status and says so, once."""
    before = subscription["status"]
    if before != status:
        subscription["status"] = status
        world.emit("customer.subscription.updated", subscription, {"status": before})


def renew(world: World, subscription: Object, url: str, *, paid: bool, method: str = "card") -> Object:
    """The next period begins with its invoice, paid or missed. Returns the invoice.

    A trial ends so too. Raises Refusal for one that has ended; one that ends with its period is cancelled instead.
    """
    if subscription["status"] in ENDED:
        raise Refusal(f"{subscription['id']} has ended")
    item = subscription["items"]["data"][0]
    start, was_trial = item["current_period_end"], subscription["status"] == "trialing"
    if subscription["cancel_at"] is not None and subscription["cancel_at"] <= start:
        end_now(world, subscription)
        return world.get("invoice", subscription["latest_invoice"])
    recurring = item["price"]["recurring"]
    end = next_end(subscription["billing_cycle_anchor"], start, recurring["interval"], recurring["interval_count"])
    before = {"items": {"data": [{"current_period_end": start, "current_period_start": item["current_period_start"]}]}}
    period = (item["current_period_start"], start)
    item |= {"current_period_start": start, "current_period_end": end}
    amount = item["price"]["unit_amount"] * item["quantity"]
    lines = [
        *subscription["_pending"],
        invoices.line(world, subscription, amount, start, end, title="1 x subscription"),
    ]
    subscription["_pending"] = []
    if was_trial:
        subscription["status"] = "active"
    invoice = invoices.bill(world, subscription, lines, "subscription_cycle", url, period=period)
    world.emit("customer.subscription.updated", subscription, before)
    collect(world, subscription, invoice, paid=paid, method=method)
    return invoice


def collect(world: World, subscription: Object, invoice: Object, *, paid: bool, method: str = "card") -> None:
    """An open invoice is paid, or missed once more."""
    if paid or not invoice["amount_due"]:
        invoices.pay(world, invoice, method)
        set_status(world, subscription, "active")
    else:
        invoices.miss(world, invoice, method)
        if subscription["status"] != "incomplete":
            set_status(world, subscription, "past_due")


def end_now(world: World, subscription: Object) -> None:
    """It is cancelled, for good."""
    now = world.seconds()
    subscription |= {"canceled_at": subscription["canceled_at"] or now, "ended_at": now, "status": "canceled"}
    world.emit("customer.subscription.deleted", subscription)


def cancel_subscription(world: World, params: Params, subscription_id: str) -> Object:
    """DELETE /v1/subscriptions/{id}; an ended one is not found."""
    params.flag("invoice_now"), params.flag("prorate")
    params.done()
    subscription = world.get("subscription", subscription_id)
    if subscription["status"] in ENDED:
        raise missing("subscription", subscription_id)
    end_now(world, subscription)
    return subscription
