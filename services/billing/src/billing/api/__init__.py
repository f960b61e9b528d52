"""Billing over HTTP, by noun; ends in ROUTES."""

from billing.api import (
    checkout,
    contact,
    finance,
    invoices,
    orders,
    payment_gateway,
    payments,
    pix,
    plans,
    provider_events,
    subscriptions,
    webhooks,
)

ROUTES = [
    *plans.ROUTES,
    *checkout.ROUTES,
    *contact.ROUTES,
    *pix.ROUTES,
    *subscriptions.ROUTES,
    *invoices.ROUTES,
    *payments.ROUTES,
    *orders.ROUTES,
    *finance.ROUTES,
    *payment_gateway.ROUTES,
    *provider_events.ROUTES,
    *webhooks.ROUTES,
]
