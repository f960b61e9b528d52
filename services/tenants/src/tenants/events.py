"""What the tenants service consumes: audit records, privacy reports, its own requests, billing's orders and plans."""

from collections.abc import Callable, Collection
from typing import Any, Final

from bus.consumer import Consumer, Handler, event_consumer
from bus.envelope import Envelope
from chassis.clock import Clock
from chassis.db import Connection, platform_transaction
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from contracts import billing, mailer, tenants
from contracts.audit import AuditRecord
from contracts.privacy import PrivacyErased, PrivacyExported
from contracts.tenants import ErasureRequested, ExportRequested
from tenants.domain.terms import Terms
from tenants.usecases.append_record import append_record
from tenants.usecases.apply_subscription import apply_subscription
from tenants.usecases.erase_person import erase_person
from tenants.usecases.export_person import export_person
from tenants.usecases.open_paid_tenant import open_paid_tenant
from tenants.usecases.refuse_claim import refuse_claim
from tenants.usecases.take_privacy_report import take_privacy_report

#: Each of them carries the whole subscription; `trial_ending` says nothing that the others do not.
SUBSCRIPTION_EVENTS: Final[tuple[type[billing.SubscriptionEvent], ...]] = (
    billing.SubscriptionCreated,
    billing.SubscriptionActivated,
    billing.SubscriptionChanged,
    billing.SubscriptionPastDue,
    billing.SubscriptionSuspended,
    billing.SubscriptionCancelled,
    billing.SubscriptionResumed,
)


def events_queue(
    *, box: SecretBox, privacy_services: Collection[str], more: Callable[[Runtime], tuple[Handler, ...]]
) -> Callable[[Runtime], Consumer]:
    """The consumer of all events. Its transactions are the platform's: people are no rows of a tenant."""

    def consumer(runtime: Runtime) -> Consumer:
        handlers = (
            *audit_handlers(box, runtime.clock),
            *privacy_handlers(box, runtime.clock, privacy_services),
            *more(runtime),
        )
        return event_consumer("tenants", handlers, lambda _: platform_transaction(runtime.db))

    return consumer


def audit_handlers(box: SecretBox, clock: Clock) -> tuple[Handler, ...]:
    """Whoever tells an audit record, it is chained here."""

    async def on_audit_recorded(conn: Connection, event: AuditRecord, envelope: Envelope) -> None:
        await append_record(conn, event, envelope, box=box, now=clock())

    records: tuple[type[AuditRecord], ...] = (billing.AuditRecorded, mailer.AuditRecorded, tenants.AuditRecorded)
    return tuple(Handler(record, on_audit_recorded) for record in records)


def privacy_handlers(box: SecretBox, clock: Clock, services: Collection[str]) -> tuple[Handler, ...]:
    """Requests about a person's data: this service's own part, and the reports of all."""

    async def on_erasure_requested(conn: Connection, event: ErasureRequested, envelope: Envelope) -> None:
        await erase_person(conn, event, now=clock())

    async def on_export_requested(conn: Connection, event: ExportRequested, envelope: Envelope) -> None:
        await export_person(conn, event, box=box, now=clock())

    async def on_reported(conn: Connection, event: Any, envelope: Envelope) -> None:
        await take_privacy_report(conn, event, envelope, services=services, now=clock())

    reports: tuple[type[PrivacyErased | PrivacyExported], ...] = (
        billing.DataErased,
        billing.DataExported,
        mailer.DataErased,
        mailer.DataExported,
        tenants.DataErased,
        tenants.DataExported,
    )
    return (
        Handler(ErasureRequested, on_erasure_requested),
        Handler(ExportRequested, on_export_requested),
        *(Handler(report, on_reported) for report in reports),
    )


def billing_handlers(terms: Terms) -> Callable[[Runtime], tuple[Handler, ...]]:
    """Orders and subscriptions: a payment becomes a tenant and its owner, a plan its limits."""

    def handlers(runtime: Runtime) -> tuple[Handler, ...]:
        clock = runtime.clock

        async def on_order_paid(conn: Connection, event: billing.OrderPaid, envelope: Envelope) -> None:
            await open_paid_tenant(conn, event, terms=terms, now=clock())

        async def on_order_failed(conn: Connection, event: billing.OrderFailed, envelope: Envelope) -> None:
            if event.sold_by == "platform" and event.claim_id is not None:
                await refuse_claim(conn, event.tenant_id, event.claim_id, event.reason, terms=terms, now=clock())

        async def on_subscription(conn: Connection, event: billing.SubscriptionEvent, envelope: Envelope) -> None:
            await apply_subscription(conn, event, envelope.version, terms=terms, now=clock())

        return (
            Handler(billing.OrderPaid, on_order_paid),
            Handler(billing.OrderFailed, on_order_failed),
            *(Handler(event, on_subscription) for event in SUBSCRIPTION_EVENTS),
        )

    return handlers
