"""Payment intents, of cards and of PIX."""

from typing import Any

from testkit.fake_pix import br_code
from testkit.fake_stripe.errors import Refusal, invalid
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.world import Object, World, merge_metadata

METHODS = ("boleto", "card", "link", "pix")
LEAST_CENTS = 50
PIX_SECONDS = 14_400  # what a code lives for when nothing is said
PIX_RANGE_S = (60, 1_209_600)
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture", "processing")


def create_intent(world: World, params: Params, page_url: str) -> Object:
    """POST /v1/payment_intents: of cards left to be confirmed, of PIX confirmed at once with its code."""
    amount = params.integer("amount")
    currency = params.currency("currency") or params.required("currency")
    types = read_method_types(params) or ["card"]
    data, options = params.child("payment_method_data"), params.child("payment_method_options")
    method = _read_method_data(data) if data else None
    pix = options.child("pix") if options else None
    expires_at = _read_expiry(world, pix) if pix else world.seconds() + PIX_SECONDS
    confirm = params.flag("confirm") or False
    description, metadata = params.text("description"), params.metadata() or {}
    customer_id, receipt_email = params.text("customer"), params.email("receipt_email")
    params.done()
    if amount is None:
        raise invalid("Missing required param: amount.", "amount", "parameter_missing")
    if amount < LEAST_CENTS:
        raise invalid("Amount must be at least R$0.50 brl", "amount", "amount_too_small")
    if customer_id:
        world.get("customer", customer_id, "customer")
    if "pix" in types and currency != "brl":
        raise Refusal("The payment method type pix takes the currency brl only.", param="currency")
    if confirm and method not in types:
        raise Refusal("You cannot confirm this PaymentIntent because it's missing a payment method.")
    intent = add_intent(world, amount, currency, types, metadata=metadata, customer_id=customer_id)
    intent |= {"description": description, "receipt_email": receipt_email}
    world.emit("payment_intent.created", intent)
    if confirm and method == "pix":
        show_pix(world, intent, expires_at, page_url)
        world.emit("payment_intent.requires_action", intent)
    return intent


def read_method_types(params: Params) -> list[str]:
    """The explicit list of methods, each a known one."""
    types = params.strings("payment_method_types")
    for index, name in enumerate(types):
        if name not in METHODS:
            param = f"payment_method_types[{index}]"
            raise invalid(f"Invalid {param}: must be one of {', '.join(METHODS)}", param)
    return types


def _read_method_data(data: Params) -> str:
    kind = data.choice("type", METHODS) or data.required("type")
    billing = data.child("billing_details")
    if billing is not None:
        billing.email("email")
        for name in ("name", "phone", "tax_id"):
            billing.text(name)
    data.child("pix")
    return kind


def _read_expiry(world: World, pix: Params) -> int:
    least, most = PIX_RANGE_S
    now = world.seconds()
    after_s = pix.integer("expires_after_seconds", least=least, most=most)
    at = pix.integer("expires_at")
    if after_s is not None and at is not None:
        raise invalid("Only one of expires_at and expires_after_seconds may be set", pix.name("expires_at"))
    if at is not None and not least <= at - now <= most:
        raise invalid(f"Must be between {least} and {most} seconds in the future", pix.name("expires_at"))
    return at if at is not None else now + (after_s or PIX_SECONDS)


def add_intent(
    world: World,
    amount: int,
    currency: str,
    types: list[str],
    *,
    metadata: dict[str, str] | None = None,
    customer_id: str | None = None,
    invoice_id: str | None = None,
) -> Object:
    """A payment that nothing has been done for."""
    intent_id = world.new_id("pi")
    fields: dict[str, Any] = {
        "amount": amount,
        "amount_received": 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{world.new_id(intent_id + '_secret')}",
        "confirmation_method": "automatic",
        "currency": currency,
        "customer": customer_id,
        "description": None,
        "last_payment_error": None,
        "latest_charge": None,
        "metadata": metadata or {},
        "next_action": None,
        "payment_method": None,
        "payment_method_types": types,
        "receipt_email": None,
        "status": "requires_payment_method",
        "_invoice": invoice_id,
    }
    return world.add("payment_intent", "pi", fields, object_id=intent_id)


def show_pix(world: World, intent: Object, expires_at: int, page_url: str) -> None:
    """The code is there, and waits for the payer."""
    page = f"{page_url}/pix/{intent['id']}"
    intent["status"] = "requires_action"
    intent["next_action"] = {
        "type": "pix_display_qr_code",
        "pix_display_qr_code": {
            "data": br_code(intent["amount"], page.partition("://")[2]),
            "expires_at": expires_at,
            "hosted_instructions_url": page,
            "image_url_png": f"{page}.png",
            "image_url_svg": f"{page}.svg",
        },
    }


def cancel_intent(world: World, params: Params, intent_id: str) -> Object:
    """POST /v1/payment_intents/{id}/cancel."""
    reasons = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
    reason = params.choice("cancellation_reason", reasons)
    params.done()
    intent = world.get("payment_intent", intent_id)
    if intent["status"] not in OPEN:
        raise Refusal(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            f" Only a PaymentIntent with one of the following statuses may be canceled: {', '.join(OPEN)}.",
            code="payment_intent_unexpected_state",
        )
    intent |= {
        "canceled_at": world.seconds(),
        "cancellation_reason": reason,
        "next_action": None,
        "status": "canceled",
    }
    world.emit("payment_intent.canceled", intent)
    return intent


def update_intent(world: World, params: Params, intent_id: str) -> Object:
    """POST /v1/payment_intents/{id}: its metadata and description."""
    intent = world.get("payment_intent", intent_id)
    metadata, description = params.metadata(), params.text("description")
    params.done()
    merge_metadata(intent, metadata)
    intent["description"] = description or intent["description"]
    return intent
