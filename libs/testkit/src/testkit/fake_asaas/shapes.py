"""Asaas' JSON: its objects with amounts in reais, and the bodies that it takes."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from testkit.fake_asaas.refusals import invalid, refused
from testkit.fake_asaas.world import BILLING_TYPES, DAYS, LEAST_CENTS, MONTHS, Object, World

_MONEY = ("value", "netValue", "originalValue", "interestValue")
_CUSTOMER_FIELDS = (
    *("name", "email", "phone", "mobilePhone", "address", "addressNumber", "complement", "province", "postalCode"),
    *("cpfCnpj", "externalReference", "notificationDisabled", "observations"),
)
_CHECK_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def shown(found: Mapping[str, Any]) -> Object:
    """An object as the API and the webhooks tell it."""
    out: Object = {name: _reais(value) if name in _MONEY else value for name, value in found.items()}
    if out.get("refunds"):
        out["refunds"] = [{**one, "value": _reais(one["value"])} for one in out["refunds"]]
    return out


def _reais(amount_cents: int | None) -> float | None:
    return None if amount_cents is None else amount_cents / 100


def customer_fields(body: Mapping[str, Any], *, is_new: bool) -> Object:
    """A customer's fields from a request."""
    fields = {name: body[name] for name in _CUSTOMER_FIELDS if name in body}
    if is_new and not fields.get("name"):
        raise invalid("name", "O nome do cliente deve ser informado.")
    if tax_id := fields.get("cpfCnpj"):
        bare = re.sub(r"[^0-9A-Za-z]", "", str(tax_id)).upper()
        if not _is_tax_id(bare):
            raise invalid("cpfCnpj", "O CPF/CNPJ informado é inválido.")
        fields["cpfCnpj"] = bare
    if (email := fields.get("email")) and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(email)):
        raise invalid("email", "O e-mail informado é inválido.")
    return fields


def payment_fields(world: World, body: Mapping[str, Any]) -> Object:
    """A payment's fields from a request."""
    customer = world.customer(body.get("customer"))
    if not customer.get("cpfCnpj"):
        raise invalid("customer", "Para criar esta cobrança é necessário preencher o CPF ou CNPJ do cliente.")
    fields = _priced(body) | {"customer": customer["id"], "dueDate": _day(world, body, "dueDate", "vencimento")}
    return fields | {name: body[name] for name in ("discount", "fine", "interest") if body.get(name)}


def subscription_fields(world: World, body: Mapping[str, Any]) -> Object:
    """A subscription's fields from a request."""
    customer = world.customer(body.get("customer"))
    if not customer.get("cpfCnpj"):
        raise invalid("customer", "Para criar esta assinatura é necessário preencher o CPF ou CNPJ do cliente.")
    if body.get("cycle") not in {*MONTHS, *DAYS}:
        raise invalid("cycle", "O ciclo de pagamento informado é inválido.")
    due = _day(world, body, "nextDueDate", "próximo vencimento")
    return _priced(body) | {"customer": customer["id"], "cycle": body["cycle"], "nextDueDate": due}


def changed_subscription(world: World, subscription: Object, body: Mapping[str, Any]) -> Object:
    """PUT of a subscription: `updatePendingPayments` reaches those that are made and unpaid."""
    if subscription["deleted"]:
        raise refused("Não é possível alterar uma assinatura removida.")
    if "value" in body:
        subscription["value"] = cents_of(body["value"])
    if body.get("cycle") in {*MONTHS, *DAYS}:
        subscription["cycle"] = body["cycle"]
    world.emit("SUBSCRIPTION_UPDATED", "subscription", subscription)
    if body.get("updatePendingPayments") is True:
        for payment in world.payments.values():
            is_due = payment["status"] in ("PENDING", "OVERDUE") and not payment["deleted"]
            if payment.get("subscription") == subscription["id"] and is_due:
                payment["value"] = subscription["value"]
                world.emit("PAYMENT_UPDATED", "payment", payment)
    return subscription


def cents_of(value: object) -> int:
    """Reais of a request in centavos."""
    try:
        amount = Decimal(str(value)) * 100
    except InvalidOperation:
        raise invalid("value", "O valor informado é inválido.") from None
    if isinstance(value, bool) or amount != amount.to_integral_value():
        raise invalid("value", "O valor informado é inválido.")
    return int(amount)


def _priced(body: Mapping[str, Any]) -> Object:
    if body.get("billingType") not in BILLING_TYPES:
        raise invalid("billingType", "A forma de pagamento informada é inválida.")
    if body.get("value") is None:
        raise invalid("value", "O campo value deve ser informado.")
    value = cents_of(body["value"])
    if value < LEAST_CENTS:
        raise invalid("value", "O valor da cobrança não pode ser menor que R$ 5,00.")
    return {
        "billingType": body["billingType"],
        "value": value,
        "description": body.get("description"),
        "externalReference": body.get("externalReference"),
    }


def _day(world: World, body: Mapping[str, Any], name: str, words: str) -> str:
    try:
        day = date.fromisoformat(str(body.get(name)))
    except ValueError:
        raise invalid(name, f"A data de {words} é inválida.") from None
    if day < world.today():
        raise invalid(name, f"Não é permitido data de {words} inferior a hoje.")
    return day.isoformat()


def _is_tax_id(bare: str) -> bool:
    weights = {11: tuple(range(11, 1, -1)), 14: _CHECK_WEIGHTS}.get(len(bare))
    if weights is None or not bare[-2:].isdigit() or (len(bare) == 11 and not bare.isdigit()):
        return False
    for length in (len(bare) - 2, len(bare) - 1):
        used = weights[len(weights) - length :]
        rest = sum((ord(char) - 48) * weight for char, weight in zip(bare[:length], used, strict=True)) % 11
        if bare[length] != ("0" if rest < 2 else str(11 - rest)):
            return False
    return len(set(bare)) > 1
