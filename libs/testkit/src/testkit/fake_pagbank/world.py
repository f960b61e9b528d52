"""What the fake PagBank holds: orders with their codes and charges, checkouts; and what happens to them."""

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from testkit.fake_pagbank.refusals import not_found, refused
from testkit.fake_pix import br_code

SAO_PAULO = timezone(timedelta(hours=-3))
OPEN = ("WAITING", "IN_ANALYSIS", "DECLINED")
CODE_LIVES = timedelta(hours=24)

Object = dict[str, Any]
Emit = Callable[[Object, Sequence[str]], None]


def new_id(prefix: str) -> str:
    """An id as PagBank makes them."""
    return f"{prefix}_{str(uuid.uuid4()).upper()}"


@dataclass
class World:
    """One account. `effects["order"]["<reference>"]` counts what was really made, for a test's oracle."""

    now: Callable[[], datetime]
    emit: Emit
    api_url: str
    orders: dict[str, Object] = field(default_factory=dict)
    checkouts: dict[str, Object] = field(default_factory=dict)
    effects: dict[str, Counter[str]] = field(default_factory=dict)
    newer_shape: bool = False  # a PIX code is a waiting charge, not one of the order's qr_codes
    refunds_wait: bool = False  # a refund is taken on, and nothing goes back until `finish_refunds`
    waiting: dict[str, int] = field(default_factory=dict)  # by charge, what was taken on

    def count(self, kind: str, reference: object) -> None:
        """One more real effect."""
        self.effects.setdefault(kind, Counter())[str(reference)] += 1

    def time_text(self, moment: datetime | None = None) -> str:
        """A time as PagBank writes it."""
        return (moment or self.now()).astimezone(SAO_PAULO).isoformat(timespec="milliseconds")

    def order(self, order_id: str) -> Object:
        """An order that is there."""
        if order_id not in self.orders:
            raise not_found()
        return self.orders[order_id]

    def checkout(self, checkout_id: str) -> Object:
        """A checkout that is there."""
        if checkout_id not in self.checkouts:
            raise not_found()
        return self.checkouts[checkout_id]

    def charge(self, charge_id: str) -> tuple[Object, Object]:
        """A charge and its order."""
        for order in self.orders.values():
            for charge in order.get("charges", []):
                if charge["id"] == charge_id:
                    return charge, order
        raise not_found()

    def add_order(self, fields: Object) -> Object:
        """A new order of checked fields; the codes and charges in them get what PagBank adds."""
        order_id = new_id("ORDE")
        order = {
            "id": order_id,
            "created_at": self.time_text(),
            **fields,
            "links": [self._link("SELF", f"/orders/{order_id}"), self._link("PAY", f"/orders/{order_id}/pay", "POST")],
        }
        for charge in order.get("charges", []):
            self._open_charge(order, charge)
        if "qr_codes" in order:
            codes = [self._code(asked) for asked in order["qr_codes"]]
            if self.newer_shape:
                del order["qr_codes"]
                order["charges"] = [self._pix_charge(order, code) for code in codes]
            else:
                order["qr_codes"] = codes
        self.orders[order_id] = order
        self.count("order", order.get("reference_id"))
        return order

    def add_checkout(self, fields: Object) -> Object:
        """A new checkout, with the page where it is paid."""
        checkout_id = new_id("CHEC")
        checkout = {
            "id": checkout_id,
            "created_at": self.time_text(),
            "expiration_date": self.time_text(self.now() + timedelta(hours=2)),
            "status": "ACTIVE",
            **fields,
            "links": [
                self._link("PAY", f"/pagamento?code={checkout_id}"),
                self._link("SELF", f"/checkouts/{checkout_id}"),
                self._link("INACTIVATE", f"/checkouts/{checkout_id}/inactivate", "POST"),
            ],
        }
        self.checkouts[checkout_id] = checkout
        self.count("checkout", checkout.get("reference_id"))
        return checkout

    def pay(self, order_id: str, method: str = "PIX", amount_cents: int | None = None) -> Object:
        """The payer pays an order: its waiting charge, or a new one by its code."""
        order = self.order(order_id)
        charges = order.setdefault("charges", [])
        if any(charge["status"] not in OPEN for charge in charges):
            raise refused("order_already_paid")
        waiting = next((charge for charge in charges if charge["status"] in ("WAITING", "IN_ANALYSIS")), None)
        charge = waiting or self._add_charge(order, method)
        if amount_cents is not None:
            charge["amount"]["value"] = amount_cents
        amount = charge["amount"]
        amount["summary"] = {"total": amount["value"], "paid": amount["value"], "refunded": 0}
        charge |= {"status": "PAID", "paid_at": self.time_text()}
        charge["payment_response"] = {"code": "20000", "message": "SUCESSO", "reference": "1635461"}
        if charge["payment_method"]["type"] == "PIX":
            charge["payment_method"].setdefault("pix", {})["end_to_end_id"] = f"E{uuid.uuid4().int:039d}"[:32]
        self.count("paid", order_id)
        self.notify(order)
        return charge

    def pay_checkout(self, checkout_id: str, method: str = "PIX") -> Object:
        """The payer pays on the page."""
        order = self.try_checkout(checkout_id)
        self.checkout(checkout_id)["status"] = "PAID"
        self.pay(order["id"], method)
        return order

    def analyse_checkout(self, checkout_id: str) -> Object:
        """The payer gives a card on the page, and PagBank looks into it before it says whether that is paid."""
        order = self.try_checkout(checkout_id)
        self._add_charge(order, "CREDIT_CARD")["status"] = "IN_ANALYSIS"
        self.notify(order)
        return order

    def try_checkout(self, checkout_id: str) -> Object:
        """An order with the checkout's reference, for what its payer tries on the page."""
        checkout = self.checkout(checkout_id)
        if checkout["status"] != "ACTIVE":
            raise refused("checkout_not_active")
        order = self.add_order(
            {
                "reference_id": checkout.get("reference_id"),
                "customer": checkout.get("customer") or {"name": "Jose da Silva", "email": "jose@example.com"},
                "items": checkout["items"],
                "charges": [],
                "notification_urls": checkout.get("payment_notification_urls", []),
            }
        )
        checkout.setdefault("orders", []).append({"id": order["id"]})
        return order

    def decline(self, order_id: str, method: str = "CREDIT_CARD") -> Object:
        """A try to pay that the issuer refuses; another may follow."""
        order = self.order(order_id)
        charge = self._add_charge(order, method)
        charge |= {"status": "DECLINED", "payment_response": {"code": "10002", "message": "NAO AUTORIZADO"}}
        self.notify(order)
        return charge

    def expire_checkout(self, checkout_id: str) -> None:
        """Nobody paid in time."""
        checkout = self.checkout(checkout_id)
        checkout["status"] = "EXPIRED"
        self.emit(checkout, checkout.get("notification_urls", []))

    def inactivate_checkout(self, checkout_id: str) -> Object:
        """The seller closes the page."""
        checkout = self.checkout(checkout_id)
        if checkout["status"] != "ACTIVE":
            raise refused("checkout_not_active")
        checkout["status"] = "INACTIVE"
        return checkout

    def notify(self, order: Object) -> None:
        """Tells the order's addresses how it is now."""
        self.emit(order, order.get("notification_urls", []))

    def _add_charge(self, order: Object, method: str) -> Object:
        codes, items = order.get("qr_codes") or [{}], order.get("items", [])
        value = codes[0].get("amount", {}).get("value") or sum(one["unit_amount"] * one["quantity"] for one in items)
        charge = {"amount": {"value": value, "currency": "BRL"}, "payment_method": {"type": method}}
        self._open_charge(order, charge)
        order.setdefault("charges", []).append(charge)
        return charge

    def _open_charge(self, order: Object, charge: Object) -> None:
        charge_id = new_id("CHAR")
        charge |= {
            "id": charge_id,
            "reference_id": charge.get("reference_id") or order.get("reference_id"),
            "status": "WAITING",
            "created_at": self.time_text(),
            "links": [
                self._link("SELF", f"/charges/{charge_id}"),
                self._link("CHARGE.CANCEL", f"/charges/{charge_id}/cancel", "POST"),
            ],
        }
        if charge["payment_method"]["type"] == "BOLETO":
            charge["links"][:0] = [self._link("SELF", f"/boleto/{charge_id}.pdf", media="application/pdf")]

    def _code(self, asked: Object) -> Object:
        code_id = new_id("QRCO")
        location = f"api.pagseguro.com/pix/v2/{code_id.removeprefix('QRCO_')}"
        return {
            "id": code_id,
            "expiration_date": asked.get("expiration_date") or self.time_text(self.now() + CODE_LIVES),
            "amount": {"value": asked["amount"]["value"]},
            "text": br_code(asked["amount"]["value"], location),
            "arrangements": ["PIX"],
            "links": [
                self._link("QRCODE.PNG", f"/qrcode/{code_id}/png", media="image/png"),
                self._link("QRCODE.BASE64", f"/qrcode/{code_id}/base64", media="text/plain"),
            ],
        }

    def _pix_charge(self, order: Object, code: Object) -> Object:
        charge = {
            "amount": {**code["amount"], "currency": "BRL"},
            "payment_method": {"type": "PIX", "pix": {"expiration_date": code["expiration_date"]}},
            "qr_code": {"id": code["id"], "text": code["text"]},
        }
        self._open_charge(order, charge)
        charge["links"] += code["links"]
        return charge

    def _link(self, rel: str, path: str, method: str = "GET", *, media: str = "application/json") -> Object:
        return {"rel": rel, "href": f"{self.api_url}{path}", "media": media, "type": method}
