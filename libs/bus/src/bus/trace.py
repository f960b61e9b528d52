"""The W3C trace context of the work in hand; the chassis sets it, the outbox writes it into messages."""

from contextvars import ContextVar
from typing import Final

current_traceparent: Final[ContextVar[str | None]] = ContextVar("current_traceparent", default=None)
