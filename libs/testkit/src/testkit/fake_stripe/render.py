"""The objects as an answer or a webhook shows them: in either shape, with what was asked to be expanded."""

from typing import Any

from testkit.fake_stripe.errors import Refusal
from testkit.fake_stripe.world import Object, Shape, World, listed, snapshot

#: Fields that hold an id, and of what.
REFERENCES = {
    "charge": "charge",
    "customer": "customer",
    "invoice": "invoice",
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "payment_intent": "payment_intent",
    "product": "product",
    "subscription": "subscription",
}


def render(world: World, subject: Object, expand: list[str] | None = None, shape: Shape | None = None) -> Object:
    """A copy as Stripe shows it. Raises Refusal for an expansion that does not exist."""
    shape = shape or world.shape
    shown: Object = _shaped(world, subject, shape)
    for path in expand or []:
        _expand(world, shown, path.split("."), path, shape)
    return shown


def _shaped(world: World, subject: Any, shape: Shape) -> Any:
    if isinstance(subject, list):
        return [_shaped(world, one, shape) for one in subject]
    if not isinstance(subject, dict):
        return subject
    shown = {name: _shaped(world, value, shape) for name, value in subject.items() if not name.startswith("_")}
    if shape == "acacia":
        _make_older(subject, shown)
    return shown


def _make_older(subject: Object, shown: Object) -> None:
    """Undoes what basil (2025-03-31) changed."""
    match subject.get("object"):
        case "subscription":
            item = subject["items"]["data"][0]
            for name in ("current_period_start", "current_period_end"):
                shown[name] = item[name]
                for one in shown["items"]["data"]:
                    del one[name]
            del shown["billing_mode"]
        case "invoice":
            details = shown.pop("parent")["subscription_details"]
            shown |= {
                "charge": None,
                "paid": subject["status"] == "paid",
                "payment_intent": subject["_intent"],
                "quote": None,
                "subscription": details["subscription"],
                "subscription_details": {"metadata": details["metadata"]},
            }
        case "line_item":
            details = shown.pop("parent")["subscription_item_details"]
            del shown["pricing"]
            shown |= {
                "proration": details["proration"],
                "subscription": details["subscription"],
                "subscription_item": details["subscription_item"],
                "type": "invoiceitem" if details["proration"] else "subscription",
            }
        case "charge" | "payment_intent":
            shown["invoice"] = subject["_invoice"]


def _expand(world: World, shown: Any, names: list[str], path: str, shape: Shape) -> None:
    if isinstance(shown, list):
        for one in shown:
            _expand(world, one, names, path, shape)
        return
    name, rest = names[0], names[1:]
    if not isinstance(shown, dict):
        return
    if name not in shown or (isinstance(shown[name], str) and name in REFERENCES):
        shown[name] = _found(world, shown, name, path, shape)
    if rest:
        _expand(world, shown[name], rest, path, shape)


def _found(world: World, shown: Object, name: str, path: str, shape: Shape) -> Any:
    kind, object_id = shown.get("object"), shown.get("id")
    if kind == "charge" and name == "refunds":
        found = [_shaped(world, one, shape) for one in world.all("refund", charge=object_id)]
        return listed(f"/v1/charges/{object_id}/refunds", found[:10], has_more=len(found) > 10)
    if kind == "invoice" and name == "payments":
        found = [_shaped(world, one, shape) for one in world.all("invoice_payment", invoice=object_id)]
        return listed("/v1/invoice_payments", found)
    target = REFERENCES.get(name)
    if target is None or name not in shown:
        raise Refusal(f"This property cannot be expanded ({path}).", param="expand", is_kept=False)
    return _shaped(world, world.get(target, shown[name]), shape)


def render_event(world: World, event: Object, shape: Shape | None = None) -> Object:
    """An event with its object as it was then, in the shape of whoever gets it."""
    shape = shape or world.shape
    shown = _shaped(world, snapshot(event), shape)
    shown["api_version"] = "2026-03-25.dahlia" if shape == "basil" else "2024-12-18.acacia"
    return dict(shown)
