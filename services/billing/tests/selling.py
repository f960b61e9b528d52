"""What the tests of selling share: a billing with fakes behind it, and people who buy."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from billing import store
from billing.domain.orders import Order
from billing.domain.provider_accounts import AccountChange, Environment
from billing.domain.providers import Provider
from billing.usecases.save_provider_account import save_provider_account
from chassis.db import Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.audit import AuditActor, Doer
from testkit.fake_asaas import FakeAsaas
from testkit.fake_pagbank import FakePagBank
from testkit.fake_stripe import FakeStripe
from testkit.service import RunningService

STRIPE_KEY = "sk_test_a1b2c3d4e5f6g7h8i9j0k1l2m3n4"
ASAAS_KEY = "$aact_hmlg_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5"
PAGBANK_TOKEN = "a1b2c3d4-e5f6-g7h8-i9j0-k1l2m3n4o5p6"
SECRETS_KEY = "Zk3v9Qw8Lr2Tn5Xy7Bc1Df4Gh6Jm0PqsUv"
CPF = "529.982.247-25"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Fakes:
    """The three providers."""

    def __init__(self) -> None:
        self.stripe = FakeStripe(api_key=STRIPE_KEY)
        self.asaas = FakeAsaas(api_key=ASAAS_KEY)
        self.pagbank = FakePagBank(token=PAGBANK_TOKEN)

    def env(self, *names: str) -> dict[str, str]:
        """The environment that has accounts at those of the providers that are named, at all by default."""
        every = {
            "stripe": {
                "STRIPE_SECRET_KEY": STRIPE_KEY,
                "STRIPE_WEBHOOK_SECRET": "whsec_a1b2c3d4e5f6g7h8i9j0k1l2m3n4",
                "STRIPE_API_BASE": self.stripe.url,
            },
            "asaas": {
                "ASAAS_API_KEY": ASAAS_KEY,
                "ASAAS_WEBHOOK_TOKEN": "whtok_a1b2c3d4e5f6g7h8i9j0k1l2m3n4",
                "ASAAS_API_BASE": self.asaas.url,
            },
            "pagbank": {"PAGSEGURO_TOKEN": PAGBANK_TOKEN, "PAGBANK_API_BASE": self.pagbank.url},
        }
        accounts = {key: value for name in names or every for key, value in every[name].items()}
        return {"SECRETS_KEY": SECRETS_KEY} | accounts


@asynccontextmanager
async def serving_fakes() -> AsyncIterator[Fakes]:
    """The fakes, listening while the block runs."""
    fakes = Fakes()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(fakes.stripe.serving())
        await stack.enter_async_context(fakes.asaas)
        await stack.enter_async_context(fakes.pagbank)
        yield fakes


async def ask(
    billing: RunningService,
    path: str,
    tenant: UUID | None,
    body: dict[str, Any],
    *,
    key: str | None = None,
    method: str = "POST",
    **identity: Any,
) -> httpx.Response:
    """A request with a body; somebody who is not signed in where `tenant` is None."""
    who = identity or ({"kind": "public", "subject": "anonymous"} if tenant is None else {})
    headers = {} if key is None else {"Idempotency-Key": key}
    return await billing.call(method, path, tenant, json=body, headers=headers, **who)


async def order_of(db: Database, order_id: str) -> Order:
    """The order, whoever's it is."""
    async with platform_transaction(db) as conn:
        tenant = await conn.fetchval("SELECT tenant_id FROM orders WHERE id = $1", UUID(order_id))
    async with transaction(db, tenant) as conn:
        return await store.orders.get_order(conn, tenant, UUID(order_id))


async def timeline(db: Database, order: Order) -> list[str]:
    """What happened to the order."""
    async with transaction(db, order.tenant_id) as conn:
        return [entry.kind for entry in await store.orders.list_entries(conn, order.tenant_id, order.id)]


async def known_user(db: Database, email: str) -> UUID:
    """A tenant in which somebody of that address is a user."""
    tenant = uuid4()
    async with platform_transaction(db) as conn:
        await store.directory.set_email_owner(conn, email, tenant, uuid4(), is_active=True, at=NOW)
    return tenant


async def own_account(db: Database, tenant: UUID) -> None:
    """The tenant sells by an account of its own, at Asaas."""
    change = AccountChange(
        provider=Provider.ASAAS,
        environment=Environment.SANDBOX,
        api_key=ASAAS_KEY,
        webhook_secret=f"whsec-{tenant.hex}",
    )
    async with transaction(db, tenant) as conn:
        await save_provider_account(
            conn,
            tenant,
            change,
            box=SecretBox(Secret(SECRETS_KEY)),
            platform_tokens=(),
            by=Doer(actor=AuditActor(type="user", id="user-1")),
            now=NOW,
        )
