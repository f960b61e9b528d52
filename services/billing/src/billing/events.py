"""What billing consumes: events of tenants, and the provider events that it told itself of."""

from bus.consumer import Handler

HANDLERS: tuple[Handler, ...] = ()
