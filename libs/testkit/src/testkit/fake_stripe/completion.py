"""What happens when a payer completes a Checkout page, and when their bank tells later."""

from testkit.fake_stripe import charges, intents, subscriptions
from testkit.fake_stripe.catalog import add_customer
from testkit.fake_stripe.errors import Refusal
from testkit.fake_stripe.world import Object, World


def complete(world: World, session: Object, url: str, *, unpaid: bool, method: str | None, name: str | None) -> Object:
    """What happens when the payer has pressed the button; `unpaid`: their bank will tell later.

    Raises Refusal for a page that is not open any more.
    """
    if session["status"] != "open":
        raise Refusal(f"This Checkout Session has a status of `{session['status']}`.")
    method = method or session["payment_method_types"][0]
    details = {"email": session["customer_email"] or "payer@example.com", "name": name, "phone": None}
    if session["customer"]:
        known = world.get("customer", session["customer"])
        details = {"email": known["email"], "name": name or known["name"], "phone": known["phone"]}
    elif session["mode"] == "subscription" or session["customer_creation"] == "always":
        session["customer"] = add_customer(world, details["email"], name)["id"]
    session |= {"customer_details": details, "status": "complete", "url": None, "_method": method}
    if session["mode"] == "subscription":
        _complete_subscription(world, session, url, unpaid=unpaid)
    else:
        _complete_payment(world, session, unpaid=unpaid)
    world.emit("checkout.session.completed", session)
    return session


def _complete_payment(world: World, session: Object, *, unpaid: bool) -> None:
    if not session["amount_total"]:
        session["payment_status"] = "no_payment_required"
        return
    intent = intents.add_intent(
        world,
        session["amount_total"],
        session["currency"],
        session["payment_method_types"],
        metadata=session["_intent_metadata"],
        customer_id=session["customer"],
    )
    session["payment_intent"] = intent["id"]
    world.emit("payment_intent.created", intent)
    if unpaid:
        intent["status"] = "processing"
        world.emit("payment_intent.processing", intent)
    else:
        charges.succeed(world, intent, session["_method"])
        session["payment_status"] = "paid"


def _complete_subscription(world: World, session: Object, url: str, *, unpaid: bool) -> None:
    subscription = subscriptions.begin(
        world,
        world.get("price", session["_price"]),
        session["_quantity"],
        session["customer"],
        session["_subscription_metadata"],
        session["_trial_days"],
        url,
    )
    invoice = world.get("invoice", subscription["latest_invoice"])
    session |= {"invoice": invoice["id"], "subscription": subscription["id"]}
    if not invoice["amount_due"]:
        session["payment_status"] = "no_payment_required"
        if not session["_trial_days"]:
            subscriptions.set_status(world, subscription, "active")
    elif not unpaid:
        subscriptions.collect(world, subscription, invoice, paid=True, method=session["_method"])
        session["payment_status"] = "paid"


def settle(world: World, session: Object, *, succeeded: bool) -> Object:
    """The bank tells what became of a page that was completed unpaid.

    Raises Refusal for one that waits for nothing.
    """
    if session["status"] != "complete" or session["payment_status"] != "unpaid":
        raise Refusal("This Checkout Session does not wait for a payment.")
    subscription = world.find("subscription", session["subscription"])
    if subscription is not None:
        invoice = world.get("invoice", session["invoice"])
        subscriptions.collect(world, subscription, invoice, paid=succeeded, method=session["_method"])
        if not succeeded:
            invoice["status"] = "void"
            world.emit("invoice.voided", invoice)
            subscriptions.set_status(world, subscription, "incomplete_expired")
    else:
        intent = world.get("payment_intent", session["payment_intent"])
        if succeeded:
            charges.succeed(world, intent, session["_method"])
        else:
            charges.fail(world, intent, session["_method"])
    session["payment_status"] = "paid" if succeeded else "unpaid"
    world.emit(f"checkout.session.async_payment_{'succeeded' if succeeded else 'failed'}", session)
    return session
