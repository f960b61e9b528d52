"""Checkout sessions: the request for a page, and its end unpaid."""

from typing import Any

from testkit.fake_stripe import intents
from testkit.fake_stripe.catalog import add_price, add_product, read_recurring
from testkit.fake_stripe.errors import Refusal, invalid
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.world import Object, World

MODES = ("payment", "subscription")
LIFETIME_S = 86_400


def create_session(world: World, params: Params, page_url: str) -> Object:
    """POST /v1/checkout/sessions."""
    mode = params.choice("mode", MODES) or params.required("mode")
    success_url, cancel_url = params.url("success_url"), params.url("cancel_url")
    customer_id, email = params.text("customer"), params.email("customer_email")
    reference = params.text("client_reference_id", max_length=200)
    metadata, expires_at = params.metadata() or {}, params.integer("expires_at")
    types = intents.read_method_types(params) or ["card"]
    customer_creation = params.choice("customer_creation", ("always", "if_required"))
    intent_metadata, subscription_metadata, trial_days = _read_data(params, mode)
    params.text("locale"), params.flag("allow_promotion_codes"), params.choice("ui_mode", ("hosted", "hosted_page"))
    items = [_read_line(world, line) for line in params.children("line_items")]
    params.done()
    if success_url is None:
        raise invalid("Missing required param: success_url.", "success_url", "parameter_missing")
    if not items:
        raise invalid("Missing required param: line_items.", "line_items", "parameter_missing")
    if customer_id and email:
        raise invalid("You may only specify one of these parameters: customer, customer_email.", "customer")
    if customer_creation and mode != "payment":
        raise invalid("`customer_creation` can only be used in `payment` mode.", "customer_creation")
    if customer_id:
        world.get("customer", customer_id, "customer")
    price, quantity = items[0]
    _check_mode(mode, price, types)
    subtotal = sum(one["unit_amount"] * count for one, count in items)
    if mode == "payment" and 0 < subtotal < intents.LEAST_CENTS:
        raise invalid(
            "The Checkout Session's total amount due must add up to at least R$0.50 brl", "", "amount_too_small"
        )
    session_id = world.new_id("cs_test")
    fields: dict[str, Any] = {
        "amount_subtotal": subtotal,
        "amount_total": 0 if trial_days else subtotal,
        "cancel_url": cancel_url,
        "client_reference_id": reference,
        "currency": price["currency"],
        "customer": customer_id,
        "customer_creation": (customer_creation or "if_required") if mode == "payment" else None,
        "customer_details": {"email": email, "name": None, "phone": None} if email else None,
        "customer_email": email,
        "expires_at": expires_at or world.seconds() + LIFETIME_S,
        "invoice": None,
        "metadata": metadata,
        "mode": mode,
        "payment_intent": None,
        "payment_method_types": types,
        "payment_status": "unpaid",
        "status": "open",
        "subscription": None,
        "success_url": success_url,
        "ui_mode": "hosted_page",
        "url": f"{page_url}/c/pay/{session_id}",
        "_intent_metadata": intent_metadata,
        "_price": price["id"],
        "_quantity": quantity,
        "_subscription_metadata": subscription_metadata,
        "_trial_days": trial_days,
    }
    return world.add("checkout.session", "cs_test", fields, object_id=session_id)


def _read_data(params: Params, mode: str) -> tuple[dict[str, str], dict[str, str], int]:
    """What goes on to the payment intent or to the subscription, each in its own mode only."""
    intent_data, subscription_data = params.child("payment_intent_data"), params.child("subscription_data")
    if intent_data is not None and mode != "payment":
        raise invalid(f"You can not pass `payment_intent_data` in `{mode}` mode.", "payment_intent_data")
    if subscription_data is not None and mode != "subscription":
        raise invalid(f"You can not pass `subscription_data` in `{mode}` mode.", "subscription_data")
    if intent_data is not None:
        intent_data.text("description")
    trial_days = subscription_data.integer("trial_period_days", least=1, most=730) if subscription_data else None
    return (
        (intent_data.metadata() if intent_data else None) or {},
        (subscription_data.metadata() if subscription_data else None) or {},
        trial_days or 0,
    )


def _read_line(world: World, line: Params) -> tuple[Object, int]:
    price_id, data = line.text("price"), line.child("price_data")
    quantity = line.integer("quantity", least=1)
    if quantity is None:
        name = line.name("quantity")
        raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
    if (price_id is None) == (data is None):
        raise invalid("You must specify either `price` or `price_data`.", line.name("price"), "parameter_missing")
    if data is None:
        price = world.get("price", str(price_id), line.name("price"))
        if not price["active"]:
            raise Refusal("The price specified is inactive.", param=line.name("price"))
        return price, quantity
    currency = data.currency("currency") or data.required("currency")
    amount, recurring = data.integer("unit_amount"), read_recurring(data)
    product_data, product_id = data.child("product_data"), data.text("product")
    if amount is None:
        raise invalid("Missing required param: unit_amount.", data.name("unit_amount"), "parameter_missing")
    if product_data is not None:
        product = add_product(world, product_data.required("name"), product_data.text("description"))
    else:
        product = world.get("product", product_id or data.required("product"), data.name("product"))
    return add_price(world, product["id"], currency, amount, recurring), quantity


def _check_mode(mode: str, price: Object, types: list[str]) -> None:
    if mode == "payment" and price["recurring"]:
        raise Refusal("You specified `payment` mode but passed a recurring price. Switch to `subscription` mode.")
    if mode == "subscription" and not price["recurring"]:
        raise Refusal("You must provide at least one recurring price in `subscription` mode.")
    if "pix" in types and price["currency"] != "brl":
        raise Refusal("The payment method `pix` cannot be used with this currency.", param="payment_method_types")
    if "pix" in types and mode == "subscription":
        # An account in Brazil: one-time PIX only.
        raise Refusal("The payment method `pix` cannot be used in `subscription` mode.", param="payment_method_types")


def expire_session(world: World, params: Params, session_id: str) -> Object:
    """POST /v1/checkout/sessions/{id}/expire."""
    params.done()
    session = world.get("checkout.session", session_id)
    if session["status"] != "open":
        raise Refusal(
            'Only Checkout Sessions with a status in ["open"] can be expired.'
            f" This Checkout Session has a status of `{session['status']}`."
        )
    session |= {"status": "expired", "url": None}
    world.emit("checkout.session.expired", session)
    return session
