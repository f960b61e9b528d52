"""What the systems that this one replaces got wrong, and where it is shown that it cannot happen here.

`SHOWN` names the tests of each fault of seed 002's checkout site (1 to 9) and payment gateway (18 to 23), and of seed
004's billing (portal, Stripe); those that no other file shows in passing are below.
"""

import ast
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.asaas_api.states import SAO_PAULO
from chassis.clock import utc_now
from chassis.db import platform_transaction, transaction
from chassis.secrets import SecretBox, SecretUnreadable
from chassis.settings import Secret
from testkit.service import RunningService, until

from .deliveries import ASAAS_TOKEN, ENVIRONMENT, asaas_body, asaas_headers, pagbank_headers, stripe_headers
from .selling import ASAAS_KEY, CPF, PAGBANK_TOKEN, SECRETS_KEY, Fakes, ask, order_of, own_account, serving_fakes

SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "002/1 an unknown plan is sold at zero": ("test_what_seed_002_is_refused", "test_what_is_not_sold"),
    "002/2 a paid customer is lost while another system is down": (
        "test_an_outage_loses_no_purchase",
        "test_a_provider_that_is_away_is_asked_again",
        "test_a_webhook_becomes_a_paid_order_once",
    ),
    "002/3 a redelivery does it all again": (
        "test_the_same_id_again_has_no_effect",
        "test_the_same_news_under_other_ids_has_no_effect",
        "test_n8n_hears_of_a_purchase_once",
    ),
    "002/4 renewals, failures, ends, refunds, disputes are ignored": (
        "test_a_renewal_is_an_invoice_of_its_own",
        "test_a_renewal_that_fails_is_late_until_it_is_paid",
        "test_a_payment_that_fails_later_fails_the_order",
        "test_a_page_that_expires_ends_the_order",
        "test_a_refund_and_a_dispute_reach_the_invoice_that_was_paid",
        "test_completed_unpaid_waits_for_the_bank",
    ),
    "002/5 who pays elsewhere than at Stripe gets no account": ("test_whoever_pays_gets_a_tenant",),
    "002/6 Asaas: an empty token passes, a month is free, customers are doubled, no page": (
        "test_without_a_token_everything_is_refused",
        "test_it_refuses_to_start",
        "test_asaas_asks_today_of_one_customer_on_a_page",
        "test_another_value_at_asaas_is_for_a_person",
    ),
    "002/7 PagSeguro: a name is markup, the token is in the address, amounts are not compared": (
        "test_a_name_is_a_name_and_no_address_has_a_key",
        "test_pagbanks_payer_may_pay_another_amount_and_it_is_for_a_person",
    ),
    "002/8 the limit of requests stops webhooks": ("test_strangers_share_a_limit_by_address",),
    "002/9 what a visitor writes is markup": ("test_a_message_is_a_mail_to_the_operator",),
    "002/18 webhooks need no token, and name their tenant": (
        "test_the_others_unsigned_are_refused_with_401",
        "test_a_tenant_is_never_taken_from_the_request",
        "test_a_secret_that_is_there_twice_is_none",
    ),
    "002/19 webhooks are answered before they are kept, are doubled, keep tokens, and undo": (
        "test_while_the_database_is_away_nobody_is_told_that_it_was_taken",
        "test_stuck_events_are_told_again",
        "test_fifty_at_once_are_one_event",
        "test_no_token_is_kept_of_a_webhook",
        "test_nothing_unpays_what_was_paid",
    ),
    "002/20 PagBank's charges cannot be stored": (
        "test_pagbank_charges_too",
        "test_pagbanks_order_is_stored_once",
    ),
    "002/21 a charge is not linked, and its refund or chargeback changes nothing": (
        "test_a_charge_is_asaas_own_object_and_linked",
        "test_part_and_then_all_goes_back",
        "test_a_chargeback_that_is_reversed_at_asaas_is_noticed",
    ),
    "002/22 keys are sealed badly, shown, destroyed by saving, or the sandbox's": (
        "test_a_sealed_key_is_its_own_rows_and_cannot_be_altered",
        "test_a_page_that_saves_what_it_was_shown_destroys_no_key",
        "test_production_comes_before_the_sandbox",
    ),
    "002/23 anybody signed in sets keys and refunds": ("test_nobody_passes_without_identity_permission_and_tenant",),
    "004/2 the portal is anybody's": ("test_the_portal_is_for_ones_own_customer",),
    "004/13 Stripe's events change nothing, and without a key nothing starts": (
        "test_a_paid_page_brings_everything_once",
        "test_pause_resume_and_an_end_that_was_called_off",
        "test_it_becomes_ready",
        "test_without_stripe_there_is_no_page_of_stripes",
    ),
}


def test_each_fault_has_a_test() -> None:
    """A test that is renamed or gone leaves its fault unshown."""
    services = Path(__file__).parents[2]
    files = [*services.glob("billing/tests/test_*.py"), *services.glob("../gateway/tests/test_limits.py")]
    known = {
        node.name
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name for names in SHOWN.values() for name in names} - known == set()


@pytest_asyncio.fixture
async def fakes() -> AsyncIterator[Fakes]:
    async with serving_fakes() as serving:
        yield serving


@pytest_asyncio.fixture
async def billing(start: Any, fakes: Fakes) -> RunningService:
    service: RunningService = await start(ROLE="api", **fakes.env())
    return service


INTENT = {"planId": "essencial", "userEmail": "ana@example.com", "userName": "Ana Lima"}
BUYERS = {
    "stripe": INTENT | {"countryCode": "US"},
    "asaas": INTENT | {"countryCode": "BR", "cpfCnpj": CPF},
    "pagseguro": INTENT,
}


def pay(fakes: Fakes, provider: str, bought: dict[str, Any]) -> tuple[str, bytes, dict[str, str]]:
    """The page that an answer names is paid: the webhook that tells of it, its address and headers."""
    if provider == "stripe":
        fakes.stripe.pay(bought["sessionId"])
        event = next(one for one in fakes.stripe.events if one["type"] == "checkout.session.completed")
        body = fakes.stripe.sender.request(event)[0]
        return "stripe", body, stripe_headers(body, fakes.env()["STRIPE_WEBHOOK_SECRET"])
    if provider == "asaas":
        [payment] = fakes.asaas.payments_of(bought["orderId"])
        fakes.asaas.pay(payment["id"])
        return "asaas", asaas_body(payment_id=payment["id"]), asaas_headers(fakes.env()["ASAAS_WEBHOOK_TOKEN"])
    order = fakes.pagbank.order(fakes.pagbank.pay_checkout(bought["checkoutCode"]))
    body = msgspec.json.encode(order)
    return "pagseguro", body, pagbank_headers(body, PAGBANK_TOKEN)


@pytest.mark.parametrize("provider", list(BUYERS))
async def test_whoever_pays_gets_a_tenant(start: Any, fakes: Fakes, provider: str) -> None:
    """Whichever provider took the money, the order says under which new tenant who is to be let in."""
    billing: RunningService = await start(**fakes.env())
    bought = await ask(billing, "/payments/intent", None, BUYERS[provider])
    assert (bought.status_code, bought.json()["provider"]) == (200, provider), bought.text
    path, body, headers = pay(fakes, provider, bought.json())
    answer = await billing.call(
        "POST", f"/payments/webhook/{path}", None, kind="webhook", content=body, headers=headers
    )
    assert answer.status_code == 200, answer.text
    [paid] = await until(lambda: billing.told("billing.order.paid.v1"))
    order = await order_of(billing.db, bought.json()["orderId"])
    assert (paid["tenant_id"], paid["is_new_tenant"]) == (str(order.tenant_id), True)
    assert (paid["buyer_email"], paid["buyer_name"]) == ("ana@example.com", "Ana Lima")
    assert (paid["plan"]["plan_slug"], paid["paid_cents"]) == ("essencial", 24700)
    assert paid["subscription_id"] is not None


async def test_asaas_asks_today_of_one_customer_on_a_page(billing: RunningService, fakes: Fakes) -> None:
    today = utc_now().astimezone(SAO_PAULO).date()
    for _ in range(2):
        answer = await ask(billing, "/payments/intent", None, BUYERS["asaas"])
        assert answer.status_code == 200, answer.text
        [payment] = fakes.asaas.payments_of(answer.json()["orderId"])
        assert answer.json()["checkoutUrl"] == payment["invoiceUrl"]
        due = date.fromisoformat(payment["dueDate"])
        assert today <= due <= today + timedelta(days=3), "no month for nothing"
    assert len(fakes.asaas.world.customers) == 1


async def test_a_name_is_a_name_and_no_address_has_a_key(billing: RunningService, fakes: Fakes) -> None:
    name = 'Ana & Filhos </name></sender><item amount="0.01"/>'
    answer = await ask(billing, "/payments/intent", None, INTENT | {"userName": name, "cpfCnpj": CPF})
    assert answer.status_code == 200, answer.text
    [sent] = [request for request in fakes.pagbank.server.requests if request.path == "/checkouts"]
    assert sent.json()["customer"]["name"] == name
    assert [item["unit_amount"] for item in sent.json()["items"]] == [24700]
    for server in (fakes.stripe.server, fakes.asaas.server, fakes.pagbank.server):
        for request in server.requests:
            address = f"{request.path}?{request.query}"
            assert not [key for key in (PAGBANK_TOKEN, ASAAS_KEY, "ana@") if key in address], address


async def test_no_token_is_kept_of_a_webhook(start: Any) -> None:
    billing: RunningService = await start(ROLE="api", **ENVIRONMENT)
    body = asaas_body()
    headers = asaas_headers() | {"authorization": "Bearer of-somebody", "cookie": "jwt=of-somebody"}
    answer = await billing.call("POST", "/payments/webhook/asaas", None, kind="webhook", content=body, headers=headers)
    assert answer.status_code == 200
    async with platform_transaction(billing.db) as conn:
        for table in ("provider_events", "outbox"):
            rows = await conn.fetch(f"SELECT to_jsonb(t)::text AS row FROM {table} t")
            assert rows
            for secret in (ASAAS_TOKEN, "of-somebody"):
                forms = (secret, secret.encode().hex())
                assert not [row for row in rows for form in forms if form in row["row"]], table
        [kept] = await conn.fetch("SELECT payload FROM provider_events")
    assert kept["payload"] == body


async def test_a_sealed_key_is_its_own_rows_and_cannot_be_altered(billing: RunningService, tenant: UUID) -> None:
    """AES-GCM bound to tenant and row: no other row's key opens, and a byte that was changed opens nothing."""
    await own_account(billing.db, tenant)
    async with transaction(billing.db, tenant) as conn:
        [account] = await store.provider_accounts.list_accounts(conn, tenant)
    box = SecretBox(Secret(SECRETS_KEY))
    key, token = account.api_key, account.webhook_secret
    assert token is not None
    assert box.open(key, tenant, "provider_accounts", account.id) == ASAAS_KEY
    assert box.open(token, tenant, "provider_accounts", f"{account.id}/webhook") == f"whsec-{tenant.hex}"
    for sealed, owner, other in (
        (key[:-1] + bytes([key[-1] ^ 1]), tenant, box),
        (key, uuid4(), box),
        (token, tenant, box),
        (key, tenant, SecretBox(Secret("another-key-of-these-tests-that-is-long"))),
    ):
        with pytest.raises(SecretUnreadable):
            other.open(sealed, owner, "provider_accounts", account.id)
