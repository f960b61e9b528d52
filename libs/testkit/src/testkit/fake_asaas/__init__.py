"""A fake of Asaas v3: its API, the page where an invoice is paid, and its webhooks, over real sockets."""

from testkit.fake_asaas.fake import FakeAsaas

__all__ = ("FakeAsaas",)
