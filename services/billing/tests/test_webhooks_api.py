"""Webhooks over HTTP: who may send them, what is kept of them, and that nobody is answered before the commit."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.accounts import Accounts, PlatformCredentials, seal_account_secrets
from billing.api.intake import BATCH, Intake
from billing.domain.identifiers import new_id
from billing.domain.provider_accounts import Environment, ProviderAccount
from billing.domain.providers import Provider
from billing.usecases.recognise_webhook import Delivery
from chassis.clock import utc_now
from chassis.db import Database, transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.errors import Unavailable
from testkit.fake_pagbank import FakePagBank
from testkit.fault_modes import Blackhole, DropReply, Mode, Pass, Refuse, Reset
from testkit.fault_proxy import fault_proxy
from testkit.plugin import ServiceDatabase
from testkit.service import RunningService

from .deliveries import (
    ASAAS_TOKEN,
    ENVIRONMENT,
    PAGBANK_TOKEN,
    STRIPE_KEY,
    STRIPE_NEXT_SECRET,
    STRIPE_SECRET,
    asaas_body,
    asaas_headers,
    pagbank_body,
    pagbank_headers,
    pagbank_key_headers,
    pix_body,
    pix_headers,
    pix_transfer,
    stripe_body,
    stripe_event,
    stripe_headers,
)

Start = Callable[..., Awaitable[RunningService]]

STRIPE_ROUTES = ["/stripe/webhook", "/billing/webhook", "/billing/webhook/stripe", "/payments/webhook/stripe"]
ASAAS_ROUTES = [
    "/payments/webhook/asaas",
    "/payment-gateway/webhooks/asaas",
    "/payment-gateway/webhook/asaas",
    "/webhooks/asaas",
]
PAGBANK_ROUTES = [
    "/payments/webhook/pagseguro",
    "/payment-gateway/webhooks/pagbank",
    "/payment-gateway/webhook/pagbank",
    "/payment-gateway/webhook/pagseguro",
    "/webhooks/pagbank",
]
PIX_ROUTES = ["/pix/webhook", "/pix/webhook/pix"]
SECRETS_KEY = "a-key-of-these-tests-that-is-long-enough-1"


@pytest_asyncio.fixture
async def billing(start: Start) -> RunningService:
    """Billing that takes in and does nothing about it."""
    return await start(ROLE="api", SECRETS_KEY=SECRETS_KEY, **ENVIRONMENT)


async def send(billing: RunningService, path: str, body: bytes, headers: dict[str, Any]) -> httpx.Response:
    return await billing.call("POST", path, None, kind="webhook", content=body, headers=headers)


async def stored(billing: RunningService) -> list[dict[str, Any]]:
    rows = await billing.db.platform.fetch("SELECT * FROM provider_events ORDER BY received_at, id")
    return [dict(row) for row in rows]


async def told(billing: RunningService) -> list[str]:
    return [one["provider_event_id"] for one in await billing.told("billing.provider_event.received.v1")]


# --- taken in


@pytest.mark.parametrize("path", STRIPE_ROUTES)
async def test_stripes_event_is_stored_once_with_its_outbox_row(billing: RunningService, path: str) -> None:
    event = stripe_event("checkout.session.completed", "cs_1", object={"client_reference_id": "order-1"})
    body = stripe_body(event)
    for _ in range(3):
        answer = await send(billing, path, body, stripe_headers(body))
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    [row] = await stored(billing)
    assert (row["provider"], row["account_id"], row["event_id"]) == ("stripe", UUID(int=0), event["id"])
    assert (row["kind"], row["object_external_id"], row["reference"]) == ("checkout", "cs_1", "order-1")
    assert (row["payload"], row["status"], row["tenant_id"]) == (body, "received", None)
    assert row["deliveries"] == 3
    assert await told(billing) == [str(row["id"])]


@pytest.mark.parametrize("path", ASAAS_ROUTES)
async def test_asaas_event_is_stored_once(billing: RunningService, path: str) -> None:
    body = asaas_body()
    for _ in range(2):
        answer = await send(billing, path, body, asaas_headers())
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    [row] = await stored(billing)
    assert (row["provider"], row["kind"], row["object_external_id"]) == ("asaas", "payment", "pay_1")
    assert len(await told(billing)) == 1


@pytest.mark.parametrize("path", PAGBANK_ROUTES)
async def test_pagbanks_order_is_stored_once(billing: RunningService, path: str) -> None:
    body = pagbank_body("ORDE_1")
    for _ in range(2):
        answer = await send(billing, path, body, pagbank_headers(body))
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    [row] = await stored(billing)
    assert (row["provider"], row["kind"], row["object_external_id"]) == ("pagbank", "payment", "ORDE_1")
    assert len(await told(billing)) == 1


@pytest.mark.parametrize("path", PIX_ROUTES)
async def test_each_transfer_of_a_notice_is_an_event(billing: RunningService, path: str) -> None:
    first, second = pix_transfer("txid1"), pix_transfer("txid2", devolucoes=[{"id": "D1", "status": "DEVOLVIDO"}])
    for _ in range(2):
        answer = await send(billing, path, pix_body(first, second), pix_headers())
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    rows = await stored(billing)
    assert {(row["provider"], row["type"], row["reference"]) for row in rows} == {
        ("pix", "pix.received", "txid1"),
        ("pix", "pix.received", "txid2"),
        ("pix", "pix.returned", "txid2"),
    }
    assert len(await told(billing)) == len(rows) == 3


@pytest.mark.parametrize(
    ("body", "headers", "provider"),
    [
        (stripe_body(stripe_event()), stripe_headers, "stripe"),
        (asaas_body(), lambda _: asaas_headers(), "asaas"),
        (pagbank_body(), pagbank_headers, "pagbank"),
    ],
    ids=["stripe", "asaas", "pagbank"],
)
async def test_the_pix_address_takes_the_providers_own_events(
    billing: RunningService, body: bytes, headers: Any, provider: str
) -> None:
    answer = await send(billing, "/pix/webhook", body, headers(body))
    assert answer.status_code == 200
    assert [row["provider"] for row in await stored(billing)] == [provider]
    refused = await send(billing, "/pix/webhook", body + b" ", stripe_headers(b"another body"))
    assert refused.status_code == 401


@pytest.mark.parametrize("event_type", ["balance.available", "a.type.that.stripe.adds.later", "v2.core.event"])
async def test_what_stripe_tells_of_others_things_is_taken(billing: RunningService, event_type: str) -> None:
    body = stripe_body(stripe_event(event_type, "x_1"))
    assert (await send(billing, "/stripe/webhook", body, stripe_headers(body))).status_code == 200
    assert [row["kind"] for row in await stored(billing)] == ["other"]


async def test_pagbanks_other_objects_are_taken(billing: RunningService) -> None:
    body = b'{"id":"SUBS_1","status":"ACTIVE"}'
    assert (await send(billing, "/webhooks/pagbank", body, pagbank_headers(body))).status_code == 200
    assert (await send(billing, "/webhooks/pagbank", body, pagbank_headers(body, "wrong"))).status_code == 401
    assert [row["kind"] for row in await stored(billing)] == ["other"]


async def test_asaas_is_answered_200_whatever_it_tells_of(billing: RunningService) -> None:
    for event_type in ("PAYMENT_A_NEW_ONE", "TRANSFER_CREATED", "PIX_AUTOMATIC_RECURRING_AUTHORIZATION_CREATED"):
        answer = await send(billing, "/webhooks/asaas", asaas_body(event_type), asaas_headers())
        assert answer.status_code == 200


async def test_either_of_two_secrets_is_good_while_they_are_rolled(billing: RunningService) -> None:
    body = stripe_body(stripe_event())
    for secrets in ([STRIPE_NEXT_SECRET], [STRIPE_SECRET, STRIPE_NEXT_SECRET], ["whsec_old", STRIPE_SECRET]):
        assert (await send(billing, "/stripe/webhook", body, stripe_headers(body, *secrets))).status_code == 200


async def test_a_tenant_is_never_taken_from_the_request(billing: RunningService) -> None:
    tenant = uuid4()
    body = asaas_body(tenantId=str(tenant), tenant_id=str(tenant))
    headers = asaas_headers() | {"x-tenant-id": str(tenant), "x-secret-of-somebody": "do-not-keep-me"}
    answer = await send(billing, f"/webhooks/asaas?tenantId={tenant}", body, headers)
    assert answer.status_code in (200, 400)
    assert [row["tenant_id"] for row in await stored(billing)] in ([], [None])
    await send(billing, "/webhooks/asaas", body, headers)
    [row] = await stored(billing)
    assert row["tenant_id"] is None
    assert b"do-not-keep-me" not in row["payload"]
    assert "headers" not in row


# --- refused


@pytest.mark.parametrize("path", STRIPE_ROUTES)
async def test_stripe_unsigned_is_refused_with_400(billing: RunningService, path: str) -> None:
    body = stripe_body(stripe_event())
    answer = await send(billing, path, body, {"content-type": "application/json"})
    assert answer.status_code == 400
    text = answer.text if path.startswith("/payments") else answer.json()["detail"]
    assert text.startswith("Webhook Error: ")
    kind = "text/plain" if path.startswith("/payments") else "application/problem+json"
    assert answer.headers["content-type"].startswith(kind)
    assert await stored(billing) == []


async def test_asaas_unsigned_is_refused_at_seed_002s_site_as_stripe_is(billing: RunningService) -> None:
    for headers in ({}, {"asaas-access-token": ""}, {"asaas-access-token": "wrong"}):
        answer = await send(billing, "/payments/webhook/asaas", asaas_body(), headers)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (400, "text/plain")
        assert answer.text.startswith("Webhook Error: ")
    assert await stored(billing) == []


@pytest.mark.parametrize("path", [*ASAAS_ROUTES[1:], *PAGBANK_ROUTES, *PIX_ROUTES])
async def test_the_others_unsigned_are_refused_with_401(billing: RunningService, path: str) -> None:
    body = (
        pix_body(pix_transfer("a"))
        if path in PIX_ROUTES
        else pagbank_body()
        if path in PAGBANK_ROUTES
        else asaas_body()
    )
    named = (
        "x-webhook-secret"
        if path in PIX_ROUTES
        else "asaas-access-token"
        if path in ASAAS_ROUTES
        else "x-authenticity-token"
    )
    for headers in ({}, {named: ""}, {named: "wrong"}, {named: "é"}):
        raw = {name: value.encode() for name, value in headers.items()}
        answer = await send(billing, path, body, {"content-type": b"application/json"} | raw)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
    assert await stored(billing) == []


async def test_a_secret_that_is_there_twice_is_none(billing: RunningService) -> None:
    identity = billing.identities.headers("billing", kind="webhook")
    headers = [*identity.items(), ("asaas-access-token", ASAAS_TOKEN), ("asaas-access-token", "other")]
    answer = await billing.http.post("/webhooks/asaas", content=asaas_body(), headers=headers)
    assert answer.status_code == 401


async def test_nobody_gets_past_the_gateway(billing: RunningService) -> None:
    body = stripe_body(stripe_event())
    answer = await billing.http.post("/stripe/webhook", content=body, headers=stripe_headers(body))
    assert answer.status_code == 401


@pytest.mark.parametrize("path", [STRIPE_ROUTES[0], ASAAS_ROUTES[0], PAGBANK_ROUTES[0], PIX_ROUTES[0]])
async def test_without_an_account_everything_is_refused(start: Start, path: str) -> None:
    billing = await start(ROLE="api")
    for headers in (
        {},
        {
            "asaas-access-token": "x",
            "x-authenticity-token": "x",
            "x-webhook-secret": "x",
            "stripe-signature": "t=1,v1=x",
        },
        {"asaas-access-token": "", "x-authenticity-token": "", "x-webhook-secret": "", "stripe-signature": ""},
    ):
        answer = await send(billing, path, pagbank_body(), {"content-type": "application/json"} | headers)
        assert answer.status_code in (400, 401)
    assert await stored(billing) == []


async def test_pagbanks_old_form_is_read_as_far_as_its_code(billing: RunningService) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    missing = await send(billing, "/payments/webhook/pagseguro", b"notificationType=transaction", headers)
    assert (missing.status_code, missing.json()["error"]) == (400, "Missing notificationCode")
    body = b"notificationCode=9E884542-81B3-4419-9A75-BCC6FB495EF1&notificationType=transaction"
    assert (await send(billing, "/payments/webhook/pagseguro", body, headers)).status_code == 401
    signed = pagbank_headers(body) | headers
    assert (await send(billing, "/payments/webhook/pagseguro", body, signed)).status_code == 200
    assert [row["kind"] for row in await stored(billing)] == ["other"]


async def test_an_unknown_gateway_is_not_found(billing: RunningService) -> None:
    assert (await send(billing, "/payment-gateway/webhook/mercadopago", b"{}", {})).status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"event":1}', b"\xff\xfe", b"[" * 100_000, b'{"event":"PAYMENT_PAID"}']
)
async def test_what_cannot_be_read_is_400(billing: RunningService, body: bytes) -> None:
    for path, headers in (
        ("/webhooks/asaas", asaas_headers()),
        ("/webhooks/pagbank", pagbank_headers(body)),
        ("/pix/webhook", pix_headers()),
        ("/stripe/webhook", stripe_headers(body)),
    ):
        assert (await send(billing, path, body, headers)).status_code == 400
    assert await stored(billing) == []


async def test_too_much_is_413(billing: RunningService) -> None:
    body = b" " * 10_000_000
    for path in ("/stripe/webhook", "/webhooks/asaas", "/webhooks/pagbank"):
        assert (await send(billing, path, body, stripe_headers(body) | asaas_headers())).status_code == 413
    assert (await send(billing, "/pix/webhook", body, pix_headers())).status_code == 413


async def test_a_notice_that_cannot_be_read_keeps_its_neighbours(billing: RunningService) -> None:
    broken: list[Any] = [
        {"endToEndId": "short", "txid": "a", "valor": "1.00"},
        pix_transfer("b", valor="1,00"),
        pix_transfer("not a txid"),
        {"txid": "c"},
        "text",
        7,
    ]
    body = msgspec.json.encode({"pix": [*broken, pix_transfer("good")]})
    assert (await send(billing, "/pix/webhook", body, pix_headers())).status_code == 200
    rows = await stored(billing)
    assert [row["reference"] for row in rows if row["kind"] == "payment"] == ["good"]
    assert len([row for row in rows if row["type"] == "pix.unreadable"]) == len(broken)
    too_many = msgspec.json.encode({"pix": [{}] * 1001})
    assert (await send(billing, "/pix/webhook", too_many, pix_headers())).status_code == 400


# --- whose account


async def an_account(
    db: Database, tenant: UUID, provider: Provider, *, api_key: str, webhook_secret: str | None = None, **config: Any
) -> ProviderAccount:
    box, now = SecretBox(Secret(SECRETS_KEY)), utc_now()
    account_id = new_id(now)
    key, _, secret = seal_account_secrets(
        box, account_id, tenant, api_key=api_key, api_secret=None, webhook_secret=webhook_secret
    )
    account = ProviderAccount(
        id=account_id,
        tenant_id=tenant,
        provider=provider,
        environment=Environment.SANDBOX,
        api_key=key,
        api_key_hint="****",
        api_secret=None,
        webhook_secret=secret,
        config=config,
        is_active=True,
        created_by="test",
        updated_by="test",
        created_at=now,
        updated_at=now,
    )
    async with transaction(db, tenant) as conn:
        await store.provider_accounts.upsert_account(conn, tenant, account)
        if webhook_secret and provider is Provider.ASAAS:
            token_sha256 = hashlib.sha256(webhook_secret.encode()).digest()
            await store.provider_accounts.replace_webhook_token(conn, tenant, account_id, provider, token_sha256)
    return account


async def own(db: Database, account: ProviderAccount, kind: str, external_id: str) -> None:
    async with transaction(db, account.tenant_id) as conn:
        await store.directory.insert_object(
            conn,
            account.tenant_id,
            provider=account.provider,
            account_id=account.id,
            kind=kind,
            external_id=external_id,
            object_id=uuid4(),
        )


async def test_a_tenants_asaas_account_is_found_by_its_token(billing: RunningService, tenant: UUID) -> None:
    token = "Yt6rEw48qUi2oPaSdFgHjKlZxCvBnM71Lk9s"
    account = await an_account(billing.db, tenant, Provider.ASAAS, api_key="key", webhook_secret=token)
    assert (await send(billing, "/webhooks/asaas", asaas_body(), asaas_headers(token))).status_code == 200
    [row] = await stored(billing)
    assert (row["account_id"], row["tenant_id"]) == (account.id, tenant)
    assert (await send(billing, "/webhooks/asaas", asaas_body(), asaas_headers(token + "x"))).status_code == 401


async def test_one_event_id_at_two_accounts_is_two_events(billing: RunningService, tenant: UUID) -> None:
    token = "Yt6rEw48qUi2oPaSdFgHjKlZxCvBnM71Lk9s"
    await an_account(billing.db, tenant, Provider.ASAAS, api_key="key", webhook_secret=token)
    body = asaas_body()
    for headers in (asaas_headers(token), asaas_headers()):
        assert (await send(billing, "/webhooks/asaas", body, headers)).status_code == 200
    assert len(await stored(billing)) == len(await told(billing)) == 2


async def test_a_tenants_pagbank_account_is_found_by_the_object(billing: RunningService, tenant: UUID) -> None:
    account = await an_account(billing.db, tenant, Provider.PAGBANK, api_key="token-of-the-tenant")
    await own(billing.db, account, "payment", "ORDE_OURS")
    await own(billing.db, account, "reference", "our-payment")
    for body in (pagbank_body("ORDE_OURS"), pagbank_body("ORDE_NEW", reference="our-payment")):
        answer = await send(billing, "/webhooks/pagbank", body, pagbank_headers(body, "token-of-the-tenant"))
        assert answer.status_code == 200
        # Neither the platform's token nor anybody else's speaks for the tenant's account.
        assert (await send(billing, "/webhooks/pagbank", body, pagbank_headers(body))).status_code == 401
    assert {(row["account_id"], row["tenant_id"]) for row in await stored(billing)} == {(account.id, tenant)}


async def test_a_tenants_token_does_not_speak_for_the_platform(billing: RunningService, tenant: UUID) -> None:
    await an_account(billing.db, tenant, Provider.PAGBANK, api_key="token-of-the-tenant")
    body = pagbank_body("ORDE_PLATFORM")
    answer = await send(billing, "/webhooks/pagbank", body, pagbank_headers(body, "token-of-the-tenant"))
    assert answer.status_code == 401


async def test_a_tenants_stripe_account_is_found_by_the_object(billing: RunningService, tenant: UUID) -> None:
    secret = "whsec_of_the_tenant"
    account = await an_account(
        billing.db, tenant, Provider.STRIPE, api_key="sk_test_of_the_tenant", webhook_secret=secret
    )
    await own(billing.db, account, "payment", "pi_ours")
    body = stripe_body(stripe_event("payment_intent.succeeded", "pi_ours"))
    assert (await send(billing, "/stripe/webhook", body, stripe_headers(body, secret))).status_code == 200
    [row] = await stored(billing)
    assert (row["account_id"], row["tenant_id"]) == (account.id, tenant)
    other = stripe_body(stripe_event("payment_intent.succeeded", "pi_of_the_platform"))
    assert (await send(billing, "/stripe/webhook", other, stripe_headers(other, secret))).status_code == 400


async def test_pagbanks_own_key_speaks_for_whoever_has_the_object(start: Start, tenant: UUID) -> None:
    async with FakePagBank(token=PAGBANK_TOKEN) as pagbank:
        billing = await start(ROLE="api", **ENVIRONMENT | {"PAGBANK_API_BASE": pagbank.url, "SECRETS_KEY": SECRETS_KEY})
        account = await an_account(billing.db, tenant, Provider.PAGBANK, api_key=PAGBANK_TOKEN)
        await own(billing.db, account, "payment", "ORDE_OURS")
        for name in ("ORDE_OURS", "ORDE_PLATFORM"):
            body = pagbank_body(name)
            answer = await send(billing, "/webhooks/pagbank", body, pagbank_key_headers(body, pagbank.signing.key))
            assert answer.status_code == 200, answer.text
        owners = {row["object_external_id"]: row["tenant_id"] for row in await stored(billing)}
        assert owners == {"ORDE_OURS": tenant, "ORDE_PLATFORM": None}
        forged = pagbank_key_headers(body, FakePagBank().signing.key)
        assert (await send(billing, "/webhooks/pagbank", body, forged)).status_code == 401


async def test_an_unsigned_sandbox_is_explicit(start: Start) -> None:
    body = pagbank_body()
    for overrides, status in (
        ({}, 401),
        ({"PAGBANK_ENVIRONMENT": "sandbox"}, 401),
        ({"PAGBANK_ENVIRONMENT": "sandbox", "PAGBANK_UNSIGNED_SANDBOX": "true"}, 200),
    ):
        billing = await start(ROLE="api", **ENVIRONMENT, **overrides)
        answer = await send(billing, "/webhooks/pagbank", body, {"content-type": "application/json"})
        assert answer.status_code == status
    wrong = pagbank_headers(body, "wrong")
    assert (await send(billing, "/webhooks/pagbank", body, wrong)).status_code == 401


# --- the queue in front of the database


async def test_fifty_at_once_are_one_event(billing: RunningService) -> None:
    body = stripe_body(stripe_event())
    answers = await asyncio.gather(*(send(billing, "/stripe/webhook", body, stripe_headers(body)) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await stored(billing)) == len(await told(billing)) == 1


async def test_many_share_a_commit_and_each_is_there(billing: RunningService) -> None:
    bodies = [stripe_body(stripe_event(object_id=f"in_{number}")) for number in range(3 * BATCH)]
    before = await billing.db.platform.fetchval("SELECT pg_current_xact_id()::text::bigint")
    answers = await asyncio.gather(*(send(billing, "/stripe/webhook", body, stripe_headers(body)) for body in bodies))
    after = await billing.db.platform.fetchval("SELECT pg_current_xact_id()::text::bigint")
    assert {answer.status_code for answer in answers} == {200}
    assert len(await stored(billing)) == len(await told(billing)) == len(bodies)
    assert after - before < len(bodies) / 4


async def test_each_event_bears_its_requests_trace(billing: RunningService) -> None:
    traces = [f"00-{uuid4().hex}-{'1' * 16}-01" for _ in range(20)]
    bodies = [stripe_body(stripe_event()) for _ in traces]
    await asyncio.gather(
        *(
            send(billing, "/stripe/webhook", body, stripe_headers(body) | {"traceparent": trace})
            for body, trace in zip(bodies, traces, strict=True)
        )
    )
    rows = await billing.db.relay.fetch(
        "SELECT convert_from(body, 'UTF8')::jsonb ->> 'traceparent' AS trace FROM outbox"
    )
    assert {row["trace"].split("-")[1] for row in rows} == {trace.split("-")[1] for trace in traces}


async def test_what_cannot_be_stored_fails_alone(billing: RunningService) -> None:
    # Stripe alone could sign such a type; Postgres' text holds no U+0000.
    bodies = [stripe_body(stripe_event("invoice.paid" if number != 7 else "bad\x00type")) for number in range(20)]
    answers = await asyncio.gather(*(send(billing, "/stripe/webhook", body, stripe_headers(body)) for body in bodies))
    assert [answer.status_code for answer in answers].count(422) == 1
    assert answers[7].status_code == 422
    assert len(await stored(billing)) == 19


def accounts_of_tests() -> Accounts:
    credentials = PlatformCredentials(stripe_key=STRIPE_KEY, stripe_webhook_secrets=(STRIPE_SECRET,))
    return Accounts(credentials, SecretBox(Secret(SECRETS_KEY)))


def delivery(body: bytes) -> Delivery:
    return Delivery(provider=Provider.STRIPE, raw=body, signature=stripe_headers(body)["stripe-signature"])


async def count_events(db: Database) -> int:
    return int(await db.platform.fetchval("SELECT count(*) FROM provider_events"))


async def test_a_full_queue_says_503(db: Database) -> None:
    intake = Intake(accounts_of_tests(), max_waiting=1)
    results = await asyncio.gather(
        *(intake.receive(db, delivery(stripe_body(stripe_event()))) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, Unavailable) for result in results) == 4
    assert await count_events(db) == 1


async def test_it_ends_with_everything_committed_or_refused(db: Database) -> None:
    bodies = [stripe_body(stripe_event()) for _ in range(200)]
    async with Intake(accounts_of_tests()) as intake:
        waiting = [asyncio.create_task(intake.receive(db, delivery(body))) for body in bodies]
        await asyncio.sleep(0)
        for hung_up in waiting[::7]:
            hung_up.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    committed = sum(result is None for result in results)
    assert committed > 100
    assert committed <= await count_events(db) <= len(bodies)
    assert all(result is None or isinstance(result, Unavailable | asyncio.CancelledError) for result in results)
    with pytest.raises(Unavailable):
        await intake.receive(db, delivery(bodies[0]))


@pytest.mark.parametrize("mode", [Refuse(), Reset(), Blackhole(), DropReply(b"COMMIT")])
async def test_while_the_database_is_away_nobody_is_told_that_it_was_taken(
    start: Start, service_database: ServiceDatabase, mode: Mode
) -> None:
    url = await service_database("billing")
    parts = urlsplit(url)
    async with fault_proxy(str(parts.hostname), int(parts.port or 5432)) as link:
        behind = url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{link.port}")
        billing = await start(ROLE="api", DATABASE_URL=behind, **ENVIRONMENT)
        bodies = [stripe_body(stripe_event(object_id=f"in_{number}")) for number in range(30)]
        await link.become(mode)
        refused = await asyncio.gather(
            *(send(billing, "/stripe/webhook", body, stripe_headers(body)) for body in bodies)
        )
        assert {answer.status_code for answer in refused} == {503}
        assert all(answer.headers["retry-after"] for answer in refused)
        await link.become(Pass())
        taken = await asyncio.gather(*(send(billing, "/stripe/webhook", body, stripe_headers(body)) for body in bodies))
        assert {answer.status_code for answer in taken} == {200}
        assert len(await stored(billing)) == len(await told(billing)) == len(bodies)
