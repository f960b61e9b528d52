"""Webhooks as providers send them: bodies, signed with what billing is configured with in `ENVIRONMENT`."""

import base64
import hashlib
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from testkit.fake_stripe.sender import signature_header

STRIPE_KEY = "sk_test_Kd82hJq0Zx71mNb46VtRw9yPcL3eGs"
STRIPE_SECRET = "whsec_Qe7rTy41uIoP9aSdFgH2jKlZxCvBnM6w"
STRIPE_NEXT_SECRET = "whsec_Mn3bVc82xZl5kJhGfDsA7pOiUyTrEw1q"
ASAAS_KEY = "aact_hmlg_Jd83kQpZ71nVb46RtXw9yPcL3eGsMu2"
ASAAS_TOKEN = "Hq7wEr92tYu4iOp1aSdFgJkLzXcVbNm58Kj3"
PAGBANK_TOKEN = "Zp4oIu73yTr1eWqAsDfGhJkLmNbVcXz96Rt2"
PIX_SECRET = "Bv5cXz81lKj3hGfDsAqWeRtYuIoPnMb27Tg4"

ENVIRONMENT = {
    "STRIPE_SECRET_KEY": STRIPE_KEY,
    "STRIPE_WEBHOOK_SECRET": f"{STRIPE_SECRET},{STRIPE_NEXT_SECRET}",
    "STRIPE_API_BASE": "http://127.0.0.1:9",
    "ASAAS_API_KEY": ASAAS_KEY,
    "ASAAS_WEBHOOK_TOKEN": ASAAS_TOKEN,
    "ASAAS_API_BASE": "http://127.0.0.1:9/v3",
    "PAGSEGURO_TOKEN": PAGBANK_TOKEN,
    "PAGBANK_API_BASE": "http://127.0.0.1:9",
    "PIX_WEBHOOK_SECRET": PIX_SECRET,
}


def stripe_event(event_type: str = "invoice.paid", object_id: str = "in_1", **fields: Any) -> dict[str, Any]:
    """An event of Stripe's; `fields` are its own, `object` those of its object."""
    subject = {"id": object_id, **fields.pop("object", {})}
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": event_type,
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": subject},
        **fields,
    }


def stripe_body(event: Any) -> bytes:
    return msgspec.json.encode(event)


def stripe_headers(body: bytes, *secrets: str, at: float | None = None) -> dict[str, str]:
    """As signed with each of the secrets, the configured one where none is named."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return {
        "content-type": "application/json; charset=utf-8",
        "stripe-signature": signature_header(body, list(secrets or (STRIPE_SECRET,)), moment),
    }


def asaas_body(event_type: str = "PAYMENT_RECEIVED", payment_id: str = "pay_1", **fields: Any) -> bytes:
    """An event of Asaas'."""
    body = {"id": f"evt_{uuid4().hex}&1", "event": event_type, "payment": {"id": payment_id}, **fields}
    return msgspec.json.encode(body)


def asaas_headers(token: str = ASAAS_TOKEN) -> dict[str, str]:
    return {"content-type": "application/json", "asaas-access-token": token}


def pagbank_body(order_id: str | None = None, status: str = "PAID", reference: str | None = None) -> bytes:
    """An order with one charge."""
    name = order_id or f"ORDE_{uuid4().hex.upper()}"
    charge = {"id": f"CHAR_{uuid4().hex.upper()}", "status": status, "amount": {"value": 100}}
    return msgspec.json.encode({"id": name, "reference_id": reference, "charges": [charge]})


def pagbank_headers(body: bytes, token: str = PAGBANK_TOKEN) -> dict[str, str]:
    proof = hashlib.sha256(token.encode() + b"-" + body).hexdigest()
    return {"content-type": "application/json", "x-authenticity-token": proof}


def pagbank_key_headers(body: bytes, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """As PagBank signs in its newer way."""
    proof = base64.b64encode(key.sign(body, ec.ECDSA(SHA256()))).decode()
    return {"content-type": "application/json", "x-payload-signature": proof}


def pix_body(*transfers: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"pix": list(transfers)})


def pix_transfer(txid: str, **fields: Any) -> dict[str, Any]:
    """A transfer in BACEN's shape."""
    return {
        "endToEndId": f"E{uuid4().int % 10**31:031d}",
        "txid": txid,
        "valor": "247.00",
        "horario": "2026-05-04T12:00:00.000Z",
        "infoPagador": "obrigada",
    } | fields


def pix_headers(secret: str = PIX_SECRET) -> dict[str, str]:
    return {"content-type": "application/json", "x-webhook-secret": secret}
