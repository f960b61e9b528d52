"""Seed 002's payment events: bodies of the exchange `nexus.automation.events`, as its consumers read them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from billing.domain.brazil_days import day_in_brazil
from billing.domain.payments import Payment
from billing.domain.raw_objects import shown

NexusType = Literal[
    "payment.pending",
    "payment.authorized",
    "payment.received",
    "payment.overdue",
    "payment.failed",
    "payment.refunded",
]

#: What Asaas' overdue payments are called by the adapter; they may still be paid.
_OVERDUE: Final = "overdue"


class NexusEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One body. `value` in `data` is a number of reais."""

    event_type: NexusType
    tenant_id: str
    entity_id: str
    data: dict[str, Any]
    timestamp: datetime
    entity_type: str = "payment"


def nexus_event(payment: Payment, event_type: NexusType, now: datetime) -> NexusEvent:
    """The event that says so of the payment."""
    facts: dict[str, Any] = {
        "chargeId": str(payment.id),
        "gatewayChargeId": payment.external_id,
        "gateway": payment.provider.value,
        "value": Decimal(payment.amount_cents).scaleb(-2),
    }
    due = payment.due_on.isoformat() if payment.due_on else None
    match event_type:
        case "payment.pending":
            facts |= {"dueDate": due, "status": _status(payment) or "PENDING"}
        case "payment.authorized":
            facts |= {"status": "AUTHORIZED"}
        case "payment.received":
            paid_on = day_in_brazil(payment.paid_at).isoformat() if payment.paid_at else None
            facts |= {"paymentDate": paid_on, "confirmedDate": paid_on}
        case "payment.overdue":
            facts |= {"dueDate": due}
        case "payment.failed":
            facts = {
                "gatewayChargeId": payment.external_id,
                "gateway": payment.provider.value,
                "reason": payment.failure_reason,
                "payload": shown(payment.raw or {}, payment.reference),
            }
        case "payment.refunded":
            facts |= {"refundedValue": Decimal(payment.refunded_cents).scaleb(-2)}
    return NexusEvent(
        event_type=event_type,
        tenant_id=str(payment.tenant_id),
        entity_id=str(payment.id),
        data=facts,
        timestamp=now,
    )


def type_of_new(payment: Payment) -> NexusType:
    """What is said of a charge that its provider has just taken on."""
    return "payment.authorized" if _status(payment) == "AUTHORIZED" else "payment.pending"


def type_of_failed(payment: Payment) -> NexusType:
    """What is said of one that was not paid in time, or was refused."""
    return "payment.overdue" if payment.failure_reason == _OVERDUE else "payment.failed"


def _status(payment: Payment) -> str | None:
    raw = payment.raw or {}
    charges = raw.get("charges")
    if isinstance(charges, list) and charges and isinstance(charges[-1], dict):
        raw = charges[-1]
    status = raw.get("status")
    return status if isinstance(status, str) else None
