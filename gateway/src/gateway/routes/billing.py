"""Routes of billing: plans, checkout, PIX, invoices and the payment providers' webhooks (seeds 000 to 004)."""

from typing import Final

from gateway.routes.row import PLATFORM_ADMIN, PUBLIC, USER, Row, permission, webhook

_STRIPE = webhook("stripe", "stripe-signature")
_ASAAS = webhook("asaas", "asaas-access-token")
_PAGBANK = webhook("pagbank", "x-authenticity-token", "x-payload-signature")
_ANY_GATEWAY = webhook("payment-gateway", *_ASAAS.headers, *_PAGBANK.headers)
_PIX = webhook("pix", "x-webhook-secret", *_ASAAS.headers, *_PAGBANK.headers, *_STRIPE.headers)
_MERCADO_PAGO = webhook("mercadopago", "x-signature")

_READ = permission("billing:read")
_WRITE = permission("billing:write")
_CONFIGURE = permission("billing:configure")
_REFUND = permission("payments:refund")
_PROVIDER_S = 30.0  # these wait for a payment provider inside the request

_SELLING: Final = (
    Row("GET", "/plans", PUBLIC),
    Row("POST", "/plans", PLATFORM_ADMIN),
    Row("GET", "/plans/{id}", PUBLIC),
    Row("PATCH DELETE", "/plans/{id}", PLATFORM_ADMIN),
    Row("POST", "/plans/{id}/push", PLATFORM_ADMIN, timeout_s=_PROVIDER_S),
    Row("POST", "/stripe/checkout", USER, timeout_s=_PROVIDER_S),
    Row("POST", "/stripe/portal", USER, timeout_s=_PROVIDER_S),
    Row("POST", "/stripe/webhook", _STRIPE),
    Row("POST", "/billing/checkout", USER, timeout_s=_PROVIDER_S),
    Row("POST", "/billing/portal", USER, timeout_s=_PROVIDER_S),
    Row("POST", "/billing/webhook", _STRIPE),
    Row("POST", "/billing/webhook/stripe", _STRIPE),
    Row("GET", "/billing/events", PLATFORM_ADMIN),
    Row("GET", "/billing/events/{id}", PLATFORM_ADMIN),
    Row("POST", "/billing/events/{id}/replay", PLATFORM_ADMIN),
    Row("POST", "/billing/reconcile", PLATFORM_ADMIN, timeout_s=60),
    Row("POST", "/payments/intent", PUBLIC, timeout_s=_PROVIDER_S),
    Row("POST", "/payments/webhook/stripe", _STRIPE),
    Row("POST", "/payments/webhook/asaas", _ASAAS),
    Row("POST", "/payments/webhook/pagseguro", _PAGBANK),
    Row("POST", "/contact", PUBLIC),
    Row("POST", "/mercadopago/create-preference", PUBLIC, timeout_s=_PROVIDER_S),
    Row("POST", "/mercadopago/webhook", _MERCADO_PAGO),
)

_RECORDS: Final = (
    Row("POST", "/pix/create", _WRITE, timeout_s=_PROVIDER_S),
    Row("POST", "/pix/webhook", _PIX),
    Row("POST", "/pix/webhook/pix", _PIX),  # BACEN: the provider appends /pix to the address it was given
    Row("GET", "/pix/{txid}", _READ),
    Row("GET", "/subscriptions", _READ),
    Row("GET", "/subscriptions/{id}", _READ),
    Row("PATCH", "/subscriptions/{id}", _WRITE, timeout_s=_PROVIDER_S),
    Row("POST", "/subscriptions/{id}/cancel", _WRITE, timeout_s=_PROVIDER_S),
    Row("POST", "/subscriptions/{id}/resume", _WRITE, timeout_s=_PROVIDER_S),
    Row("POST", "/subscriptions/{id}/change-plan", _WRITE, timeout_s=_PROVIDER_S),
    Row("GET", "/invoices", _READ),
    Row("GET", "/invoices/{id}", _READ),
    Row("POST", "/invoices/{id}/void", _WRITE, timeout_s=_PROVIDER_S),
    Row("GET", "/payments", _READ),
    Row("GET", "/payments/{id}", _READ),
    Row("POST", "/payments/{id}/refund", _REFUND, timeout_s=_PROVIDER_S),
    Row("GET", "/orders/{id}", _READ),
    Row("GET", "/financeiro/historico", permission("finance:read"), "named"),
    Row("GET", "/financeiro/faturas", permission("finance:read"), "named"),
)

#: Seed 002's own dialect, then the second one that its front end speaks.
_PAYMENT_GATEWAY: Final = (
    Row("GET POST", "/payment-gateway/config", _CONFIGURE),
    Row("GET DELETE", "/payment-gateway/config/{gateway}/{environment}", _CONFIGURE),
    Row("GET", "/payment-gateway/config/{gateway}/active", _CONFIGURE),
    Row("POST", "/payment-gateway/test/{gateway}", _CONFIGURE, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/test/pagbank/full", _CONFIGURE, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/test/pagbank/pix", _CONFIGURE, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/test/pagbank/orders", _CONFIGURE, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/customers", _WRITE, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/customers/lead/{lead_id}", _READ, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/charges", _WRITE, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/charges/{gateway}", _READ, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/charges/{gateway}/{charge_id}", _READ, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/charges/{gateway}/{charge_id}/pix", _READ, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/charges/{gateway}/{charge_id}/refund", _REFUND, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/webhooks/asaas", _ASAAS),
    Row("POST", "/payment-gateway/webhooks/pagbank", _PAGBANK),
    Row("POST", "/payment-gateway/webhook/{gateway}", _ANY_GATEWAY),
    Row("POST", "/webhooks/asaas", _ASAAS),
    Row("POST", "/webhooks/pagbank", _PAGBANK),
    Row("GET", "/payment-gateway/webhooks/logs", _CONFIGURE),
    Row("POST", "/payment-gateway/webhooks/{id}/retry", _CONFIGURE),
    Row("POST", "/payment-gateway/{gateway}/customers", _WRITE, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/{gateway}/customers/lead/{lead_id}", _READ, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/{gateway}/charges", _READ, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/{gateway}/charges", _WRITE, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/{gateway}/charges/{charge_id}", _READ, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/{gateway}/charges/{charge_id}/cancel", _WRITE, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/{gateway}/charges/{charge_id}/refund", _REFUND, timeout_s=_PROVIDER_S),
    Row("GET", "/payment-gateway/{gateway}/charges/{charge_id}/pix-qrcode", _READ, timeout_s=_PROVIDER_S),
    Row("POST", "/payment-gateway/{gateway}/webhook/test", _CONFIGURE, timeout_s=_PROVIDER_S),
)

ROWS: Final = (*_SELLING, *_RECORDS, *_PAYMENT_GATEWAY)
