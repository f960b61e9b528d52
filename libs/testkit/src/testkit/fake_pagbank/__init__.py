"""A fake of PagBank: orders, charges, Checkout and its page, public keys and signed webhooks, over real sockets."""

from testkit.fake_pagbank.fake import FakePagBank

__all__ = ("FakePagBank",)
