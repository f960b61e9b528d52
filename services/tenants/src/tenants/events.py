"""What the tenants service consumes: billing's orders and subscriptions, and every service's audit records."""

from bus.consumer import Handler

HANDLERS: tuple[Handler, ...] = ()
