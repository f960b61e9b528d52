"""Opens accounts at payment providers: the platform's from the environment, a tenant's from its sealed credentials."""

from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeAlias
from uuid import UUID

import msgspec

from billing import asaas_api, pagbank_api, store
from billing.asaas_api import AsaasApi
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.provider_accounts import Environment, ProviderAccount
from billing.domain.providers import Provider, ProviderMisconfigured
from billing.pagbank_api import PagBankApi
from billing.stripe_api import StripeApi
from chassis.db import Connection
from chassis.secrets import SecretBox

Api: TypeAlias = StripeApi | AsaasApi | PagBankApi

_MAX_OPEN: Final = 256
_TABLE: Final = "provider_accounts"


class PlatformCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """The platform's own accounts; a provider without a key is not used. `*_base` replace the provider's address."""

    stripe_key: str | None = None
    stripe_webhook_secrets: tuple[str, ...] = ()
    stripe_base: str | None = None
    asaas_key: str | None = None
    asaas_webhook_tokens: tuple[str, ...] = ()
    asaas_base: str | None = None
    asaas_environment: Environment = Environment.PRODUCTION
    pagbank_token: str | None = None
    pagbank_base: str | None = None
    pagbank_environment: Environment = Environment.PRODUCTION
    pagbank_unsigned_sandbox: bool = False

    @property
    def configured(self) -> tuple[Provider, ...]:
        """The providers that the platform has an account at."""
        keys = ((Provider.STRIPE, self.stripe_key), (Provider.ASAAS, self.asaas_key))
        pagbank = (Provider.PAGBANK, self.pagbank_token)
        return tuple(provider for provider, key in (*keys, pagbank) if key)


class AccountSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook of one account is verified with."""

    account_id: UUID
    tenant_id: UUID | None  # None: the platform's own
    environment: Environment
    api_key: str
    webhook_secrets: tuple[str, ...]
    unsigned_sandbox: bool


class Accounts:
    """Keeps an adapter per account open, each with its own connections and breaker; a changed key gets a new one."""

    def __init__(self, platform: PlatformCredentials, box: SecretBox) -> None:
        self.platform = platform
        self._box = box
        self._stack = AsyncExitStack()
        self._open: dict[tuple[UUID, Provider], tuple[datetime | None, Api]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._open.clear()

    async def of_platform(self, provider: Provider) -> Api:
        """The platform's own account there. Raises ProviderMisconfigured where it has none."""
        key = self._platform_key(provider)
        if key is None:
            raise ProviderMisconfigured(f"the platform has no account at {provider.value}")
        known = self._open.get((PLATFORM_ACCOUNT, provider))
        if known is not None:
            return known[1]
        base = {
            Provider.STRIPE: self.platform.stripe_base,
            Provider.ASAAS: self.platform.asaas_base,
            Provider.PAGBANK: self.platform.pagbank_base,
        }[provider]
        environment = {
            Provider.STRIPE: Environment.PRODUCTION,
            Provider.ASAAS: self.platform.asaas_environment,
            Provider.PAGBANK: self.platform.pagbank_environment,
        }[provider]
        return await self._keep(PLATFORM_ACCOUNT, provider, None, _make(provider, key, environment, base))

    async def open(self, conn: Connection, tenant_id: UUID, account_id: UUID, provider: Provider) -> Api:
        """The account `account_id`, the platform's where that is nil.

        Only reads, calls nobody. Raises ProviderMisconfigured for an account that is gone.
        """
        if account_id == PLATFORM_ACCOUNT:
            return await self.of_platform(provider)
        account = await store.provider_accounts.find_account(conn, tenant_id, account_id)
        if account is None or account.provider is not provider:
            raise ProviderMisconfigured("this provider account is not configured any more")
        return await self.of_account(account)

    async def of_account(self, account: ProviderAccount) -> Api:
        """A tenant's account, from its row."""
        known = self._open.get((account.id, account.provider))
        if known is not None and known[0] == account.updated_at:
            return known[1]
        key = self._box.open(account.api_key, account.tenant_id, _TABLE, account.id)
        base = self._base_of(account)
        return await self._keep(
            account.id, account.provider, account.updated_at, _make(account.provider, key, account.environment, base)
        )

    def platform_secrets(self, provider: Provider) -> AccountSecrets | None:
        """What webhooks to the platform's own account are verified with; None where it has none."""
        key = self._platform_key(provider)
        if key is None:
            return None
        secrets = {
            Provider.STRIPE: self.platform.stripe_webhook_secrets,
            Provider.ASAAS: self.platform.asaas_webhook_tokens,
            Provider.PAGBANK: (),
        }[provider]
        is_pagbank = provider is Provider.PAGBANK
        return AccountSecrets(
            account_id=PLATFORM_ACCOUNT,
            tenant_id=None,
            environment=self.platform.pagbank_environment if is_pagbank else self.platform.asaas_environment,
            api_key=key,
            webhook_secrets=secrets,
            unsigned_sandbox=is_pagbank and self.platform.pagbank_unsigned_sandbox,
        )

    def secrets_of(self, account: ProviderAccount) -> AccountSecrets:
        """What webhooks to a tenant's account are verified with."""
        secret = account.webhook_secret
        opened = self._box.open(secret, account.tenant_id, _TABLE, f"{account.id}/webhook") if secret else ""
        return AccountSecrets(
            account_id=account.id,
            tenant_id=account.tenant_id,
            environment=account.environment,
            api_key=self._box.open(account.api_key, account.tenant_id, _TABLE, account.id),
            webhook_secrets=(opened,) if opened else (),
            unsigned_sandbox=account.environment is Environment.SANDBOX
            and account.config.get("unsignedSandbox") is True,
        )

    def _platform_key(self, provider: Provider) -> str | None:
        keys = {
            Provider.STRIPE: self.platform.stripe_key,
            Provider.ASAAS: self.platform.asaas_key,
            Provider.PAGBANK: self.platform.pagbank_token,
        }
        return keys[provider]

    def _base_of(self, account: ProviderAccount) -> str | None:
        # Another address for the platform's account is another address for the provider: a sandbox of one's own.
        return {
            Provider.STRIPE: self.platform.stripe_base,
            Provider.ASAAS: self.platform.asaas_base,
            Provider.PAGBANK: self.platform.pagbank_base,
        }[account.provider]

    async def _keep(self, account_id: UUID, provider: Provider, version: datetime | None, api: Api) -> Api:
        if len(self._open) >= _MAX_OPEN:
            self._open.pop(next(iter(self._open)))  # closed with the rest at the end; its idle connections end earlier
        self._open[account_id, provider] = (version, api)
        await self._stack.enter_async_context(api)
        return api


def _make(provider: Provider, key: str, environment: Environment, base: str | None) -> Api:
    sandbox = environment is Environment.SANDBOX
    if provider is Provider.STRIPE:
        return StripeApi(key, base_url=base)
    if provider is Provider.ASAAS:
        return AsaasApi(key, base_url=base or (asaas_api.SANDBOX_URL if sandbox else asaas_api.PRODUCTION_URL))
    return PagBankApi(key, base_url=base or (pagbank_api.SANDBOX_URL if sandbox else pagbank_api.PRODUCTION_URL))


def seal_account_secrets(
    box: SecretBox,
    account_id: UUID,
    tenant_id: UUID,
    *,
    api_key: str,
    api_secret: str | None,
    webhook_secret: str | None,
) -> tuple[bytes, bytes | None, bytes | None]:
    """The three secrets sealed for their row, each bound to its place in it."""
    return (
        box.seal(api_key, tenant_id, _TABLE, account_id),
        box.seal(api_secret, tenant_id, _TABLE, f"{account_id}/secret") if api_secret else None,
        box.seal(webhook_secret, tenant_id, _TABLE, f"{account_id}/webhook") if webhook_secret else None,
    )
