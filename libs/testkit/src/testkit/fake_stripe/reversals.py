"""Refunds and disputes: money that goes back."""

from testkit.fake_stripe.errors import Refusal, invalid
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.world import Object, World

REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create_refund(world: World, params: Params) -> Object:
    """POST /v1/refunds, of a charge or the one that paid an intent."""
    amount = params.integer("amount", least=1)
    intent_id, charge_id = params.text("payment_intent"), params.text("charge")
    reason, metadata = params.choice("reason", REASONS), params.metadata() or {}
    params.done()
    if (intent_id is None) == (charge_id is None):
        raise invalid("One of the following params should be provided: payment_intent or charge.", "payment_intent")
    if intent_id:
        intent = world.get("payment_intent", intent_id, "payment_intent")
        if intent["status"] != "succeeded":
            raise Refusal(
                f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge_id = intent["latest_charge"]
    charge = world.get("charge", str(charge_id), "charge")
    return refund_charge(world, charge, amount, reason=reason, metadata=metadata)


def refund_charge(
    world: World,
    charge: Object,
    amount: int | None,
    *,
    reason: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Object:
    """A refund of that much, or of what is left."""
    left = charge["amount"] - charge["amount_refunded"]
    if any(dispute["status"] != "won" for dispute in world.all("dispute", charge=charge["id"])):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise Refusal(message, code="charge_disputed")
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise Refusal(message, code="charge_already_refunded")
    if amount is not None and amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise Refusal(message, param="amount")
    refund = world.add(
        "refund",
        "re",
        {
            "amount": left if amount is None else amount,
            "charge": charge["id"],
            "currency": charge["currency"],
            "failure_reason": None,
            "metadata": metadata or {},
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "status": "pending" if world.refunds_pend else "succeeded",
        },
    )
    _recount(world, charge)
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge)
    return refund


def settle_refund(world: World, refund: Object, *, succeeded: bool) -> None:
    """A refund that was under way comes to its end."""
    refund["status"] = "succeeded" if succeeded else "failed"
    refund["failure_reason"] = None if succeeded else "declined"
    _recount(world, world.get("charge", refund["charge"]))
    world.emit("refund.updated" if succeeded else "refund.failed", refund)


def _recount(world: World, charge: Object) -> None:
    # Stripe's sum has the refunds under way in it, and loses those that failed.
    counted = [one["amount"] for one in world.all("refund", charge=charge["id"]) if one["status"] != "failed"]
    charge["amount_refunded"] = sum(counted)
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]


def open_dispute(world: World, charge: Object) -> Object:
    """The payer objects at their bank: the money is taken until it is decided."""
    charge["disputed"] = True
    dispute = world.add(
        "dispute",
        "du",
        {
            "amount": charge["amount"],
            "charge": charge["id"],
            "currency": charge["currency"],
            "is_charge_refundable": False,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "reason": "fraudulent",
            "status": "needs_response",
        },
    )
    world.emit("charge.dispute.created", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def close_dispute(world: World, dispute: Object, outcome: str) -> None:
    """It is decided: `won` gives the money back to us."""
    dispute["status"] = outcome
    world.emit("charge.dispute.closed", dispute)
    if outcome == "won":
        world.emit("charge.dispute.funds_reinstated", dispute)
