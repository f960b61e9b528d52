"""Seed 002's payment gateway: a tenant's own accounts at providers, and charges by them, in its two dialects.

The first dialect answers bare JSON and the provider's own objects, the second one `{success, data}`. Errors are
problems that carry `error` as well.
"""

from billing.api.payment_gateway import (
    account_trials,
    charges,
    config,
    customers,
    enveloped_charges,
    enveloped_customers,
    pagbank_trials,
    webhook_log,
)

ROUTES = [
    *config.ROUTES,
    *customers.ROUTES,
    *charges.ROUTES,
    *webhook_log.ROUTES,
    *pagbank_trials.ROUTES,
    *account_trials.ROUTES,
    *enveloped_customers.ROUTES,
    *enveloped_charges.ROUTES,
]
