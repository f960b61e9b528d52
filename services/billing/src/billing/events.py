"""What billing consumes: events of tenants, and the provider events that it told itself of."""

from collections.abc import Callable, Sequence
from typing import Final

from billing import store
from billing.accounts import Accounts
from billing.domain.selling import SellingTerms
from billing.usecases.apply_provider_event import apply_provider_event
from billing.usecases.close_tenant import close_tenant
from billing.usecases.confirm_claim import confirm_claim
from billing.usecases.erase_customer import erase_customer
from billing.usecases.export_customer import export_customer
from billing.usecases.follow_user import follow_user
from billing.usecases.pass_failure_on import pass_failure_on
from billing.usecases.pass_payment_on import pass_payment_on
from billing.usecases.plan_purchase_notice import plan_purchase_notice
from bus.consumer import Consumer, Handler, Incoming, event_consumer
from bus.envelope import Envelope, decode_data, decode_envelope
from bus.trace import current_traceparent
from chassis.db import Connection, platform_transaction
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from contracts.billing import (
    InvoicePaymentFailed,
    OrderPaid,
    PaymentReceived,
    PaymentRefunded,
    ProviderEventReceived,
)
from contracts.errors import Malformed
from contracts.event import event_type
from contracts.tenants import (
    ErasureRequested,
    ExportRequested,
    PaymentClaimed,
    TenantClosed,
    TenantCreated,
    TenantUpdated,
    UserCreated,
    UserDisabled,
    UserEvent,
    UserUpdated,
)

PROVIDER_EVENTS_QUEUE: Final = "billing.provider_events"
TENANT_CLAIMS_QUEUE: Final = "billing.tenant_claims"
TENANT_CLAIMS_DELAYS_S: Final = (5.0, 300.0, 3600.0, 21600.0)
PEOPLE_QUEUE: Final = "billing.people"


def provider_events(accounts: Accounts) -> Callable[[Runtime], Consumer]:
    """The consumer of stored webhooks, on a queue of its own: it asks providers, and must not hold up tenants' events.

    Not in one transaction, since none may be open while a provider is asked; that a message comes again is borne by
    `apply_provider_event` itself.
    """

    def consumer(runtime: Runtime) -> Consumer:
        async def on_provider_events(messages: Sequence[Incoming]) -> None:
            for message in messages:
                envelope = decode_envelope(message.body)
                told = decode_data(envelope, ProviderEventReceived)
                token = current_traceparent.set(envelope.traceparent)
                try:
                    await apply_provider_event(runtime.db, accounts, told.provider_event_id, clock=runtime.clock)
                finally:
                    current_traceparent.reset(token)

        return Consumer(
            queue=PROVIDER_EVENTS_QUEUE,
            handle=on_provider_events,
            event_types=(event_type(ProviderEventReceived),),
            max_batch=1,
            prefetch=32,
            concurrency=4,
        )

    return consumer


def tenant_claims(accounts: Accounts, box: SecretBox, terms: SellingTerms) -> Callable[[Runtime], Consumer]:
    """The consumer of what tenants ask that a provider has to be asked for: claimed payments, and ends of tenants.

    Not in one transaction, as above. A provider may be away for hours before a message is given up.
    """

    def consumer(runtime: Runtime) -> Consumer:
        async def on_tenants(messages: Sequence[Incoming]) -> None:
            for message in messages:
                envelope = decode_envelope(message.body)
                is_claim = envelope.type == event_type(PaymentClaimed)
                told = decode_data(envelope, PaymentClaimed) if is_claim else decode_data(envelope, TenantClosed)
                if told.tenant_id != envelope.tenantid:
                    raise Malformed("The event is of another tenant than its envelope.", code="malformed_event")
                token = current_traceparent.set(envelope.traceparent)
                try:
                    if isinstance(told, PaymentClaimed):
                        await confirm_claim(
                            runtime.db, accounts, told, envelope.id, box=box, terms=terms, clock=runtime.clock
                        )
                    else:
                        await close_tenant(runtime.db, accounts, told.tenant_id, clock=runtime.clock)
                finally:
                    current_traceparent.reset(token)

        return Consumer(
            queue=TENANT_CLAIMS_QUEUE,
            handle=on_tenants,
            event_types=(event_type(PaymentClaimed), event_type(TenantClosed)),
            max_batch=1,
            prefetch=16,
            concurrency=4,
            handle_timeout_s=300,
            delays_s=TENANT_CLAIMS_DELAYS_S,
        )

    return consumer


def people(box: SecretBox) -> Callable[[Runtime], Consumer]:
    """The consumer of what concerns persons. Its transactions are the platform's: an address is in its directories."""

    def consumer(runtime: Runtime) -> Consumer:
        async def on_user(conn: Connection, event: UserEvent, _: Envelope) -> None:
            await follow_user(conn, event)

        async def on_erasure_requested(conn: Connection, event: ErasureRequested, _: Envelope) -> None:
            await erase_customer(conn, event, now=runtime.clock())

        async def on_export_requested(conn: Connection, event: ExportRequested, _: Envelope) -> None:
            await export_customer(conn, event, box=box, now=runtime.clock())

        handlers = (
            Handler(UserCreated, on_user),
            Handler(UserUpdated, on_user),
            Handler(UserDisabled, on_user),
            Handler(ErasureRequested, on_erasure_requested),
            Handler(ExportRequested, on_export_requested),
        )
        return event_consumer(PEOPLE_QUEUE, handlers, lambda _: platform_transaction(runtime.db))

    return consumer


async def on_tenant(conn: Connection, event: TenantCreated | TenantUpdated, _: Envelope) -> None:
    """A tenant that was minted for an order is somebody's now. One that still waits for its payment is not."""
    if event.status != "pending":
        await store.customers.settle_provisional(conn, event.tenant_id, event.occurred_at)


TENANT_HANDLERS: tuple[Handler, ...] = (Handler(TenantCreated, on_tenant), Handler(TenantUpdated, on_tenant))
HANDLERS: tuple[Handler, ...] = TENANT_HANDLERS


def outputs(*, nexus_events: bool, n8n: bool) -> tuple[Handler, ...]:
    """What is passed on to others than our own services (seed 002): its payment events, and purchases to n8n.

    They are bound whatever is set: a setting that is turned off must not leave a queue with what nobody takes.
    """

    async def on_payment_received(conn: Connection, event: PaymentReceived, _: Envelope) -> None:
        if nexus_events:
            await pass_payment_on(conn, event.tenant_id, event.payment_id, "payment.received", now=event.occurred_at)

    async def on_payment_refunded(conn: Connection, event: PaymentRefunded, _: Envelope) -> None:
        if nexus_events:
            await pass_payment_on(conn, event.tenant_id, event.payment_id, "payment.refunded", now=event.occurred_at)

    async def on_invoice_payment_failed(conn: Connection, event: InvoicePaymentFailed, _: Envelope) -> None:
        if nexus_events:
            await pass_failure_on(conn, event.tenant_id, event.invoice_id, now=event.occurred_at)

    async def on_order_paid(conn: Connection, event: OrderPaid, _: Envelope) -> None:
        if n8n:
            await plan_purchase_notice(conn, event.tenant_id, event.order_id, now=event.occurred_at)

    return (
        Handler(PaymentReceived, on_payment_received),
        Handler(PaymentRefunded, on_payment_refunded),
        Handler(InvoicePaymentFailed, on_invoice_payment_failed),
        Handler(OrderPaid, on_order_paid),
    )
