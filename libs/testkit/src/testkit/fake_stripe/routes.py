"""Which call does what: Stripe's paths, one row each."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from testkit.fake_stripe import catalog, changes, intents, invoices, portal, reversals, sessions, subscriptions
from testkit.fake_stripe.errors import Refusal
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.lists import page
from testkit.fake_stripe.render import render, render_event
from testkit.fake_stripe.world import Object, World

Handler = Callable[[World, Params, str, str], Object]  # world, parameters, id or "", the fake's own address

#: Under its path: an object's kind, and by which fields it is listed.
READABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "charges": ("charge", ("customer", "payment_intent")),
    "checkout/sessions": ("checkout.session", ("customer", "payment_intent", "status", "subscription")),
    "customers": ("customer", ("email",)),
    "disputes": ("dispute", ("charge", "payment_intent")),
    "invoice_payments": ("invoice_payment", ("invoice", "status")),
    "invoices": ("invoice", ("customer", "status")),
    "payment_intents": ("payment_intent", ("customer",)),
    "prices": ("price", ("product",)),
    "products": ("product", ()),
    "refunds": ("refund", ("charge", "payment_intent")),
    "subscriptions": ("subscription", ("customer",)),
}

WRITES: dict[tuple[str, str], Handler] = {
    ("POST", "billing_portal/sessions"): lambda world, params, _, url: portal.create_portal(world, params, url),
    ("POST", "checkout/sessions"): lambda world, params, _, url: sessions.create_session(world, params, url),
    ("POST", "checkout/sessions/*/expire"): lambda world, params, found, _: sessions.expire_session(
        world, params, found
    ),
    ("POST", "customers"): lambda world, params, _, __: catalog.create_customer(world, params),
    ("POST", "invoices/*/pay"): lambda world, params, found, _: invoices.pay_invoice(world, params, found),
    ("POST", "invoices/*/void"): lambda world, params, found, _: invoices.void_invoice(world, params, found),
    ("POST", "payment_intents"): lambda world, params, _, url: intents.create_intent(world, params, url),
    ("POST", "payment_intents/*"): lambda world, params, found, _: intents.update_intent(world, params, found),
    ("POST", "payment_intents/*/cancel"): lambda world, params, found, _: intents.cancel_intent(world, params, found),
    ("POST", "prices"): lambda world, params, _, __: catalog.create_price(world, params),
    ("POST", "products"): lambda world, params, _, __: catalog.create_product(world, params),
    ("POST", "products/*"): lambda world, params, found, _: catalog.update_product(world, params, found),
    ("POST", "refunds"): lambda world, params, _, __: reversals.create_refund(world, params),
    ("POST", "subscriptions/*"): changes.update_subscription,
    ("DELETE", "subscriptions/*"): lambda world, params, found, _: subscriptions.cancel_subscription(
        world, params, found
    ),
}


def answer(world: World, method: str, path: str, params: Params, url: str) -> Object:
    """What the call is answered. Raises Refusal."""
    expand = params.strings("expand")
    rest = path.removeprefix("/v1/").strip("/")
    if method == "GET":
        return _read(world, rest, path, params, expand)
    pattern, object_id = _pattern(rest)
    handler = WRITES.get((method, pattern))
    if handler is None:
        raise unknown_url(method, path)
    return render(world, handler(world, params, object_id, url), expand)


def unknown_url(method: str, path: str) -> Refusal:
    """A path that Stripe does not have."""
    message = f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help"
    return Refusal(message, status=404, is_kept=False)


def _pattern(rest: str) -> tuple[str, str]:
    """The row's name for a path, and the id in it."""
    if any(rest == path for method, path in WRITES if method == "POST" and "*" not in path):
        return rest, ""
    match = re.fullmatch(r"((?:checkout/)?[a-z_]+)/([^/]+)((?:/[a-z_]+)?)", rest)
    return (f"{match[1]}/*{match[3]}", match[2]) if match else (rest, "")


def _read(world: World, rest: str, path: str, params: Params, expand: list[str]) -> Object:
    if rest == "account":
        params.done()
        return {
            "id": world.account_id,
            "object": "account",
            "charges_enabled": True,
            "country": "BR",
            "default_currency": "brl",
            "details_submitted": True,
        }
    if rest == "events":
        found = page(path, reversed(world.events), params, ("type",))
        return {**found, "data": [render_event(world, one) for one in found["data"]]}
    if rest in READABLE:
        kind, filters = READABLE[rest]
        found = page(path, _filtered(world, kind, params), params, filters)
        inner = [name.removeprefix("data.") for name in expand]
        return {**found, "data": [render(world, one, inner) for one in found["data"]]}
    collection, _, object_id = rest.rpartition("/")
    if collection == "events":
        params.done()
        return _event(world, object_id)
    if collection not in READABLE:
        raise unknown_url("GET", path)
    params.done()
    return render(world, world.get(READABLE[collection][0], object_id), expand)


def _event(world: World, event_id: str) -> Object:
    for event in world.events:
        if event["id"] == event_id:
            return render_event(world, event)
    raise Refusal(f"No such event: '{event_id}'", status=404, code="resource_missing", param="id")


def _filtered(world: World, kind: str, params: Params) -> Iterable[Object]:
    """The filters that are more than a field's equality."""
    found: Iterable[Any] = world.all(kind)
    if kind == "price":
        keys, active = params.strings("lookup_keys"), params.flag("active")
        return [
            one
            for one in found
            if (not keys or one["lookup_key"] in keys) and (active is None or one["active"] == active)
        ]
    if kind == "invoice":
        subscription_id = params.text("subscription")
        return [one for one in found if subscription_id in (None, one["_subscription"])]
    if kind == "invoice_payment":
        payment = params.child("payment")
        if payment is not None:
            payment.choice("type", ("payment_intent",))
            intent_id = payment.required("payment_intent")
            return [one for one in found if one["_intent"] == intent_id]
    if kind == "subscription":
        # Without `status` the ended ones are left out.
        status = params.text("status")
        ended = subscriptions.ENDED
        return [
            one
            for one in found
            if status == "all" or (one["status"] == status if status else one["status"] not in ended)
        ]
    return found
