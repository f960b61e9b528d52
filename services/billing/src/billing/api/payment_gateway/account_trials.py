"""Trials of an account: whether its provider takes the credentials, and whether its webhooks will come."""

from typing import Any

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing.accounts import Accounts
from billing.api.payment_gateway.answers import Answer, Envelope, answer, enveloped
from billing.api.payment_gateway.config import GUARDS
from billing.api.seed_errors import seed_errors
from billing.domain.provider_accounts import Environment
from billing.domain.providers import Provider
from billing.usecases.try_provider_account import try_provider_account
from billing.usecases.try_webhook import try_webhook
from chassis.db import Database
from chassis.identity import Identity, tenant_of


class TrialView(msgspec.Struct, frozen=True, kw_only=True):
    """The provider took the credentials; `balance` is its own object, null where it tells none."""

    success: bool
    message: str
    gateway: Provider
    environment: Environment
    balance: dict[str, Any] | None


class WebhookTrialView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether webhooks will come, in words."""

    success: bool
    message: str


@post("/payment-gateway/test/{gateway:str}", guards=GUARDS, status_code=200, exception_handlers=seed_errors("error"))
async def try_config(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    gateway: FromPath[Provider],
) -> Answer[TrialView]:
    """Whether the provider takes the active account's credentials; changes nothing there."""
    return answer(await _try(db, accounts, identity, gateway))


@post(
    "/payment-gateway/test/pagbank",
    guards=GUARDS,
    status_code=200,
    exception_handlers=seed_errors("error"),
    include_in_schema=False,
)
async def try_pagbank_config(
    db: NamedDependency[Database], identity: NamedDependency[Identity], accounts: NamedDependency[Accounts]
) -> Answer[TrialView]:
    """The same for PagBank: its other trials' paths hide it from the route above."""
    return answer(await _try(db, accounts, identity, Provider.PAGBANK))


async def _try(db: Database, accounts: Accounts, identity: Identity, gateway: Provider) -> TrialView:
    trial = await try_provider_account(db, accounts, tenant_of(identity), gateway)
    return TrialView(
        success=True,
        message="Connection successful",
        gateway=gateway,
        environment=trial.environment,
        balance=trial.balance,
    )


@post(
    "/payment-gateway/{gateway:str}/webhook/test",
    guards=GUARDS,
    status_code=200,
    exception_handlers=seed_errors("error"),
)
async def try_gateway_webhook(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    gateway: FromPath[Provider],
) -> Answer[Envelope[WebhookTrialView]]:
    """Whether the provider's webhooks will come, and be believed: asks it how they are registered."""
    works, message = await try_webhook(db, accounts, tenant_of(identity), gateway)
    return enveloped(WebhookTrialView(success=works, message=message))


ROUTES: list[Any] = [try_config, try_pagbank_config, try_gateway_webhook]
