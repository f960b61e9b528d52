"""Stripe in our words: what we ask of an account, and what it says of its objects now.

Every method that changes something takes the `key` under which the caller has persisted the call. The same call with
the same key has its effect once; with other parameters it is refused. All raise as domain/providers.py has it.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import msgspec

from billing.domain.providers import (
    ChargeCreated,
    ChargeRequest,
    Checkout,
    CheckoutRequest,
    CheckoutState,
    Interval,
    InvoiceState,
    NotAtProvider,
    Notice,
    PaymentState,
    PlanPushed,
    RefundState,
    SubscriptionState,
)
from billing.stripe_api.checkouts import read_checkout, read_checkout_state, session_params
from billing.stripe_api.payment_shapes import PaymentIntent, Refund
from billing.stripe_api.payments import complete_payment, pix_params, read_pix_charge, read_refund
from billing.stripe_api.plans import push_plan
from billing.stripe_api.shapes import Invoice, Listed, Price, Ref, Session, Subscription, reference_in
from billing.stripe_api.subscriptions import InlinePrice, Proration, read_invoice, read_subscription
from billing.stripe_api.transport import Transport, object_path
from billing.stripe_api.webhooks import Event, notice_of


class _Portal(msgspec.Struct):
    url: str


class StripeApi:
    """One Stripe account; `base_url` is another place than Stripe's own, for a fake."""

    def __init__(self, api_key: str, *, base_url: str | None = None) -> None:
        """Raises ProviderMisconfigured for a key that cannot be one."""
        self._transport = Transport(api_key, base_url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._transport.close()

    async def get_account_id(self) -> str:
        """The account that the key opens: proves that it is accepted."""
        return (await self._transport.get("/v1/account", Ref)).id

    # Checkout and portal

    async def create_checkout(self, request: CheckoutRequest, *, key: str) -> Checkout:
        """A page on which the plan can be paid."""
        params = session_params(request)
        return read_checkout(await self._transport.post("/v1/checkout/sessions", Session, params, key))

    async def get_checkout(self, session_id: str) -> CheckoutState:
        """The page as it is now."""
        return read_checkout_state(await self._transport.get(object_path("checkout/sessions", session_id), Session))

    async def expire_checkout(self, session_id: str, *, key: str) -> CheckoutState:
        """Closes a page that is still open; ProviderRefused for one that is not."""
        path = object_path("checkout/sessions", session_id, "/expire")
        return read_checkout_state(await self._transport.post(path, Session, {}, key))

    async def find_checkout(self, reference: UUID, since: datetime) -> CheckoutState | None:
        """The page made for an order since then, where its own answer was lost for good."""
        params = {"created": {"gte": int(since.timestamp())}}
        async for session in self._transport.list("/v1/checkout/sessions", Listed[Session], params):
            if session.client_reference_id == str(reference):
                return read_checkout_state(session)
        return None

    async def create_portal(self, customer_external_id: str, return_url: str, *, key: str) -> str:
        """The URL of a page on which this customer manages what they have; valid for minutes."""
        params = {"customer": customer_external_id, "return_url": return_url}
        return (await self._transport.post("/v1/billing_portal/sessions", _Portal, params, key)).url

    async def push_plan(
        self,
        plan_id: UUID,
        name: str,
        description: str,
        prices: Sequence[tuple[UUID, int, str, Interval]],
        *,
        product_external_id: str | None,
        key: str,
    ) -> PlanPushed:
        """The plan as a product, made or brought up to date, with those of its prices that were not there."""
        return await push_plan(
            self._transport, plan_id, name, description, prices, product_external_id=product_external_id, key=key
        )

    # Subscriptions and invoices

    async def get_subscription(self, subscription_id: str) -> SubscriptionState:
        """The subscription as it is now; a cancelled one stays readable."""
        return read_subscription(await self._transport.get(object_path("subscriptions", subscription_id), Subscription))

    async def change_subscription_price(
        self,
        subscription_id: str,
        item_external_id: str,
        price: str | InlinePrice,
        *,
        proration: Proration,
        key: str,
    ) -> SubscriptionState:
        """The subscription at its new price: Stripe's own id of one, or one that is made for this.

        With `always_invoice` the difference is paid at once or nothing changes: ProviderRefused when it cannot be.
        """
        price_id = price if isinstance(price, str) else await self._make_price(price, key=f"{key}:price")
        params: dict[str, Any] = {
            "items": [{"id": item_external_id, "price": price_id}],
            "proration_behavior": proration,
        }
        if proration == "always_invoice":
            params["payment_behavior"] = "error_if_incomplete"
        return await self._update_subscription(subscription_id, params, key)

    async def _make_price(self, price: InlinePrice, *, key: str) -> str:
        # A subscription's price_data takes a product's id only, where a price of its own may name a new one.
        params = {
            "currency": price.currency.lower(),
            "unit_amount": price.amount_cents,
            "recurring": {"interval": price.interval.value},
            "product_data": {"name": price.title},
        }
        return (await self._transport.post("/v1/prices", Price, params, key)).id

    async def set_cancel_at_period_end(self, subscription_id: str, flag: bool, *, key: str) -> SubscriptionState:
        """The subscription, to end with its period or not any more."""
        params = {"cancel_at_period_end": flag}
        state = await self._update_subscription(subscription_id, params, key)
        if not flag and state.cancel_at_period_end:  # its end was set as a moment, in the portal
            state = await self._update_subscription(subscription_id, {"cancel_at": ""}, f"{key}:cancel_at")
        return state

    async def _update_subscription(self, subscription_id: str, params: dict[str, Any], key: str) -> SubscriptionState:
        path = object_path("subscriptions", subscription_id)
        return read_subscription(await self._transport.post(path, Subscription, params, key))

    async def cancel_subscription(self, subscription_id: str, *, key: str) -> SubscriptionState:
        """The subscription, ended now; one that had ended before stays as it is."""
        path = object_path("subscriptions", subscription_id)
        try:
            return read_subscription(await self._transport.delete(path, Subscription, key))
        except NotAtProvider:
            state = await self.get_subscription(subscription_id)  # Stripe does not know an ended one when deleting
            if state.status == "cancelled":
                return state
            raise

    async def get_invoice(self, invoice_id: str) -> InvoiceState:
        """The invoice as it is now."""
        path = object_path("invoices", invoice_id)
        return read_invoice(await self._transport.get(path, Invoice, {"expand": ["payments"]}))

    async def void_invoice(self, invoice_id: str, *, key: str) -> InvoiceState:
        """The invoice, not to be paid any more; ProviderRefused for one that is paid."""
        path = object_path("invoices", invoice_id, "/void")
        return read_invoice(await self._transport.post(path, Invoice, {"expand": ["payments"]}, key))

    # Payments

    async def create_pix(self, request: ChargeRequest, *, key: str) -> ChargeCreated:
        """A charge with its PIX code."""
        intent = await self._transport.post("/v1/payment_intents", PaymentIntent, pix_params(request), key)
        return read_pix_charge(intent)

    async def get_pix(self, payment_intent_id: str) -> ChargeCreated:
        """A charge with its PIX code, as it is now."""
        return read_pix_charge(
            await self._transport.get(object_path("payment_intents", payment_intent_id), PaymentIntent)
        )

    async def get_payment(self, payment_intent_id: str) -> PaymentState:
        """The payment as it is now, with its refunds and disputes, and the invoice that it pays."""
        path = object_path("payment_intents", payment_intent_id)
        intent = await self._transport.get(path, PaymentIntent, {"expand": ["latest_charge.refunds"]})
        return await complete_payment(self._transport, intent)

    async def find_payment(self, reference: UUID, since: datetime) -> PaymentState | None:
        """The charge made for a payment since then, where its own answer was lost for good."""
        params = {"created": {"gte": int(since.timestamp())}}
        async for intent in self._transport.list("/v1/payment_intents", Listed[PaymentIntent], params):
            if reference_in(intent.metadata) == str(reference):
                return await self.get_payment(intent.id)
        return None

    async def cancel_payment(self, payment_intent_id: str, *, key: str) -> PaymentState:
        """The payment, not to be paid any more; ProviderRefused for one that is paid."""
        path = object_path("payment_intents", payment_intent_id, "/cancel")
        return await complete_payment(self._transport, await self._transport.post(path, PaymentIntent, {}, key))

    async def refund(self, payment_intent_id: str, amount_cents: int | None, *, key: str) -> RefundState:
        """A refund of that much, or of all that is left."""
        params: dict[str, Any] = {"payment_intent": payment_intent_id, "metadata": {"key": key}}
        if amount_cents is not None:
            params["amount"] = amount_cents
        return read_refund(await self._transport.post("/v1/refunds", Refund, params, key))

    async def find_refund(self, payment_intent_id: str, *, key: str) -> RefundState | None:
        """The refund that was asked for under this key, where its own answer was lost for good."""
        params = {"payment_intent": payment_intent_id}
        async for refund in self._transport.list("/v1/refunds", Listed[Refund], params):
            if (refund.metadata or {}).get("key") == key:
                return read_refund(refund)
        return None

    # What happened

    async def list_events(self, since: datetime) -> AsyncIterator[Notice]:
        """Every event since then, newest first; Stripe keeps them for 30 days."""
        params = {"created": {"gte": int(since.timestamp())}}
        async for event in self._transport.list("/v1/events", Listed[Event], params):
            yield notice_of(event)
