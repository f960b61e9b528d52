"""Stripe, behind our own words: the only package that knows its SDK, its objects and its signatures."""

from billing.stripe_api.api import StripeApi
from billing.stripe_api.subscriptions import InlinePrice, Proration
from billing.stripe_api.webhooks import read_stripe_event, verify_stripe

__all__ = ["InlinePrice", "Proration", "StripeApi", "read_stripe_event", "verify_stripe"]
