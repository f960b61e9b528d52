"""Seed 002's payment gateway: a tenant's own accounts at providers, and charges by them, in its two dialects.

The first dialect answers bare JSON and the provider's own objects, the second one `{success, data}`. Errors are
problems that carry `error` as well.
"""

from billing.api.payment_gateway import charges, config, customers, pagbank_trials, second_dialect, webhook_log

ROUTES = [
    *config.ROUTES,
    *customers.ROUTES,
    *charges.ROUTES,
    *webhook_log.ROUTES,
    *pagbank_trials.ROUTES,
    *second_dialect.ROUTES,
]
