"""The fake Asaas' API under /v3: which request does what, and what it answers."""

import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qsl

from testkit.fake_asaas.refusals import Refusal, invalid, not_found
from testkit.fake_asaas.reversals import refund
from testkit.fake_asaas.shapes import (
    cents_of,
    changed_subscription,
    customer_fields,
    payment_fields,
    shown,
    subscription_fields,
)
from testkit.fake_asaas.webhooks import Webhooks
from testkit.fake_asaas.world import Object, World
from testkit.fake_http import Answer, Request
from testkit.fake_pix import br_code

#: One white pixel: the fake's codes are pasted, not scanned.
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
_EXACT = ("externalReference", "customer", "status", "billingType", "subscription", "email", "cpfCnpj", "name")
_RANGED = ("dateCreated", "paymentDate", "dueDate")


class Api:
    """Answers for one account."""

    def __init__(self, world: World, webhooks: Webhooks, api_key: str) -> None:
        self._world = world
        self._webhooks = webhooks
        self.api_key = api_key

    def answer(self, request: Request) -> Answer:
        """What the API says to a request whose path begins with /v3."""
        try:
            self._admit(request)
            query = dict(parse_qsl(request.query))
            return Answer(200, self._route(request, [*filter(None, request.path.split("/"))][1:], query))
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body)

    def _admit(self, request: Request) -> None:
        given = request.headers.get("access_token")
        if not given:
            raise Refusal(
                401,
                "access_token_not_found",
                "O cabeçalho de autenticação 'access_token' não foi encontrado na requisição",
            )
        if not hmac.compare_digest(given.encode(), self.api_key.encode()):
            raise Refusal(401, "invalid_access_token", "A chave de API fornecida é inválida")
        if request.method == "GET" and request.body:
            raise Refusal(403, "forbidden", "Chamadas de método GET precisam ter um body vazio.")

    def _route(self, request: Request, parts: list[str], query: dict[str, str]) -> Object:
        world, method = self._world, request.method
        match method, parts:
            case "POST", ["customers"]:
                return self._new_customer(_body(request))
            case "GET", ["customers"]:
                return _page(world.customers.values(), query)
            case "GET", ["customers", customer_id]:
                return world.customer(customer_id)
            case (("PUT" | "POST"), ["customers", customer_id]):
                customer = world.customer(customer_id)
                customer |= customer_fields(_body(request), is_new=False)
                return customer
            case "DELETE", ["customers", customer_id]:
                world.customer(customer_id)["deleted"] = True
                return {"deleted": True, "id": customer_id}
            case "POST", ["payments"]:
                return shown(world.add_payment(payment_fields(world, _body(request))))
            case "GET", ["payments"]:
                return _page((one for one in world.payments.values() if not one["deleted"]), query, shown)
            case _, ["payments", payment_id, *rest]:
                return self._payment(method, payment_id, rest, request)
            case "POST", ["subscriptions"]:
                return shown(world.add_subscription(subscription_fields(world, _body(request))))
            case "GET", ["subscriptions"]:
                return _page((one for one in world.subscriptions.values() if not one["deleted"]), query, shown)
            case _, ["subscriptions", subscription_id, *rest]:
                return self._subscription(method, subscription_id, rest, request, query)
            case _, ["webhooks", *rest]:
                return self._webhook(method, rest, request, query)
            case "GET", ["finance", "balance"]:
                held = [one["netValue"] for one in world.payments.values() if one["status"] == "RECEIVED"]
                return {"balance": sum(held) / 100}
        raise not_found("Recurso")

    def _new_customer(self, body: Mapping[str, Any]) -> Object:
        world = self._world
        made = {
            "object": "customer",
            "id": f"cus_{secrets.token_hex(6)}",
            "dateCreated": world.today().isoformat(),
            "email": None,
            "cpfCnpj": None,
            "externalReference": None,
            "deleted": False,
            **customer_fields(body, is_new=True),
        }
        made["personType"] = "JURIDICA" if len(made["cpfCnpj"] or "") == 14 else "FISICA"
        world.customers[made["id"]] = made
        world.count("customer", made["externalReference"])
        return made

    def _payment(self, method: str, payment_id: str, rest: list[str], request: Request) -> Object:
        world = self._world
        match method, rest:
            case "GET", []:
                return shown(world.payment(payment_id))
            case "GET", ["pixQrCode"]:
                return self._pix(world.payment(payment_id))
            case "GET", ["refunds"]:
                return _page(shown(world.payment(payment_id))["refunds"] or [], {})
            case "DELETE", []:
                world.remove_payment(payment_id)
                return {"deleted": True, "id": payment_id}
            case "POST", ["refund"]:
                body = _body(request)
                amount = None if body.get("value") is None else cents_of(body["value"])
                return shown(refund(world, payment_id, amount, body.get("description")))
        raise not_found("Recurso")

    def _pix(self, payment: Object) -> Object:
        if payment["billingType"] not in ("PIX", "UNDEFINED", "BOLETO"):
            raise invalid("billingType", "Não é possível gerar QrCode Pix para esta forma de pagamento.")
        if payment["deleted"]:
            raise not_found("Cobrança")
        # It lives for twelve months after the due day.
        end = date.fromisoformat(payment["dueDate"]) + timedelta(days=365)
        return {
            "success": True,
            "encodedImage": _PNG,
            "payload": br_code(payment["value"], f"pix.asaas.com/qr/cobv/{payment['id'].removeprefix('pay_')}"),
            "expirationDate": f"{end} 23:59:59",
            "description": payment["description"],
        }

    def _subscription(
        self, method: str, subscription_id: str, rest: list[str], request: Request, query: dict[str, str]
    ) -> Object:
        world = self._world
        subscription = world.subscription(subscription_id)
        match method, rest:
            case "GET", []:
                return shown(subscription)
            case (("PUT" | "POST"), []):
                return shown(changed_subscription(world, subscription, _body(request)))
            case "DELETE", []:
                world.remove_subscription(subscription_id)
                return {"deleted": True, "id": subscription_id}
            case "GET", ["payments"]:
                payments = (one for one in world.payments.values() if one.get("subscription") == subscription_id)
                return _page((one for one in payments if not one["deleted"]), query, shown)
        raise not_found("Recurso")

    def _webhook(self, method: str, rest: list[str], request: Request, query: dict[str, str]) -> Object:
        webhooks = self._webhooks
        match method, rest:
            case "GET", []:
                return _page(webhooks.shown(), query)
            case "POST", []:
                return webhooks.add(_body(request))
            case "GET", [webhook_id]:
                return webhooks.one(webhook_id)
            case "PUT", [webhook_id]:
                return webhooks.change(webhook_id, _body(request))
            case "DELETE", [webhook_id]:
                return webhooks.remove(webhook_id)
            case "POST", [webhook_id, "removeBackoff"]:
                return webhooks.change(webhook_id, {"interrupted": False})
        raise not_found("Recurso")


def _body(request: Request) -> dict[str, Any]:
    try:
        body = request.json() if request.body else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "invalid_json", "O corpo da requisição é inválido.")
    return body


def _page(found: Iterable[Object], query: Mapping[str, str], show: Callable[[Object], Object] = dict) -> Object:
    """A listing: newest first, 10 unless told, at most 100."""
    limit, offset = int(query.get("limit", "10")), int(query.get("offset", "0"))
    if not 0 < limit <= 100 or offset < 0:
        raise invalid("limit", "O limite máximo de itens por página é 100.")
    fitting = [one for one in found if _fits(one, query)][::-1]
    return {
        "object": "list",
        "hasMore": offset + limit < len(fitting),
        "totalCount": len(fitting),
        "limit": limit,
        "offset": offset,
        "data": [show(one) for one in fitting[offset : offset + limit]],
    }


def _fits(one: Object, query: Mapping[str, str]) -> bool:
    for name, wanted in query.items():
        if name in _EXACT and str(one.get(name)) != wanted:
            return False
        field, bracket, side = name.partition("[")
        if field in _RANGED:
            found = one.get(field)
            if not found or (side == "ge]" and found < wanted) or (side == "le]" and found > wanted):
                return False
            if not bracket and found != wanted:
                return False
    return True
