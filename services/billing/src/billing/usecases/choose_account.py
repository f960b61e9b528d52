"""Finds the account by which a tenant charges at a provider."""

from uuid import UUID

from billing import store
from billing.domain.provider_accounts import Environment, ProviderAccount, active_account
from billing.domain.providers import Provider, ProviderMisconfigured
from chassis.db import Connection


async def choose_account(
    conn: Connection, tenant_id: UUID, provider: Provider, environment: Environment | None = None
) -> ProviderAccount:
    """The tenant's active account there, production's before the sandbox's; or the active one of `environment`.

    Never the platform's own. Raises ProviderMisconfigured where there is none.
    """
    accounts = await store.provider_accounts.list_accounts(conn, tenant_id)
    if environment is not None:
        accounts = [account for account in accounts if account.environment is environment]
    account = active_account(accounts, provider)
    if account is None:
        where = f"{provider.value} ({environment.value})" if environment else provider.value
        raise ProviderMisconfigured(
            f"No active {where} configuration found. Please configure your API key first.",
            code="provider_not_configured",
        )
    return account
