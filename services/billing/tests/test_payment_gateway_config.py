"""A tenant's accounts at providers: keys go in and never come out, and only who may configure billing touches them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from billing.domain.provider_accounts import ProviderAccount, active_account, hint_of, is_masked
from billing.domain.providers import Provider
from chassis.db import platform_transaction, transaction
from testkit.fake_asaas import FakeAsaas
from testkit.fake_asaas.fake import API_KEY as ASAAS_KEY
from testkit.fake_pagbank import FakePagBank
from testkit.service import RunningService

Start = Callable[..., Awaitable[RunningService]]
CONFIG = "/payment-gateway/config"
SECRET = "a-webhook-token-of-this-test-0123456789"
ASAAS = {"gateway": "asaas", "environment": "sandbox", "apiKey": ASAAS_KEY, "webhookSecret": SECRET}


@pytest_asyncio.fixture
async def asaas() -> AsyncIterator[FakeAsaas]:
    async with FakeAsaas() as fake:
        yield fake


@pytest_asyncio.fixture
async def billing(start: Start, asaas: FakeAsaas) -> RunningService:
    return await start(ASAAS_API_BASE=asaas.url, ROLE="api")


async def stored(billing: RunningService, tenant: UUID) -> list[ProviderAccount]:
    from billing import store

    async with transaction(billing.db, tenant) as conn:
        return await store.provider_accounts.list_accounts(conn, tenant)


async def test_a_page_that_saves_what_it_was_shown_destroys_no_key(billing: RunningService, tenant: UUID) -> None:
    """The whole row goes back, masked keys, ids and dates and all: nothing of the credentials changes."""
    saved = await billing.call("POST", CONFIG, tenant, json=ASAAS | {"config": {"enablePix": True, "defaultFine": 2.5}})
    assert saved.status_code == 200, saved.text
    assert ASAAS_KEY not in saved.text
    assert SECRET not in saved.text
    [before] = await stored(billing, tenant)
    listed = await billing.call("GET", CONFIG, tenant)
    assert isinstance(listed.json(), list)
    [shown] = listed.json()
    assert (shown["gateway"], shown["environment"], shown["isActive"]) == ("asaas", "sandbox", True)
    assert shown["config"] == {"enablePix": True, "defaultFine": 2.5}
    assert is_masked(shown["apiKey"])
    assert is_masked(shown["webhookSecret"])
    again = await billing.call("POST", CONFIG, tenant, json=shown | {"isActive": False})
    assert again.status_code == 200, again.text
    [after] = await stored(billing, tenant)
    assert (after.id, after.api_key, after.webhook_secret) == (before.id, before.api_key, before.webhook_secret)
    assert (after.api_key_hint, after.is_active, after.created_at) == (before.api_key_hint, False, before.created_at)


async def test_a_new_key_takes_the_old_ones_place(billing: RunningService, tenant: UUID, asaas: FakeAsaas) -> None:
    await billing.call("POST", CONFIG, tenant, json=ASAAS | {"apiKey": "$aact_hmlg_another-key-that-is-wrong"})
    refused = await billing.call("POST", "/payment-gateway/test/asaas", tenant)
    assert (refused.status_code, refused.json()["code"]) == (409, "provider_misconfigured"), refused.text
    assert refused.json()["error"] == refused.json()["detail"]
    await billing.call("POST", CONFIG, tenant, json=ASAAS)
    works = await billing.call("POST", "/payment-gateway/test/asaas", tenant)
    assert works.status_code == 200, works.text
    assert works.json()["success"] is True
    assert isinstance(works.json()["balance"]["balance"], float)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"webhookSecret": None}, "$.webhookSecret"),
        ({"webhookSecret": ""}, "$.webhookSecret"),
        ({"webhookSecret": "short"}, "$.webhookSecret"),
        ({"webhookSecret": "sécret-with-an-accent"}, "$.webhookSecret"),
        ({"webhookSecret": "****"}, "$.webhookSecret"),
        ({"apiSecret": "****"}, "$.apiSecret"),
        ({"apiKey": "****abcd"}, "$.apiKey"),
        ({"apiKey": "with a blank in it"}, "$.apiKey"),
        ({"apiKey": "line\nbreak-in-a-header"}, "$.apiKey"),
        ({"apiKey": "$aact_prod_0123456789"}, "$.apiKey"),
        ({"gateway": "stripe", "apiKey": "pk_test_0123456789"}, "$.apiKey"),
        ({"gateway": "stripe", "apiKey": "sk_live_0123456789"}, "$.apiKey"),
        ({"environment": "staging"}, "$.environment"),
        ({"gateway": "mercadopago"}, "$.gateway"),
        ({"config": {"x": "y" * 10_000}}, "$.config"),
    ],
)
async def test_what_is_refused(billing: RunningService, tenant: UUID, change: dict[str, Any], field: str) -> None:
    answer = await billing.call("POST", CONFIG, tenant, json=ASAAS | change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["error"]
    assert await stored(billing, tenant) == []


async def test_an_asaas_account_cannot_lose_its_webhook_token(billing: RunningService, tenant: UUID) -> None:
    await billing.call("POST", CONFIG, tenant, json=ASAAS)
    kept = await billing.call("POST", CONFIG, tenant, json={k: v for k, v in ASAAS.items() if k != "webhookSecret"})
    assert kept.status_code == 200, kept.text
    lost = await billing.call("POST", CONFIG, tenant, json=ASAAS | {"webhookSecret": ""})
    assert lost.status_code == 422


async def test_two_accounts_never_share_a_webhook_token(start: Start, tenant: UUID) -> None:
    """A token names its tenant: another's is refused, the platform's own too, and a rolled one is free again."""
    billing = await start(ROLE="api", ASAAS_API_KEY=ASAAS_KEY, ASAAS_WEBHOOK_TOKEN=f"{'p' * 32},{'q' * 32}")
    other = uuid4()
    assert (await billing.call("POST", CONFIG, tenant, json=ASAAS)).status_code == 200
    taken = await billing.call("POST", CONFIG, other, json=ASAAS)
    assert (taken.status_code, taken.json()["code"]) == (409, "webhook_token_taken")
    assert await stored(billing, other) == []
    platforms = await billing.call("POST", CONFIG, other, json=ASAAS | {"webhookSecret": "q" * 32})
    assert platforms.json()["code"] == "webhook_token_taken"
    twice = await billing.call("POST", CONFIG, tenant, json=ASAAS | {"environment": "production", "apiKey": "k" * 20})
    assert twice.json()["code"] == "webhook_token_taken"
    rolled = await billing.call("POST", CONFIG, tenant, json=ASAAS | {"webhookSecret": "r" * 32})
    assert rolled.status_code == 200
    assert (await billing.call("POST", CONFIG, other, json=ASAAS)).status_code == 200
    async with platform_transaction(billing.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM webhook_tokens") == 2


async def test_production_comes_before_the_sandbox(billing: RunningService, tenant: UUID) -> None:
    await billing.call("POST", CONFIG, tenant, json=ASAAS)
    await billing.call(
        "POST",
        CONFIG,
        tenant,
        json={"gateway": "asaas", "environment": "production", "apiKey": "k" * 20, "webhookSecret": "w" * 32},
    )
    listed = (await billing.call("GET", CONFIG, tenant)).json()
    assert [row["environment"] for row in listed] == ["production", "sandbox"]
    active = await billing.call("GET", f"{CONFIG}/asaas/active", tenant)
    assert active.json()["success"] is True
    assert active.json()["data"]["environment"] == "production"
    await billing.call(
        "POST", CONFIG, tenant,
        json={"gateway": "asaas", "environment": "production", "apiKey": "****kkkk", "isActive": False},
    )  # fmt: skip
    active = await billing.call("GET", f"{CONFIG}/asaas/active", tenant)
    assert active.json()["data"]["environment"] == "sandbox"
    accounts = await stored(billing, tenant)
    assert active_account(accounts, Provider.PAGBANK) is None


async def test_one_account_and_its_end(billing: RunningService, tenant: UUID) -> None:
    path = f"{CONFIG}/asaas/sandbox"
    assert (await billing.call("GET", path, tenant)).status_code == 404
    assert (await billing.call("DELETE", path, tenant)).status_code == 404
    await billing.call("POST", CONFIG, tenant, json=ASAAS)
    assert (await billing.call("GET", path, tenant)).json()["apiKey"] == hint_of(ASAAS_KEY)
    assert (await billing.call("GET", f"{CONFIG}/asaas/production", tenant)).status_code == 404
    assert (await billing.call("GET", f"{CONFIG}/pagbank/active", tenant)).status_code == 404
    gone = await billing.call("DELETE", path, tenant)
    assert (gone.status_code, gone.json()) == (200, {"message": "Configuration deleted successfully"})
    assert (await billing.call("GET", CONFIG, tenant)).json() == []
    untested = await billing.call("POST", "/payment-gateway/test/asaas", tenant)
    assert (untested.status_code, untested.json()["code"]) == (409, "provider_not_configured")
    told = await billing.told("billing.audit.recorded.v1")
    assert [one["action"] for one in told] == ["provider_account.saved", "provider_account.deleted"]
    assert ASAAS_KEY not in str(told)


async def test_pagbank_and_stripe_are_tried_as_well(start: Start, tenant: UUID) -> None:
    async with FakePagBank() as pagbank:
        billing = await start(ROLE="api", PAGBANK_API_BASE=pagbank.url)
        body = {"gateway": "pagbank", "environment": "sandbox", "apiKey": pagbank.token}
        assert (await billing.call("POST", CONFIG, tenant, json=body)).status_code == 200
        tried = await billing.call("POST", "/payment-gateway/test/pagbank", tenant)
        assert tried.status_code == 200, tried.text
        assert (tried.json()["success"], tried.json()["balance"]) == (True, None)
        webhook = await billing.call("POST", "/payment-gateway/pagbank/webhook/test", tenant)
        assert webhook.json()["data"]["success"] is True
