"""Asks a provider whether its webhooks will reach us, and be believed."""

from urllib.parse import urlsplit
from uuid import UUID

from billing.accounts import Accounts
from billing.asaas_api import AsaasApi
from billing.domain.providers import Provider
from billing.usecases.choose_account import choose_account
from chassis.db import Database, transaction

#: The addresses that seed 002 had registered, and ours: all of them reach the same intake.
_PATHS = ("/payment-gateway/webhooks/asaas", "/payment-gateway/webhook/asaas", "/webhooks/asaas", "/webhook/asaas")


async def try_webhook(db: Database, accounts: Accounts, tenant_id: UUID, provider: Provider) -> tuple[bool, str]:
    """Whether they will, and why not, in words; nothing is changed there.

    Raises ProviderMisconfigured when there is no account or its key is not taken, ProviderUnavailable.
    """
    async with transaction(db, tenant_id) as conn:
        account = await choose_account(conn, tenant_id, provider)
    api = await accounts.of_account(account)
    if not isinstance(api, AsaasApi):
        if provider is Provider.PAGBANK:
            return True, "PagBank is told with each charge where to send its webhooks."
        if account.webhook_secret is None:
            return False, "Without the endpoint's signing secret Stripe's webhooks are refused."
        return True, "A signing secret is stored: webhooks that Stripe signs with it are taken."
    ours = [queue for queue in await api.webhook_queue_state() if urlsplit(queue.url).path.rstrip("/").endswith(_PATHS)]
    if not ours:
        return False, "No webhook of this Asaas account leads to the payment gateway."
    if not any(queue.enabled for queue in ours):
        return False, "The webhook is registered at Asaas, and switched off."
    if any(queue.interrupted for queue in ours if queue.enabled):
        return False, "Asaas has interrupted the webhook's queue after failures: resume it there."
    return True, "Webhook configured"
