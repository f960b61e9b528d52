"""What billing consumes: events of tenants, and the provider events that it told itself of."""

from collections.abc import Callable, Sequence
from typing import Final

from billing.accounts import Accounts
from billing.usecases.apply_provider_event import apply_provider_event
from bus.consumer import Consumer, Handler, Incoming
from bus.envelope import decode_data, decode_envelope
from bus.trace import current_traceparent
from chassis.lifecycle import Runtime
from contracts.billing import ProviderEventReceived
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
