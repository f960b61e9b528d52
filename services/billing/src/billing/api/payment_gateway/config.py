"""A tenant's accounts at providers over HTTP: keys go in, and come out as stars."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from billing import store
from billing.accounts import Accounts
from billing.api.payment_gateway.answers import Answer, Envelope, enveloped
from billing.api.seed_errors import seed_errors
from billing.domain.provider_accounts import MASK, AccountChange, Environment, ProviderAccount, active_account
from billing.domain.providers import Provider
from billing.usecases.delete_provider_account import delete_provider_account
from billing.usecases.save_provider_account import save_provider_account
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.doers import doer_of
from chassis.identity import Identity, requires, tenant_of
from chassis.secrets import SecretBox
from contracts.errors import NotFound

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="Stars, sent back: unchanged.")]
OptionalKey = Annotated[str, msgspec.Meta(max_length=500, description="Stars, sent back: unchanged. Empty: none.")]

GUARDS = [requires("billing:configure")]


class AccountIn(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Credentials to store. The settings page sends what it was shown: further members are left unread."""

    gateway: Provider
    environment: Environment
    api_key: Key
    api_secret: OptionalKey | UnsetType | None = UNSET
    webhook_secret: OptionalKey | UnsetType | None = UNSET
    is_active: bool = True
    config: dict[str, Any] = {}


class AccountView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Credentials as they are shown: of the key only its last characters, of the rest only that it is there."""

    id: str
    tenant_id: str
    gateway: Provider
    environment: Environment
    api_key: str
    api_secret: str | None
    webhook_secret: str | None
    is_active: bool
    config: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    created_by: str
    updated_by: str


class Told(msgspec.Struct, frozen=True):
    """What was done, in words."""

    message: str


@get("/payment-gateway/config", guards=GUARDS, exception_handlers=seed_errors("error"))
async def list_config(db: NamedDependency[Database], identity: NamedDependency[Identity]) -> list[AccountView]:
    """The tenant's accounts: a bare array."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        return [_view(account) for account in await store.provider_accounts.list_accounts(conn, tenant_id)]


@post("/payment-gateway/config", guards=GUARDS, status_code=200, exception_handlers=seed_errors("error"))
async def save_config(
    data: JSONBody[AccountIn],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
) -> AccountView:
    """Stores credentials, sealed; one account for each provider and environment. A masked secret stays as it is."""
    tenant_id = tenant_of(identity)
    change = AccountChange(
        provider=data.gateway,
        environment=data.environment,
        api_key=data.api_key,
        api_secret=data.api_secret,
        webhook_secret=data.webhook_secret,
        is_active=data.is_active,
        config=data.config,
    )
    platform = accounts.platform_secrets(data.gateway)
    async with transaction(db, tenant_id) as conn:
        account = await save_provider_account(
            conn,
            tenant_id,
            change,
            box=box,
            platform_tokens=platform.webhook_secrets if platform else (),
            by=doer_of(request),
            now=clock(),
        )
    return _view(account)


@get("/payment-gateway/config/{gateway:str}/{environment:str}", guards=GUARDS, exception_handlers=seed_errors("error"))
async def get_config(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    gateway: FromPath[Provider],
    environment: FromPath[Environment],
) -> AccountView:
    """One account."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        found = await _accounts(conn, tenant_of(identity), gateway)
    for account in found:
        if account.environment is environment:
            return _view(account)
    raise NotFound("Configuration not found")


@get("/payment-gateway/config/{gateway:str}/active", guards=GUARDS, exception_handlers=seed_errors("error"))
async def get_active_config(
    db: NamedDependency[Database], identity: NamedDependency[Identity], gateway: FromPath[Provider]
) -> Answer[Envelope[AccountView]]:
    """The account that charges there: production's before the sandbox's. The second dialect's, enveloped."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        account = active_account(await _accounts(conn, tenant_id, gateway), gateway)
    if account is None:
        raise NotFound("Configuration not found")
    return enveloped(_view(account))


@delete(
    "/payment-gateway/config/{gateway:str}/{environment:str}",
    guards=GUARDS,
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def delete_config(
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    gateway: FromPath[Provider],
    environment: FromPath[Environment],
) -> Told:
    """Forgets an account; charges that are open there are not followed any more."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        await delete_provider_account(conn, tenant_id, gateway, environment, by=doer_of(request), now=clock())
    return Told("Configuration deleted successfully")


async def _accounts(conn: Connection, tenant_id: Any, gateway: Provider) -> list[ProviderAccount]:
    return [one for one in await store.provider_accounts.list_accounts(conn, tenant_id) if one.provider is gateway]


def _view(account: ProviderAccount) -> AccountView:
    return AccountView(
        id=str(account.id),
        tenant_id=str(account.tenant_id),
        gateway=account.provider,
        environment=account.environment,
        api_key=account.api_key_hint,
        api_secret=MASK if account.api_secret else None,
        webhook_secret=MASK if account.webhook_secret else None,
        is_active=account.is_active,
        config=account.config,
        created_at=account.created_at,
        updated_at=account.updated_at,
        created_by=account.created_by,
        updated_by=account.updated_by,
    )


ROUTES: list[Any] = [
    list_config,
    save_config,
    get_active_config,
    get_config,
    delete_config,
]
