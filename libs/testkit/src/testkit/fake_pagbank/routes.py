"""The fake PagBank's API: which request does what, and what it answers."""

import copy
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from testkit.fake_http import Answer, Request
from testkit.fake_pagbank import reversals
from testkit.fake_pagbank.refusals import Refusal, invalid, missing, not_found
from testkit.fake_pagbank.world import Object, World

_METHODS = ("CREDIT_CARD", "DEBIT_CARD", "BOLETO", "PIX")
_CUSTOMER = (("name", r".{1,120}"), ("email", r"[^@\s]+@[^@\s]+\.[^@\s]+"), ("tax_id", r"[0-9A-Z]{11}|[0-9A-Z]{14}"))
_WHITELIST = "whitelist access required. Contact PagSeguro"


class Api:
    """Answers for one account; what was made under an `x-idempotency-key` is answered again, and not made again."""

    def __init__(self, world: World, token: str, public_key: str) -> None:
        self._world = world
        self._token = token
        self._public_key = public_key
        self._answered: dict[tuple[str, str], Answer] = {}
        self.is_released = True  # in production an account is not, until PagBank lists it
        self.public_keys_path = "/public-keys"

    def answer(self, request: Request) -> Answer:
        """What the API says."""
        key = request.headers.get("x-idempotency-key", "")
        if request.method == "POST" and (known := self._answered.get((request.path, key))):
            return known
        try:
            self._admit(request)
            status = 201 if request.method == "POST" and not request.path.endswith("/cancel") else 200
            found = self._route(request, [*filter(None, request.path.split("/"))], key)
            answer = Answer(status, copy.deepcopy(found))
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body)
        if request.method == "POST" and key:
            self._answered[request.path, key] = answer
        return answer

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise Refusal(401, "UNAUTHORIZED", "Invalid credential. Review AUTHORIZATION header")
        if not self.is_released and request.path.split("/")[1] in ("orders", "charges", "checkouts"):
            raise Refusal(403, "ACCESS_DENIED", _WHITELIST)

    def _route(self, request: Request, parts: list[str], key: str) -> Object:
        world, query = self._world, dict(parse_qsl(request.query))
        if request.method == "GET" and request.path == self.public_keys_path:
            if self.public_keys_path == "/public-keys" and query.get("type") != "webhook":
                raise invalid("type")
            return {"public_key": self._public_key, "created_at": 1577836800000}
        match request.method, parts:
            case "POST", ["orders"]:
                return world.add_order(_order(_body(request)))
            case "GET", ["orders"]:
                charge_id = query.get("charge_id")
                if not charge_id:
                    raise missing("charge_id")
                return world.charge(charge_id)[1]
            case "GET", ["orders", order_id]:
                return world.order(order_id)
            case "GET", ["charges", charge_id]:
                return world.charge(charge_id)[0]
            case "POST", ["charges", charge_id, "cancel"]:
                amount = _body(request).get("amount")
                value = amount.get("value") if isinstance(amount, dict) else None
                return reversals.cancel(world, charge_id, _cents(value, "amount.value"), key)
            case "POST", ["checkouts"]:
                return world.add_checkout(_checkout(_body(request)))
            case "GET", ["checkouts", checkout_id]:
                return world.checkout(checkout_id)
            case "POST", ["checkouts", checkout_id, "inactivate"]:
                return world.inactivate_checkout(checkout_id)
        raise not_found()


def _body(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "40004", "malformed_request")
    return body


def _order(body: Mapping[str, Any]) -> Object:
    customer = body.get("customer")
    if not isinstance(customer, dict):
        raise missing("customer")
    for name, pattern in _CUSTOMER:
        if not customer.get(name):
            raise missing(f"customer.{name}")
        if not re.fullmatch(pattern, str(customer[name])):
            raise invalid(f"customer.{name}")
    order = {name: body[name] for name in ("reference_id", "customer", "items", "notification_urls") if name in body}
    _check_reference_and_items(order)
    if codes := body.get("qr_codes"):
        if len(codes) != 1:
            raise invalid("qr_codes")
        _cents(codes[0].get("amount", {}).get("value"), "qr_codes[0].amount.value")
        if "expiration_date" in codes[0]:
            _check_time(codes[0]["expiration_date"], "qr_codes[0].expiration_date")
        order["qr_codes"] = codes
    for at, charge in enumerate(body.get("charges", [])):
        _cents(charge.get("amount", {}).get("value"), f"charges[{at}].amount.value")
        if charge.get("payment_method", {}).get("type") not in _METHODS:
            raise invalid(f"charges[{at}].payment_method.type")
        if charge["payment_method"]["type"] == "CREDIT_CARD" and "card" not in charge["payment_method"]:
            raise missing(f"charges[{at}].payment_method.card")
        order.setdefault("charges", []).append(charge)
    return order


def _checkout(body: Mapping[str, Any]) -> Object:
    names = ("reference_id", "customer", "customer_modifiable", "items", "payment_methods", "redirect_url")
    more = ("return_url", "notification_urls", "payment_notification_urls", "expiration_date")
    checkout = {name: body[name] for name in (*names, *more) if name in body}
    if not checkout.get("items"):
        raise missing("items")
    _check_reference_and_items(checkout)
    for at, method in enumerate(checkout.get("payment_methods", [])):
        if method.get("type") not in _METHODS:
            raise invalid(f"payment_methods[{at}].type")
    return checkout


def _check_reference_and_items(found: Mapping[str, Any]) -> None:
    if len(str(found.get("reference_id", ""))) > 64:
        raise invalid("reference_id")
    for at, item in enumerate(found.get("items", [])):
        if not item.get("name"):
            raise missing(f"items[{at}].name")
        _cents(item.get("unit_amount"), f"items[{at}].unit_amount")


def _cents(value: object, parameter: str) -> int:
    if value is None:
        raise missing(parameter)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**9:
        raise invalid(parameter)
    return value


def _check_time(value: object, parameter: str) -> None:
    try:
        if datetime.fromisoformat(str(value)).tzinfo is not None:
            return
    except ValueError:
        pass
    raise invalid(parameter)
