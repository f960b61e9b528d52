"""A shop on the fake providers: orders with their pages, and webhooks dealt with as the consumer does, one by one."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec

from billing import store
from billing.accounts import Accounts, PlatformCredentials
from billing.asaas_api import read_asaas_event
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.drafts import payment_of
from billing.domain.identifiers import new_id
from billing.domain.invoices import Invoice
from billing.domain.orders import Order
from billing.domain.payments import Payment
from billing.domain.provider_events import EventSource, NewProviderEvent, ProviderEvent
from billing.domain.providers import ChargeRequest, CheckoutRequest, Method, Notice, Payer, Provider
from billing.domain.subscriptions import Subscription
from billing.pagbank_api import read_pagbank_event
from billing.stripe_api import StripeApi, read_stripe_event
from billing.usecases.apply_provider_event import apply_provider_event
from billing.usecases.store_webhooks import store_webhooks
from chassis.clock import utc_now
from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from testkit.fake_asaas import FakeAsaas
from testkit.fake_pagbank import FakePagBank
from testkit.fake_stripe import FakeStripe, Object

from .records import a_customer, an_invoice, an_order


class Rows(msgspec.Struct, frozen=True):
    """Everything that an order has led to."""

    order: Order
    subscription: Subscription | None
    invoices: list[Invoice]
    payments: list[Payment]


class Shop:
    """The platform's shop; each order belongs to a tenant of its own unless one is named."""

    def __init__(
        self, db: Database, accounts: Accounts, stripe: FakeStripe, asaas: FakeAsaas, pagbank: FakePagBank
    ) -> None:
        self.db = db
        self.accounts = accounts
        self.stripe = stripe
        self.asaas = asaas
        self.pagbank = pagbank
        self.clock = utc_now

    async def sell(
        self,
        *,
        provider: Provider = Provider.STRIPE,
        trial_days: int = 0,
        is_recurring: bool = True,
        tenant: UUID | None = None,
        is_recorded: bool = True,
        **fields: Any,
    ) -> Order:
        """An order as selling leaves it: with its page open, its first invoice unless a trial comes first.

        `is_recorded` False: the answer that brought the page was lost.
        """
        tenant, now = tenant or uuid4(), self.clock()
        async with transaction(self.db, tenant) as conn:
            order = await an_order(conn, tenant, now=now, provider=provider, trial_days=trial_days, **fields)
            await enter(conn, order, "reference", str(order.id))
            if not trial_days:
                await an_invoice(conn, tenant, order=order, now=now)
        api = await self.accounts.of_platform(provider)
        request = CheckoutRequest(
            reference=order.id,
            plan_slug=order.plan_slug,
            title=order.plan_name,
            description="",
            amount_cents=order.amount_cents,
            currency=order.currency,
            interval=order.interval if is_recurring else None,
            trial_days=trial_days,
            payer=Payer(email="ana@example.com", name="Ana Souza", tax_id="52998224725"),
            success_url="http://127.0.0.1/ok",
            cancel_url="http://127.0.0.1/no",
            methods=(Method.CARD,),
        )
        page = await api.create_checkout(request, key=f"checkout-{order.id}")
        if not is_recorded:
            return order
        order = msgspec.structs.replace(order, external_id=page.external_id, checkout_url=page.url)
        async with transaction(self.db, tenant) as conn:
            await store.orders.update_order(conn, tenant, order)
            await enter(conn, order, "checkout", page.external_id)
        return order

    async def store_event(
        self, source: EventSource, notice: Notice, payload: bytes = b"{}", *, tenant: UUID | None = None,
        account_id: UUID = PLATFORM_ACCOUNT,
    ) -> UUID:  # fmt: skip
        """The id of the event, stored now or before."""
        event = NewProviderEvent(
            id=new_id(self.clock()),
            provider=source,
            account_id=account_id,
            notice=notice,
            payload=payload,
            tenant_id=tenant,
        )
        await store_webhooks(self.db, [event], now=self.clock())
        async with platform_transaction(self.db) as conn:
            found: UUID = await conn.fetchval(
                "SELECT id FROM provider_events WHERE provider = $1 AND account_id = $2 AND event_id = $3",
                source.value,
                account_id,
                notice.event_id,
            )
        return found

    async def deal_with(self, event_id: UUID) -> ProviderEvent:
        """The event after the consumer has dealt with it."""
        await apply_provider_event(self.db, self.accounts, event_id, clock=self.clock)
        return await self.event(event_id)

    async def event(self, event_id: UUID) -> ProviderEvent:
        """The event as it stands."""
        async with platform_transaction(self.db) as conn:
            found = await store.provider_events.find_event(conn, event_id)
        assert found is not None
        return found

    def happened(self, event_type: str) -> Object:
        """The fake Stripe's latest event of that type."""
        return next(one for one in reversed(self.stripe.events) if one["type"] == event_type)

    async def deliver(self, event: Object) -> ProviderEvent:
        """One of the fake Stripe's events, delivered and dealt with."""
        body, _ = self.stripe.sender.request(event)
        return await self.deal_with(await self.store_event(EventSource.STRIPE, read_stripe_event(body), body))

    async def deliver_asaas(self, event_type: str, payment_id: str) -> ProviderEvent:
        """A new event of Asaas' about a payment, delivered and dealt with."""
        body = msgspec.json.encode(
            {"id": f"evt_{uuid4().hex}", "event": event_type, "payment": self.asaas.payment(payment_id)}
        )
        return await self.deal_with(await self.store_event(EventSource.ASAAS, read_asaas_event(body), body))

    async def deliver_asaas_subscription(self, event_type: str, subscription_id: str) -> ProviderEvent:
        """The same about a subscription."""
        body = msgspec.json.encode(
            {"id": f"evt_{uuid4().hex}", "event": event_type, "subscription": {"id": subscription_id}}
        )
        return await self.deal_with(await self.store_event(EventSource.ASAAS, read_asaas_event(body), body))

    async def deliver_pagbank(self, order_id: str) -> ProviderEvent:
        """PagBank's body about an order as it stands, delivered and dealt with."""
        body = msgspec.json.encode(self.pagbank.order(order_id))
        notice = read_pagbank_event(body, "application/json")
        return await self.deal_with(await self.store_event(EventSource.PAGBANK, notice, body))

    async def deliver_all(self, events: Sequence[Object]) -> list[ProviderEvent]:
        """Several, in that order."""
        return [await self.deliver(event) for event in events]

    async def rows(self, order: Order) -> Rows:
        """What the order has led to, read now; less when providers were asked, which a repeat may change."""
        tenant = order.tenant_id
        async with transaction(self.db, tenant) as conn:
            invoices = await store.invoices.list_invoices(conn, tenant, before=None, limit=100)
            payments = await store.payments.list_payments(conn, tenant, before=None, limit=100)
            subscription = await store.subscriptions.find_of_order(conn, tenant, order.id)
            return Rows(
                await store.orders.get_order(conn, tenant, order.id),
                msgspec.structs.replace(subscription, observed_at=None) if subscription else None,
                sorted(invoices, key=lambda one: one.number),
                sorted((msgspec.structs.replace(one, observed_at=None) for one in payments), key=lambda one: one.id),
            )

    async def timeline(self, order: Order) -> list[str]:
        """The kinds of the order's entries, oldest first."""
        async with transaction(self.db, order.tenant_id) as conn:
            return [one.kind for one in await store.orders.list_entries(conn, order.tenant_id, order.id)]

    async def told(self, order: Order) -> list[dict[str, Any]]:
        """The events of the order's tenant in the outbox, oldest first: their data, with the type."""
        rows = await self.db.relay.fetch(
            """
            SELECT type, convert_from(body, 'UTF8')::jsonb -> 'data' AS data FROM outbox
            WHERE tenant_id = $1 AND type LIKE 'billing.%' ORDER BY created_at, id
            """,
            order.tenant_id,
        )
        return [msgspec.json.decode(row["data"]) | {"type": row["type"]} for row in rows]

    async def told_types(self, order: Order) -> list[str]:
        """Their types, sorted, less `billing.` and the version."""
        return sorted(one["type"].removeprefix("billing.").removesuffix(".v1") for one in await self.told(order))

    async def charge(
        self, provider: Provider, *, tenant: UUID | None = None, account_id: UUID = PLATFORM_ACCOUNT,
        amount_cents: int = 24700,
    ) -> Payment:  # fmt: skip
        """A pending PIX charge of an invoice of its own, asked for at the provider and recorded."""
        tenant, now = tenant or uuid4(), self.clock()
        async with transaction(self.db, tenant) as conn:
            customer = await a_customer(conn, tenant, now=now)
            invoice = await an_invoice(
                conn, tenant, now=now, provider=provider, account_id=account_id, customer_id=customer.id,
                amount_cents=amount_cents,
            )  # fmt: skip
            payment = payment_of(invoice, method=Method.PIX, now=now)
            await store.payments.insert_payment(conn, tenant, payment)
            await enter(conn, payment, "reference", str(payment.id))
            api = await self.accounts.open(conn, tenant, account_id, provider)
        request = ChargeRequest(
            reference=payment.id,
            amount_cents=amount_cents,
            currency="BRL",
            method=Method.PIX,
            payer=Payer(email="ana@example.com", name="Ana Souza", tax_id="52998224725"),
            description="Essencial",
            due_on=now.date(),
        )
        key = f"charge-{payment.id}"
        made = await (
            api.create_pix(request, key=key) if isinstance(api, StripeApi) else api.create_charge(request, key=key)
        )
        txid = made.pix.txid if made.pix and made.pix.txid != "***" else payment.id.hex[:26]
        payment = msgspec.structs.replace(payment, external_id=made.external_id, txid=txid)
        async with transaction(self.db, tenant) as conn:
            await store.payments.update_payment(conn, tenant, payment)
            await enter(conn, payment, "payment", made.external_id)
            await enter(conn, payment, "txid", txid)
        return payment


async def enter(conn: Connection, row: Order | Payment, kind: str, external_id: str) -> None:
    """Enters what the row is called at its provider in the directory."""
    assert await store.directory.insert_object(
        conn,
        row.tenant_id,
        provider=row.provider.value,
        account_id=row.account_id,
        kind=kind,
        external_id=external_id,
        object_id=row.id,
    )


@asynccontextmanager
async def a_shop(db: Database, box: SecretBox, **options: Any) -> AsyncIterator[Shop]:
    """A shop with an account at each of the three fakes, whose webhooks go nowhere by themselves."""
    async with AsyncExitStack() as stack:
        stripe = await stack.enter_async_context(FakeStripe(**options).serving())
        asaas = await stack.enter_async_context(FakeAsaas())
        pagbank = await stack.enter_async_context(FakePagBank())
        credentials = PlatformCredentials(
            stripe_key=stripe.front.api_key,
            stripe_webhook_secrets=(stripe.webhook_secret,),
            stripe_base=stripe.url,
            asaas_key=asaas.api_key,
            asaas_webhook_tokens=("asaas-token-of-the-tests-that-is-long",),
            asaas_base=asaas.url,
            pagbank_token=pagbank.token,
            pagbank_base=pagbank.url,
        )
        accounts = await stack.enter_async_context(Accounts(credentials, box))
        yield Shop(db, accounts, stripe, asaas, pagbank)
