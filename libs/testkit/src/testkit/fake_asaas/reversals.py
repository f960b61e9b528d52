"""Refunds and chargebacks at the fake Asaas: money that goes back, and may come again."""

from testkit.fake_asaas.refusals import invalid, refused
from testkit.fake_asaas.world import HELD, Object, World


def refund(world: World, payment_id: str, amount_cents: int | None, description: str | None) -> Object:
    """Some or all of it is given back."""
    payment = world.payment(payment_id)
    if payment["status"] not in HELD:
        raise refused("Somente é possível estornar cobranças recebidas ou confirmadas.")
    refunds = payment["refunds"] or []
    left = payment["value"] - sum(one["value"] for one in refunds if one["status"] != "CANCELLED")
    amount = left if amount_cents is None else amount_cents
    if not 0 < amount <= left:
        raise invalid("value", "O valor do estorno não pode ultrapassar o valor recebido.")
    status = "PENDING" if world.refunds_wait else "DONE"
    payment["refunds"] = [
        *refunds,
        {"dateCreated": world.time_text(), "status": status, "value": amount, "description": description},
    ]
    world.count("refund", description)
    if world.refunds_wait:
        world.emit("PAYMENT_REFUND_IN_PROGRESS", "payment", payment)
    else:
        _refunded(world, payment)
    return payment


def finish_refunds(world: World, payment_id: str) -> None:
    """What was under way is done."""
    payment = world.payment(payment_id)
    for one in payment["refunds"] or []:
        one["status"] = "DONE" if one["status"] == "PENDING" else one["status"]
    _refunded(world, payment)


def fail_refunds(world: World, payment_id: str) -> None:
    """What was under way or even done comes back: the payer's bank did not take it."""
    payment = world.payment(payment_id)
    for one in payment["refunds"] or []:
        one["status"] = "CANCELLED"
    if payment["status"] == "REFUNDED":
        payment["status"] = "RECEIVED"
    world.emit("PAYMENT_UPDATED", "payment", payment)


def _refunded(world: World, payment: Object) -> None:
    done = sum(one["value"] for one in payment["refunds"] if one["status"] == "DONE")
    is_whole = done == payment["value"]
    if is_whole:
        payment["status"] = "REFUNDED"
    world.emit("PAYMENT_REFUNDED" if is_whole else "PAYMENT_PARTIALLY_REFUNDED", "payment", payment)


def chargeback(world: World, payment_id: str) -> None:
    """The payer's bank takes the money back, for now."""
    world.move(payment_id, HELD, "CHARGEBACK_REQUESTED", "PAYMENT_CHARGEBACK_REQUESTED", "REQUESTED")


def dispute(world: World, payment_id: str) -> None:
    """The seller contests it."""
    world.move(payment_id, ("CHARGEBACK_REQUESTED",), "CHARGEBACK_DISPUTE", "PAYMENT_CHARGEBACK_DISPUTE", "IN_DISPUTE")


def end_dispute(world: World, payment_id: str, *, won: bool) -> None:
    """The bank decides. A dispute that is won waits for the money; `RECEIVED` comes with it."""
    disputed = ("CHARGEBACK_REQUESTED", "CHARGEBACK_DISPUTE")  # one that was lost too may be reversed after all
    if not won:
        world.move(payment_id, disputed, "CHARGEBACK_DISPUTE", "PAYMENT_UPDATED", "DISPUTE_LOST")
        return
    event = "PAYMENT_AWAITING_CHARGEBACK_REVERSAL"
    world.move(payment_id, disputed, "AWAITING_CHARGEBACK_REVERSAL", event, "REVERSED")
    world.move(payment_id, ("AWAITING_CHARGEBACK_REVERSAL",), "RECEIVED", "PAYMENT_RECEIVED", "REVERSED")
