"""A subscription changed by the API: its price with what becomes of the difference, its end, its metadata."""

from testkit.fake_stripe import invoices
from testkit.fake_stripe.catalog import add_price, read_recurring
from testkit.fake_stripe.errors import Refusal, declined, invalid, missing
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.periods import next_end
from testkit.fake_stripe.subscriptions import ENDED, collect
from testkit.fake_stripe.world import Object, World, merge_metadata, snapshot

PRORATIONS = ("always_invoice", "create_prorations", "none")
BEHAVIOURS = ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")


def update_subscription(world: World, params: Params, subscription_id: str, url: str) -> Object:
    """POST /v1/subscriptions/{id}: another price, its end, its metadata."""
    proration = params.choice("proration_behavior", PRORATIONS) or "create_prorations"
    behaviour = params.choice("payment_behavior", BEHAVIOURS) or "allow_incomplete"
    at_period_end, cancel_at = params.flag("cancel_at_period_end"), params.unsettable("cancel_at")
    metadata, items = params.metadata(), params.children("items")
    subscription = world.get("subscription", subscription_id)
    changes = [_read_item(world, item, subscription) for item in items]
    params.done()
    if subscription["status"] in ENDED and (changes or at_period_end is not None or cancel_at is not None):
        raise Refusal("A canceled subscription can only update its cancellation_details and metadata.")
    before = snapshot({name: subscription[name] for name in ("cancel_at", "cancel_at_period_end", "items")})
    for price, quantity in changes:
        _change(world, subscription, price, quantity, proration, behaviour, url)
    if at_period_end is not None:
        _end_with_period(world, subscription, at_period_end)
    if cancel_at is not None:
        subscription |= {"cancel_at": int(cancel_at) if cancel_at else None, "cancel_at_period_end": False}
    merge_metadata(subscription, metadata)
    world.emit("customer.subscription.updated", subscription, before)
    return subscription


def _end_with_period(world: World, subscription: Object, at_period_end: bool) -> None:
    # An end that the portal has set as a moment is not this flag's to take away.
    if at_period_end:
        end = subscription["items"]["data"][0]["current_period_end"]
        subscription |= {"cancel_at": end, "canceled_at": world.seconds()}
    elif subscription["cancel_at_period_end"]:
        subscription |= {"cancel_at": None, "canceled_at": None}
    subscription["cancel_at_period_end"] = at_period_end


def _read_item(world: World, item: Params, subscription: Object) -> tuple[Object, int]:
    current = subscription["items"]["data"][0]
    item_id, price_id = item.required("id"), item.text("price")
    price_data, quantity = item.child("price_data"), item.integer("quantity", least=1)
    if item_id != current["id"]:
        raise missing("subscription_item", item_id, item.name("id"))
    if price_data is not None:
        product_id = price_data.required("product")
        world.get("product", product_id, price_data.name("product"))
        currency = price_data.currency("currency") or price_data.required("currency")
        amount, recurring = price_data.integer("unit_amount"), read_recurring(price_data)
        if amount is None or recurring is None:
            raise invalid("Missing required param: unit_amount.", price_data.name("unit_amount"), "parameter_missing")
        price = add_price(world, product_id, currency, amount, recurring)
    else:
        price = world.get("price", price_id, item.name("price")) if price_id else current["price"]
    if price["recurring"] is None or price["currency"] != subscription["currency"]:
        raise Refusal("The price must be recurring, and of the subscription's currency.", param=item.name("price"))
    return price, quantity or current["quantity"]


def _change(
    world: World, subscription: Object, price: Object, quantity: int, proration: str, behaviour: str, url: str
) -> None:
    item = subscription["items"]["data"][0]
    now, start, end = world.seconds(), item["current_period_start"], item["current_period_end"]
    is_paying = subscription["status"] in ("active", "past_due")
    resets = price["recurring"] != item["price"]["recurring"] and is_paying
    if proration == "always_invoice" and is_paying and world.declines and behaviour == "error_if_incomplete":
        raise declined()  # and nothing has changed
    old_end = end
    left = max(end - now, 0) / max(end - start, 1)
    credit = -round(item["price"]["unit_amount"] * item["quantity"] * left)
    if resets:
        recurring = price["recurring"]
        subscription["billing_cycle_anchor"] = now
        start, end = now, next_end(now, now, recurring["interval"], recurring["interval_count"])
    full = price["unit_amount"] * quantity
    charge = full if resets else round(full * left)
    item |= {
        "current_period_start": start,
        "current_period_end": end,
        "price": snapshot(price),
        "quantity": quantity,
    }
    lines = []
    if is_paying and proration != "none":
        lines.append(invoices.line(world, subscription, credit, now, old_end, title="Unused time", proration=True))
        if not resets:
            lines.append(invoices.line(world, subscription, charge, now, end, title="Remaining time", proration=True))
    if resets:
        lines.append(invoices.line(world, subscription, charge, start, end, title="1 x subscription"))
    if proration == "always_invoice" or resets:
        if lines:
            invoice = invoices.bill(world, subscription, lines, "subscription_update", url, period=(now, now))
            collect(world, subscription, invoice, paid=not world.declines)
    else:
        subscription["_pending"] += lines
