"""Invoices of subscriptions: drawn up, finalised, paid, missed, voided."""

from typing import Any

from testkit.fake_stripe import charges, intents
from testkit.fake_stripe.errors import Refusal, declined
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.world import Object, World, listed

RETRY_S = 3 * 86_400


def line(
    world: World, subscription: Object, amount: int, start: int, end: int, *, title: str, proration: bool = False
) -> Object:
    """A line for one item of a subscription."""
    item = subscription["items"]["data"][0]
    return {
        "id": world.new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": subscription["currency"],
        "description": title,
        "livemode": False,
        "metadata": dict(subscription["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": start, "end": end},
        "pricing": {
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
            "type": "price_details",
        },
        "quantity": item["quantity"],
    }


def bill(
    world: World, subscription: Object, lines: list[Object], reason: str, url: str, *, period: tuple[int, int]
) -> Object:
    """A finalised invoice with a payment intent where there is something to pay."""
    total = sum(one["amount"] for one in lines)
    due = max(total, 0)
    customer = world.get("customer", subscription["customer"])
    invoice_id = world.new_id("in")
    fields: dict[str, Any] = {
        "account_country": "BR",
        "amount_due": due,
        "amount_paid": 0,
        "amount_remaining": due,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "due_date": None,
        "hosted_invoice_url": None,
        "lines": listed(f"/v1/invoices/{invoice_id}/lines", lines),
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        # As at Stripe: not what is paid for, but when its items came together.
        "period_start": period[0],
        "period_end": period[1],
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "total": total,
        "_subscription": subscription["id"],
        "_intent": None,
    }
    invoice = world.add("invoice", "in", fields, object_id=invoice_id)
    subscription["latest_invoice"] = invoice_id
    world.emit("invoice.created", invoice)
    _finalise(world, invoice, url)
    return invoice


def _finalise(world: World, invoice: Object, url: str) -> None:
    count = sum(1 for _ in world.all("invoice"))
    invoice |= {
        "hosted_invoice_url": f"{url}/i/{invoice['id']}",
        "number": f"FAKE-{count:04}",
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = world.seconds()
    if invoice["amount_due"]:
        intent = intents.add_intent(
            world,
            invoice["amount_due"],
            invoice["currency"],
            ["card"],
            customer_id=invoice["customer"],
            invoice_id=invoice["id"],
        )
        intent["description"] = "Subscription update" if invoice["billing_reason"] != "subscription_create" else None
        invoice["_intent"] = intent["id"]
        world.add(
            "invoice_payment",
            "inpay",
            {
                "amount_paid": None,
                "amount_requested": invoice["amount_due"],
                "currency": invoice["currency"],
                "invoice": invoice["id"],
                "is_default": True,
                "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
                "status": "open",
                "status_transitions": {"canceled_at": None, "paid_at": None},
                "_intent": intent["id"],
            },
        )
        world.emit("payment_intent.created", intent)
    world.emit("invoice.finalized", invoice)


def pay(world: World, invoice: Object, method: str = "card") -> None:
    """The money for an open invoice comes in."""
    now = world.seconds()
    intent = world.find("payment_intent", invoice["_intent"])
    if intent is not None:
        charges.succeed(world, intent, method)
        invoice |= {"attempt_count": invoice["attempt_count"] + 1, "attempted": True}
    invoice |= {
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
    }
    invoice["status_transitions"]["paid_at"] = now
    world.emit("invoice.paid", invoice)
    world.emit("invoice.payment_succeeded", invoice)
    for payment in world.all("invoice_payment", invoice=invoice["id"]):
        payment |= {"amount_paid": invoice["amount_due"], "status": "paid"}
        payment["status_transitions"]["paid_at"] = now
        if world.shape == "basil":
            world.emit("invoice_payment.paid", payment)


def miss(world: World, invoice: Object, method: str = "card") -> None:
    """A try to collect an open invoice fails; another is due in three days."""
    intent = world.get("payment_intent", invoice["_intent"])
    charges.fail(world, intent, method)
    invoice |= {
        "attempt_count": invoice["attempt_count"] + 1,
        "attempted": True,
        "next_payment_attempt": world.seconds() + RETRY_S,
    }
    world.emit("invoice.payment_failed", invoice)


def void_invoice(world: World, params: Params, invoice_id: str) -> Object:
    """POST /v1/invoices/{id}/void."""
    params.done()
    invoice = world.get("invoice", invoice_id)
    if invoice["status"] not in ("open", "uncollectible"):
        raise Refusal(f"You can only void open or uncollectible invoices. This invoice is {invoice['status']}.")
    invoice |= {"auto_advance": False, "next_payment_attempt": None, "status": "void"}
    invoice["status_transitions"]["voided_at"] = world.seconds()
    world.emit("invoice.voided", invoice)
    return invoice


def pay_invoice(world: World, params: Params, invoice_id: str) -> Object:
    """POST /v1/invoices/{id}/pay."""
    params.done()
    invoice = world.get("invoice", invoice_id)
    if invoice["status"] == "paid":
        raise Refusal("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] != "open":
        raise Refusal(f"You can only pay open invoices. This invoice is {invoice['status']}.")
    if world.declines:
        miss(world, invoice)
        raise declined()
    pay(world, invoice)
    return invoice
