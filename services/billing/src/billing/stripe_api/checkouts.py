"""Checkout sessions: our request as Stripe's parameters, its session as our states."""

from typing import Any

from billing.domain.providers import Checkout, CheckoutRequest, CheckoutState, Method
from billing.stripe_api.shapes import Session, id_of, instant, reference_in

_METHOD_TYPES = {Method.CARD: "card", Method.DEBIT_CARD: "card", Method.PIX: "pix", Method.BOLETO: "boleto"}


def session_params(request: CheckoutRequest) -> dict[str, Any]:
    """Parameters that are the same whenever they are made of the same request: a key is good for one set only."""
    reference = str(request.reference)
    metadata = {**request.metadata, "order_id": reference, "plan_id": request.plan_slug}
    params: dict[str, Any] = {
        "mode": "subscription" if request.interval else "payment",
        "line_items": [{"quantity": 1, **_price(request)}],
        "success_url": request.success_url,
        "cancel_url": request.cancel_url,
        "client_reference_id": reference,
        "metadata": metadata,
    }
    if Method.ANY not in request.methods:
        params["payment_method_types"] = list(dict.fromkeys(_METHOD_TYPES[method] for method in request.methods))
    if request.payer.external_id:
        params["customer"] = request.payer.external_id
    elif request.payer.email:
        params["customer_email"] = request.payer.email
    if request.interval:
        params["subscription_data"] = {"metadata": metadata}
        if request.trial_days:
            params["subscription_data"]["trial_period_days"] = request.trial_days
    else:
        params["payment_intent_data"] = {"metadata": metadata}
        if not request.payer.external_id:
            params["customer_creation"] = "always"  # else a guest, whom the portal would not know
    return params


def _price(request: CheckoutRequest) -> dict[str, Any]:
    if request.price_external_id:
        return {"price": request.price_external_id}
    product = {"name": request.title}
    if request.description:  # Stripe refuses an empty one
        product["description"] = request.description
    price: dict[str, Any] = {
        "currency": request.currency.lower(),
        "unit_amount": request.amount_cents,
        "product_data": product,
    }
    if request.interval:
        price["recurring"] = {"interval": request.interval.value}
    return {"price_data": price}


def read_checkout(session: Session) -> Checkout:
    """The page that was made. Its URL is missing once it is complete or expired."""
    return Checkout(
        external_id=session.id,
        url=session.url or "",
        customer_external_id=id_of(session.customer),
        subscription_external_id=id_of(session.subscription),
        expires_at=instant(session.expires_at),
    )


def read_checkout_state(session: Session) -> CheckoutState:
    """The page as it is now. Stripe does not say when it was completed."""
    payer = session.customer_details
    return CheckoutState(
        external_id=session.id,
        status=session.status or "open",
        payment_status=session.payment_status,
        url=session.url,
        amount_cents=session.amount_total or 0,
        currency=(session.currency or "").upper(),
        reference=session.client_reference_id or reference_in(session.metadata),
        customer_external_id=id_of(session.customer),
        subscription_external_id=id_of(session.subscription),
        payment_external_id=id_of(session.payment_intent),
        invoice_external_id=id_of(session.invoice),
        payer_email=(payer.email if payer else None) or session.customer_email,
        payer_name=payer.name if payer else None,
        metadata=session.metadata or {},
        livemode=session.livemode,
    )
