"""Stripe for tests and `make run`: its protocol on a socket, its payers' pages, its webhooks, and its faults."""

from testkit.fake_stripe.front import Crash
from testkit.fake_stripe.sender import Delivery, Sender, signature_header
from testkit.fake_stripe.server import FakeStripe, fake_stripe
from testkit.fake_stripe.world import Object, Shape

__all__ = ["Crash", "Delivery", "FakeStripe", "Object", "Sender", "Shape", "fake_stripe", "signature_header"]
