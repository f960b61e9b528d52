"""Our requests in PagBank's words."""

from datetime import datetime
from typing import Any, Final

from billing.domain.providers import ChargeRequest, CheckoutRequest, Method, Payer, ProviderRefused
from billing.pagbank_api.states import METHODS, SAO_PAULO

_METHOD_NAMES: Final = {method: name for name, method in METHODS.items()}
_MAX_NAME: Final = 120
_BRAZIL: Final = "55"


def checkout_body(request: CheckoutRequest) -> dict[str, Any]:
    """The body of POST /checkouts: one item of one payment, whatever the interval; PagBank's page sells no plan."""
    body: dict[str, Any] = {
        "reference_id": str(request.reference),
        "customer_modifiable": True,
        "items": [
            {
                "reference_id": request.plan_slug[:100],
                "name": request.title[:100],
                "description": request.description[:255] or request.title[:255],
                "quantity": 1,
                "unit_amount": request.amount_cents,
            }
        ],
        "redirect_url": request.success_url,
        "return_url": request.cancel_url,
    }
    if request.methods and Method.ANY not in request.methods:
        body["payment_methods"] = [{"type": _METHOD_NAMES[method]} for method in request.methods]
    # PagBank takes a payer whole or not at all; on its page they fill in what is missing.
    if request.payer.name and request.payer.tax_id:
        body["customer"] = _customer(request.payer)
    if request.notification_url:
        body["notification_urls"] = body["payment_notification_urls"] = [request.notification_url]
    return body


def order_body(request: ChargeRequest) -> dict[str, Any]:
    """The body of POST /orders for a PIX code or a boleto.

    Raises ProviderRefused for a card: its encrypted data comes from PagBank's script in the payer's browser, and never
    passes here.
    """
    order: dict[str, Any] = {
        "reference_id": str(request.reference),
        "customer": _customer(request.payer),
        "items": [
            {
                "reference_id": str(request.reference),
                "name": request.description[:100],
                "quantity": 1,
                "unit_amount": request.amount_cents,
            }
        ],
    }
    if request.notification_url:
        order["notification_urls"] = [request.notification_url]
    if request.method is Method.PIX:
        code: dict[str, Any] = {"amount": {"value": request.amount_cents}}
        if request.expires_at is not None:
            code["expiration_date"] = time_text(request.expires_at)
        order["qr_codes"] = [code]
        return order
    if request.method is not Method.BOLETO:
        raise ProviderRefused("PagBank charges a card on its own page only: make a checkout.")
    order["charges"] = [
        {
            "reference_id": str(request.reference),
            "description": request.description[:64],
            "amount": {"value": request.amount_cents, "currency": request.currency},
            "payment_method": {
                "type": "BOLETO",
                "boleto": {
                    "due_date": request.due_on.isoformat(),
                    "instruction_lines": {"line_1": request.description[:75], "line_2": "Via PagBank"},
                    "holder": {
                        "name": request.payer.name or request.payer.email.partition("@")[0],
                        "tax_id": request.payer.tax_id,
                        "email": request.payer.email,
                    },
                },
            },
        }
    ]
    return order


def time_text(moment: datetime) -> str:
    """A time as PagBank's examples write it: `2023-05-11T23:59:59-03:00`."""
    return moment.astimezone(SAO_PAULO).isoformat(timespec="seconds")


def _customer(payer: Payer) -> dict[str, Any]:
    customer: dict[str, Any] = {
        "name": (payer.name or payer.email.partition("@")[0])[:_MAX_NAME],
        "email": payer.email,
    }
    if payer.tax_id:
        customer["tax_id"] = payer.tax_id
    digits = (payer.phone or "").removeprefix("+")
    if len(digits) > 11:
        digits = digits.removeprefix(_BRAZIL)
    if digits.isascii() and digits.isdigit() and len(digits) in (10, 11):
        customer["phones"] = [
            {
                "country": _BRAZIL,
                "area": digits[:2],
                "number": digits[2:],
                "type": "MOBILE" if len(digits) == 11 else "HOME",
            }
        ]
    return customer
