"""Asaas v3: customers, payments, subscriptions and webhooks; the only place that speaks its dialect."""

from billing.asaas_api.client import PRODUCTION_URL, SANDBOX_URL, AsaasApi
from billing.asaas_api.payments import AsaasPix, PaymentPage
from billing.asaas_api.webhook_queues import WebhookQueue
from billing.asaas_api.webhooks import read_asaas_event, verify_asaas

__all__ = (
    "PRODUCTION_URL",
    "SANDBOX_URL",
    "AsaasApi",
    "AsaasPix",
    "PaymentPage",
    "WebhookQueue",
    "read_asaas_event",
    "verify_asaas",
)
