"""Charges withdrawn, and money that goes back at the fake PagBank: at once, late, or not after all."""

from testkit.fake_pagbank.refusals import refused
from testkit.fake_pagbank.world import Object, World


def cancel(world: World, charge_id: str, amount_cents: int, key: str | None = None) -> Object:
    """Withdraws a waiting charge, or gives back some or all of a paid one."""
    charge, order = world.charge(charge_id)
    amount = charge["amount"]
    if charge["status"] in ("CANCELED", "DECLINED"):
        raise refused("charge_cannot_be_canceled")
    summary = amount.setdefault("summary", {"total": amount["value"], "paid": 0, "refunded": 0})
    if charge["status"] == "PAID":
        under_way = world.waiting.get(charge_id, 0)
        if not 0 < amount_cents <= summary["paid"] - summary["refunded"] - under_way:
            raise refused("invalid_refund_amount")
        world.count("refund", key)
        if world.refunds_wait:
            world.waiting[charge_id] = under_way + amount_cents
            return charge
        _give_back(charge, amount_cents)
    else:
        charge["status"] = "CANCELED"
    world.notify(order)
    return charge


def finish_refunds(world: World, charge_id: str) -> None:
    """What `refunds_wait` has kept goes back."""
    charge, order = world.charge(charge_id)
    _give_back(charge, world.waiting.pop(charge_id))
    world.notify(order)


def fail_refund(world: World, charge_id: str, amount_cents: int) -> None:
    """So much of what was given back was not taken: the charge has it again."""
    charge, order = world.charge(charge_id)
    charge["amount"]["summary"]["refunded"] -= amount_cents
    charge["status"] = "PAID"
    world.notify(order)


def _give_back(charge: Object, amount_cents: int) -> None:
    summary = charge["amount"]["summary"]
    summary["refunded"] += amount_cents
    if summary["refunded"] == summary["paid"]:
        charge["status"] = "CANCELED"
