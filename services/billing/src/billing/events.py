"""What billing consumes: events of tenants, and the provider events that it told itself of."""

from collections.abc import Callable, Sequence
from typing import Final

from billing.accounts import Accounts
from billing.usecases.apply_provider_event import apply_provider_event
from billing.usecases.pass_failure_on import pass_failure_on
from billing.usecases.pass_payment_on import pass_payment_on
from billing.usecases.plan_purchase_notice import plan_purchase_notice
from bus.consumer import Consumer, Handler, Incoming
from bus.envelope import Envelope, decode_data, decode_envelope
from bus.trace import current_traceparent
from chassis.db import Connection
from chassis.lifecycle import Runtime
from contracts.billing import (
    InvoicePaymentFailed,
    OrderPaid,
    PaymentReceived,
    PaymentRefunded,
    ProviderEventReceived,
)
from contracts.event import event_type

PROVIDER_EVENTS_QUEUE: Final = "billing.provider_events"


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


HANDLERS: tuple[Handler, ...] = ()


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
