"""PagBank's orders, charges, Checkout and webhooks: the only place that speaks its dialect."""

from billing.pagbank_api.client import PRODUCTION_URL, SANDBOX_URL, PagBankApi, PagBankPix
from billing.pagbank_api.webhooks import read_pagbank_event, verify_pagbank

__all__ = ("PRODUCTION_URL", "SANDBOX_URL", "PagBankApi", "PagBankPix", "read_pagbank_event", "verify_pagbank")
