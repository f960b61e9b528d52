"""Charges: each try to take the money of a payment intent, and what it leaves the intent in."""

import secrets

from testkit.fake_stripe.world import Object, World


def succeed(world: World, intent: Object, method: str) -> Object:
    """The payer's money is there: charge and intent say so."""
    charge = _add_charge(world, intent, method, is_paid=True)
    intent |= {
        "amount_received": intent["amount"],
        "last_payment_error": None,
        "latest_charge": charge["id"],
        "next_action": None,
        "status": "succeeded",
    }
    world.emit("charge.succeeded", charge)
    world.emit("payment_intent.succeeded", intent)
    return charge


def fail(world: World, intent: Object, method: str, code: str = "card_declined") -> None:
    """A try that came to nothing; the intent may be tried again."""
    charge = _add_charge(world, intent, method, is_paid=False)
    intent |= {
        "last_payment_error": {
            "code": code,
            "message": "Your card was declined." if code == "card_declined" else "The payment attempt has expired.",
            "type": "card_error" if code == "card_declined" else "invalid_request_error",
        },
        "latest_charge": charge["id"],
        "next_action": None,
        "status": "requires_payment_method",
    }
    world.emit("charge.failed", charge)
    world.emit("payment_intent.payment_failed", intent)


def _add_charge(world: World, intent: Object, method: str, *, is_paid: bool) -> Object:
    details: Object = {"type": method, method: {}}
    if method == "pix":
        details["pix"] = {"bank_transaction_id": _end_to_end_id(world) if is_paid else None}
    fields = {
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if is_paid else 0,
        "amount_refunded": 0,
        "captured": is_paid,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": None if is_paid else "card_declined",
        "failure_message": None if is_paid else "Your card was declined.",
        "metadata": dict(intent["metadata"]),
        "paid": is_paid,
        "payment_intent": intent["id"],
        "payment_method_details": details,
        "receipt_url": None,
        "refunded": False,
        "status": "succeeded" if is_paid else "failed",
        "_invoice": intent["_invoice"],
    }
    return world.add("charge", "ch" if method == "card" else "py", fields)


def _end_to_end_id(world: World) -> str:
    """32 characters: E, the bank's eight digits, the minute, eleven of its own."""
    return f"E18236120{world.now():%Y%m%d%H%M}s{secrets.token_hex(5)}"
