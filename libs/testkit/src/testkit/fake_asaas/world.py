"""What the fake Asaas holds: customers, payments, subscriptions; and what happens to them."""

import calendar
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from testkit.fake_asaas.refusals import not_found, refused

SAO_PAULO = timezone(timedelta(hours=-3))
BILLING_TYPES = ("UNDEFINED", "BOLETO", "CREDIT_CARD", "DEBIT_CARD", "PIX")
MONTHS = {"MONTHLY": 1, "BIMONTHLY": 2, "QUARTERLY": 3, "SEMIANNUALLY": 6, "YEARLY": 12}
DAYS = {"WEEKLY": 7, "BIWEEKLY": 14}
OPEN = ("PENDING", "OVERDUE")
HELD = ("CONFIRMED", "RECEIVED", "RECEIVED_IN_CASH")
LEAST_CENTS = 500

Object = dict[str, Any]
Emit = Callable[[str, str, Object], None]


@dataclass
class World:
    """One account. `effects["payment"]["<reference>"]` counts what was really made, for a test's oracle.

    An object's amounts are kept in centavos, under Asaas' own names; they become reais when they are shown.
    """

    now: Callable[[], datetime]
    emit: Emit
    page_url: str
    customers: dict[str, Object] = field(default_factory=dict)
    payments: dict[str, Object] = field(default_factory=dict)
    subscriptions: dict[str, Object] = field(default_factory=dict)
    effects: dict[str, Counter[str]] = field(default_factory=dict)
    refunds_wait: bool = False  # a refund stays PENDING until `finish_refunds`

    def count(self, kind: str, reference: object) -> None:
        """One more real effect."""
        self.effects.setdefault(kind, Counter())[str(reference)] += 1

    def today(self) -> date:
        """The day in São Paulo."""
        return self.now().astimezone(SAO_PAULO).date()

    def time_text(self) -> str:
        """The time as Asaas writes it, without an offset."""
        return self.now().astimezone(SAO_PAULO).strftime("%Y-%m-%d %H:%M:%S")

    def customer(self, customer_id: object) -> Object:
        """A customer that is there."""
        if not isinstance(customer_id, str) or customer_id not in self.customers:
            raise not_found("Cliente")
        return self.customers[customer_id]

    def payment(self, payment_id: str) -> Object:
        """A payment, also a removed one."""
        if payment_id not in self.payments:
            raise not_found("Cobrança")
        return self.payments[payment_id]

    def subscription(self, subscription_id: str) -> Object:
        """A subscription, also a removed one."""
        if subscription_id not in self.subscriptions:
            raise not_found("Assinatura")
        return self.subscriptions[subscription_id]

    def add_payment(self, fields: Object, *, subscription: str | None = None) -> Object:
        """A new payment of checked fields."""
        payment_id = f"pay_{secrets.token_hex(8)}"
        made = {
            "object": "payment",
            "id": payment_id,
            "dateCreated": self.today().isoformat(),
            "netValue": max(fields["value"] - 199, 0),
            "originalValue": None,
            "interestValue": None,
            "pixTransaction": None,
            "status": "PENDING",
            "originalDueDate": fields["dueDate"],
            "paymentDate": None,
            "clientPaymentDate": None,
            "confirmedDate": None,
            "creditDate": None,
            "installmentNumber": None,
            "invoiceUrl": f"{self.page_url}/i/{payment_id.removeprefix('pay_')}",
            "invoiceNumber": f"{len(self.payments) + 1:08d}",
            "bankSlipUrl": f"{self.page_url}/b/{payment_id}" if fields["billingType"] == "BOLETO" else None,
            "transactionReceiptUrl": None,
            "deleted": False,
            "anticipated": False,
            "anticipable": False,
            "postalService": False,
            "discount": {"value": 0, "dueDateLimitDays": 0, "limitDate": None, "type": "FIXED"},
            "fine": {"value": 0, "type": "FIXED"},
            "interest": {"value": 0, "type": "PERCENTAGE"},
            "refunds": None,
            **fields,
        }
        if subscription is not None:  # the key is not there where there is no subscription
            made["subscription"] = subscription
        self.payments[payment_id] = made
        self.count("payment", made["externalReference"])
        self.emit("PAYMENT_CREATED", "payment", made)
        return made

    def add_subscription(self, fields: Object) -> Object:
        """A new subscription and, at once, its first payment; `nextDueDate` then is the one after that."""
        made = {
            "object": "subscription",
            "id": f"sub_{secrets.token_hex(6)}",
            "dateCreated": self.today().isoformat(),
            "paymentLink": None,
            "checkoutSession": None,
            "deleted": False,
            "status": "ACTIVE",
            "fine": {"value": 0, "type": "FIXED"},
            "interest": {"value": 0, "type": "PERCENTAGE"},
            "split": None,
            **fields,
        }
        self.subscriptions[made["id"]] = made
        self.count("subscription", made["externalReference"])
        self.emit("SUBSCRIPTION_CREATED", "subscription", made)
        self.renew(made["id"])
        return made

    def renew(self, subscription_id: str) -> Object:
        """The subscription's next payment."""
        subscription = self.subscription(subscription_id)
        if subscription["deleted"] or subscription["status"] != "ACTIVE":
            raise refused("A assinatura não está ativa.")
        due = subscription["nextDueDate"]
        copied = ("customer", "billingType", "value", "description", "externalReference")
        fields = {name: subscription[name] for name in copied} | {"dueDate": due}
        subscription["nextDueDate"] = _next_due(date.fromisoformat(due), subscription["cycle"]).isoformat()
        return self.add_payment(fields, subscription=subscription_id)

    def pay(self, payment_id: str, method: str | None = None) -> None:
        """The payer pays. PIX and boleto are RECEIVED; a card is CONFIRMED, and RECEIVED when it is credited."""
        payment = self.payment(payment_id)
        if payment["deleted"] or payment["status"] not in OPEN:
            raise refused("A cobrança não pode ser paga.")
        if payment["billingType"] == "UNDEFINED":
            payment["billingType"] = method or "CREDIT_CARD"
        today = self.today().isoformat()
        payment["clientPaymentDate"] = today
        self.count("paid", payment_id)
        if payment["billingType"] in ("CREDIT_CARD", "DEBIT_CARD"):
            payment |= {"status": "CONFIRMED", "confirmedDate": today}
            self.emit("PAYMENT_CONFIRMED", "payment", payment)
        else:
            payment["paymentDate"] = today
            payment["status"] = "RECEIVED"
            self.emit("PAYMENT_RECEIVED", "payment", payment)

    def credit(self, payment_id: str) -> None:
        """A confirmed card payment reaches the balance."""
        if self.payment(payment_id)["status"] == "CONFIRMED":
            self.payment(payment_id)["paymentDate"] = self.today().isoformat()
        self.move(payment_id, ("CONFIRMED",), "RECEIVED", "PAYMENT_RECEIVED")

    def overdue(self, payment_id: str) -> None:
        """Its due day has passed."""
        self.move(payment_id, ("PENDING",), "OVERDUE", "PAYMENT_OVERDUE")

    def remove_payment(self, payment_id: str) -> None:
        """Withdrawn; it can still be fetched."""
        payment = self.payment(payment_id)
        if payment["deleted"]:
            raise refused("A cobrança já foi removida.")
        if payment["status"] not in OPEN:
            raise refused("Não é possível remover uma cobrança recebida.")
        payment["deleted"] = True
        self.emit("PAYMENT_DELETED", "payment", payment)

    def restore_payment(self, payment_id: str) -> None:
        """A removed one is due again, as the seller can have it in Asaas' own pages."""
        payment = self.payment(payment_id)
        if not payment["deleted"]:
            raise refused("A cobrança não foi removida.")
        payment["deleted"] = False
        self.emit("PAYMENT_RESTORED", "payment", payment)

    def remove_subscription(self, subscription_id: str) -> None:
        """Ended, with the payments that are still due."""
        subscription = self.subscription(subscription_id)
        if subscription["deleted"]:
            raise refused("A assinatura já foi removida.")
        subscription |= {"deleted": True, "status": "INACTIVE"}
        self.emit("SUBSCRIPTION_DELETED", "subscription", subscription)
        for payment in list(self.payments.values()):
            is_due = payment["status"] in OPEN and not payment["deleted"]
            if payment.get("subscription") == subscription_id and is_due:
                self.remove_payment(payment["id"])

    def move(
        self, payment_id: str, before: tuple[str, ...], after: str, event: str, chargeback: str | None = None
    ) -> None:
        """Its next status, told of; `chargeback` is what the payer's bank says. Refused from any other status."""
        payment = self.payment(payment_id)
        if payment["deleted"] or payment["status"] not in before:
            raise refused(f"A cobrança está {payment['status']}.")
        payment["status"] = after
        if chargeback:
            payment["chargeback"] = {"status": chargeback, "reason": "FRAUD"}
        self.emit(event, "payment", payment)


def _next_due(due: date, cycle: str) -> date:
    if cycle in DAYS:
        return due + timedelta(days=DAYS[cycle])
    months = due.year * 12 + due.month - 1 + MONTHS[cycle]
    year, month = divmod(months, 12)
    return date(year, month + 1, min(due.day, calendar.monthrange(year, month + 1)[1]))
