"""What billing asks of one Asaas account, in our words."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from billing.asaas_api import customers, payments, subscriptions, webhook_queues
from billing.asaas_api.connection import an_object, connect
from billing.asaas_api.states import BILLING_TYPES, CYCLES, SAO_PAULO, reais
from billing.domain.providers import (
    ChargeCreated,
    ChargeRequest,
    Checkout,
    CheckoutRequest,
    Method,
    Payer,
    PaymentState,
    ProviderUnknown,
    RefundState,
    SubscriptionState,
)
from chassis.clock import utc_now
from contracts.errors import BadGateway

PRODUCTION_URL: Final = "https://api.asaas.com/v3"
SANDBOX_URL: Final = "https://api-sandbox.asaas.com/v3"


class AsaasApi:
    """One account. Asaas has no idempotency keys: every create first looks for our reference, so that the same call
    after a ProviderUnknown finds what the lost one made.

    The errors are those of ProviderHttp.ask, and BadGateway where an answer cannot be read.
    """

    def __init__(self, api_key: str, *, base_url: str = PRODUCTION_URL, now: Callable[[], datetime] = utc_now) -> None:
        self._http = connect(api_key, base_url)
        self._now = now

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.close()

    async def ensure_customer(self, payer: Payer, *, reference: str) -> str:
        """The id of the payer's customer, found by its id, our reference, tax id or mail address, else made."""
        return await customers.ensure_customer(self._http, payer, reference=reference)

    async def register_customer(self, fields: Mapping[str, object], *, reference: str) -> dict[str, Any]:
        """The same for fields in Asaas' own words; answers Asaas' object."""
        return await customers.register_customer(self._http, fields, reference=reference)

    async def get_customer(self, external_id: str) -> dict[str, Any]:
        """Asaas' object of a customer. Raises NotAtProvider, also for a deleted one."""
        return await customers.get_customer(self._http, external_id)

    async def find_customers(self, reference: str) -> list[dict[str, Any]]:
        """Asaas' objects of the customers with our reference (a lead's id)."""
        return await customers.find_customers(self._http, reference)

    async def create_checkout(self, request: CheckoutRequest, *, key: str) -> Checkout:
        """A page to pay on: of a subscription's first payment, or of one payment when there is no interval.

        The first payment is due today, or when the trial ends. `key` has no place at Asaas; the order's id has.
        Raises ProviderUnknown also when the subscription has no payment yet: the same call finds it later.
        """
        due_on = (self._today() + timedelta(days=request.trial_days)).isoformat()
        customer_id = await self.ensure_customer(request.payer, reference=str(request.reference))
        body: dict[str, object] = {
            "customer": customer_id,
            "billingType": BILLING_TYPES[request.methods[0] if len(request.methods) == 1 else Method.ANY],
            "value": reais(request.amount_cents),
            "description": request.title[:500],
            "externalReference": str(request.reference),
        }
        if request.interval is None:
            payment = await payments.ensure_payment(self._http, body | {"dueDate": due_on})
            return Checkout(
                external_id=payment.external_id,
                url=_page(payment),
                customer_external_id=payment.customer_external_id or customer_id,
            )
        body |= {"cycle": CYCLES[request.interval], "nextDueDate": due_on}
        subscription = await subscriptions.ensure_subscription(self._http, body)
        # The subscription itself has no page to pay on; its first payment has.
        made = await self.list_subscription_payments(subscription.external_id)
        if not made:
            raise ProviderUnknown("Asaas has not made the subscription's first payment yet.", retry_after_s=5)
        return Checkout(
            external_id=subscription.external_id,
            url=_page(made[0]),
            customer_external_id=subscription.customer_external_id or customer_id,
            subscription_external_id=subscription.external_id,
        )

    async def create_charge(self, request: ChargeRequest, *, key: str) -> ChargeCreated:
        """One payment, with its PIX code where it is one. `key` has no place at Asaas; the payment's id has.

        Nor has `expires_at`: a PIX code lives until a year after the due day, or until the payment is withdrawn.
        """
        customer_id = await self.ensure_customer(request.payer, reference=str(request.reference))
        body: dict[str, object] = {
            "customer": customer_id,
            "billingType": BILLING_TYPES[request.method],
            "value": reais(request.amount_cents),
            "dueDate": request.due_on.isoformat(),
            "description": request.description[:500],
            "externalReference": str(request.reference),
        }
        extras = {"discount": request.discount, "fine": request.fine, "interest": request.interest}
        body |= {name: extra for name, extra in extras.items() if extra is not None}
        payment = await payments.ensure_payment(self._http, body)
        pix = await self.get_pix(payment.external_id) if request.method is Method.PIX else None
        return ChargeCreated(
            external_id=payment.external_id,
            status=payment.status,
            customer_external_id=payment.customer_external_id or customer_id,
            pix=pix.code if pix else None,
            url=payment.url,
            raw=payment.raw,
        )

    async def get_payment(self, external_id: str) -> PaymentState:
        """A payment as it stands. Raises NotAtProvider."""
        return await payments.get_payment(self._http, external_id)

    async def find_payment(self, reference: str) -> PaymentState | None:
        """The payment with our reference: the first one made that is not withdrawn, else None."""
        return await payments.find_payment(self._http, reference)

    async def list_payments(
        self, filters: Mapping[str, str] | None = None, *, offset: int = 0, limit: int = 100
    ) -> payments.PaymentPage:
        """One page of payments; `filters` are Asaas' own (`status`, `customer`, `dateCreated[ge]` ...)."""
        return await payments.list_payments(self._http, filters or {}, offset=offset, limit=limit)

    async def list_payments_since(self, since: datetime) -> list[PaymentState]:
        """What was made, paid, missed or disputed since that day in São Paulo, each once: for a reconciliation."""
        return await payments.list_payments_since(self._http, since)

    async def cancel_payment(self, external_id: str) -> None:
        """Withdraws an unpaid payment; a withdrawn one stays so. Raises ProviderRefused for a paid one."""
        await payments.cancel_payment(self._http, external_id)

    async def refund(self, external_id: str, amount_cents: int | None, description: str, *, key: str) -> RefundState:
        """Gives `amount_cents` of a payment back, or all of it.

        `key` (our refund's id) is written behind the description: by it a repeated call finds the refund that a lost
        one made, and does not give the money twice. Raises ProviderRefused with Asaas' reason.
        """
        return await payments.refund(self._http, external_id, amount_cents, description, key=key)

    async def get_pix(self, external_id: str) -> payments.AsaasPix:
        """A PIX payment's code and its image. Raises BadGateway for a code that no bank would take."""
        return await payments.get_pix(self._http, external_id)

    async def get_subscription(self, external_id: str) -> SubscriptionState:
        """A subscription as it stands. Raises NotAtProvider."""
        return await subscriptions.get_subscription(self._http, external_id)

    async def find_subscription(self, reference: str) -> SubscriptionState | None:
        """The subscription with our reference: the first one made that is not withdrawn, else None."""
        return await subscriptions.find_subscription(self._http, reference)

    async def list_subscription_payments(self, external_id: str) -> list[PaymentState]:
        """A subscription's payments that are not withdrawn, by their due day."""
        return await subscriptions.list_subscription_payments(self._http, external_id)

    async def cancel_subscription(self, external_id: str) -> None:
        """Ends a subscription, and with it the payments that are still due; one that has ended stays so."""
        await subscriptions.cancel_subscription(self._http, external_id)

    async def update_subscription_value(
        self, external_id: str, amount_cents: int, *, update_pending: bool
    ) -> SubscriptionState:
        """Sets what the next payments cost, and with `update_pending` those that are already made and unpaid."""
        return await subscriptions.update_value(self._http, external_id, amount_cents, update_pending=update_pending)

    async def webhook_queue_state(self) -> tuple[webhook_queues.WebhookQueue, ...]:
        """The account's webhooks and whether Asaas has paused them (15 failures in a row do)."""
        return await webhook_queues.webhook_queue_state(self._http)

    async def resume_webhook_queue(self, external_id: str) -> None:
        """Lets a paused queue go on; what it held back is then delivered in order."""
        await webhook_queues.resume_webhook_queue(self._http, external_id)

    async def balance(self) -> dict[str, Any]:
        """Asaas' own object of the account's balance (`{"balance": 12.34}`): shows that the key works."""
        return an_object(await self._http.ask("GET", "/finance/balance"))

    def _today(self) -> date:
        return self._now().astimezone(SAO_PAULO).date()


def _page(payment: PaymentState) -> str:
    if not payment.url:
        raise BadGateway("Asaas answered a payment without a page to pay on.")
    return payment.url
