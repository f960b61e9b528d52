"""Every SQL statement of billing, by noun. Rows travel as JSON: a Struct's fields are its table's columns."""

from billing.store import (
    charges,
    customers,
    directory,
    invoices,
    orders,
    payments,
    plans,
    privacy,
    provider_accounts,
    provider_calls,
    provider_events,
    reconciliation,
    refunds,
    schedules,
    subscriptions,
    webhook_log,
)

__all__ = [
    "charges",
    "customers",
    "directory",
    "invoices",
    "orders",
    "payments",
    "plans",
    "privacy",
    "provider_accounts",
    "provider_calls",
    "provider_events",
    "reconciliation",
    "refunds",
    "schedules",
    "subscriptions",
    "webhook_log",
]
