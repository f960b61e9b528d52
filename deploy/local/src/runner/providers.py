"""Payment providers to try things with: for each that has no key given, a fake of it on a socket of this machine."""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from testkit.embedded.process import LOOPBACK
from testkit.fake_asaas import FakeAsaas
from testkit.fake_http import Answer, FakeServer, Request
from testkit.fake_pagbank import FakePagBank
from testkit.fake_stripe import FakeStripe


@asynccontextmanager
async def providers(env: Mapping[str, str], port: int, say: Callable[[str], None]) -> AsyncIterator[dict[str, str]]:
    """What billing finds in its environment for them; they send their webhooks through the gateway on `port`.

    A fake forgets everything when it ends: what was paid there is known to our database only.
    """
    gateway = f"http://{LOOPBACK}:{port}"
    found = {"PUBLIC_URL": env.get("PUBLIC_URL") or gateway}
    async with AsyncExitStack() as begun:
        if not env.get("CHECKOUT_SUCCESS_URL"):
            landing = FakeServer(_landing)
            await begun.enter_async_context(landing.serving())
            found["CHECKOUT_SUCCESS_URL"] = f"{landing.url}/checkout/success"
            found["CHECKOUT_CANCEL_URL"] = f"{landing.url}/checkout/cancel"
        if not env.get("STRIPE_SECRET_KEY"):
            key, secret = f"sk_test_{secrets.token_hex(16)}", f"whsec_{secrets.token_hex(16)}"
            urls = [f"{gateway}/stripe/webhook"]
            stripe = FakeStripe(api_key=key, webhook_secret=secret, webhook_urls=urls)
            await begun.enter_async_context(stripe.serving())
            found |= {"STRIPE_SECRET_KEY": key, "STRIPE_WEBHOOK_SECRET": secret, "STRIPE_API_BASE": stripe.url}
            say(f"a fake Stripe answers at {stripe.url}")
        if not env.get("ASAAS_API_KEY"):
            key, token = f"$aact_hmlg_{secrets.token_hex(16)}", secrets.token_hex(20)
            asaas = await begun.enter_async_context(FakeAsaas(api_key=key, retry_s=1.0))
            asaas.add_webhook(f"{gateway}/webhooks/asaas", token)
            found |= {"ASAAS_API_KEY": key, "ASAAS_WEBHOOK_TOKEN": token, "ASAAS_API_BASE": asaas.url}
            say(f"a fake Asaas answers at {asaas.url}")
        if not env.get("PAGSEGURO_TOKEN"):
            token = secrets.token_hex(24)
            pagbank = await begun.enter_async_context(FakePagBank(token=token, retry_s=1.0))
            found |= {"PAGSEGURO_TOKEN": token, "PAGBANK_API_BASE": pagbank.url}
            say(f"a fake PagBank answers at {pagbank.url}")
        yield found


async def _landing(request: Request) -> Answer:
    """Where a payer is sent back to: your front end's page, in life."""
    what = (
        "Thank you. The order is given once the provider has told us so."
        if "success" in request.path
        else "Nothing was paid."
    )
    page = f"<!doctype html><meta charset=utf-8><title>Back from the payment page</title><p>{what}</p>"
    return Answer(200, page.encode())
