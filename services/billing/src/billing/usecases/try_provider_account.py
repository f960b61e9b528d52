"""Asks a provider whether it takes a tenant's credentials."""

from typing import Any
from uuid import UUID

import msgspec

from billing.accounts import Accounts
from billing.asaas_api import AsaasApi
from billing.domain.provider_accounts import Environment
from billing.domain.providers import NotAtProvider, Provider, ProviderRefused
from billing.pagbank_api import PagBankApi
from billing.usecases.choose_account import choose_account
from chassis.db import Database, transaction


class AccountTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; `balance` is the provider's own object, where it tells one."""

    environment: Environment
    balance: dict[str, Any] | None


async def try_provider_account(
    db: Database, accounts: Accounts, tenant_id: UUID, provider: Provider, environment: Environment | None = None
) -> AccountTrial:
    """The provider answered with the active account's credentials, or those of `environment`; it changed nothing.

    Raises ProviderMisconfigured when there are none or they are not taken, ProviderUnavailable.
    """
    async with transaction(db, tenant_id) as conn:
        account = await choose_account(conn, tenant_id, provider, environment)
    api = await accounts.of_account(account)
    balance = None
    try:
        if isinstance(api, AsaasApi):
            balance = await api.balance()
        elif isinstance(api, PagBankApi):
            await api.ping()
        else:
            await api.get_account_id()
    except NotAtProvider as error:
        raise ProviderRefused(f"{provider.value} does not answer as it should: {error}") from error
    return AccountTrial(environment=account.environment, balance=balance)
