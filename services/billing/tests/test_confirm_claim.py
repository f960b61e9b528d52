"""A claim that somebody paid is answered by our own order or by Stripe's session: once, and never on its own word."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.accounts import Accounts, PlatformCredentials
from billing.domain.claims import attested_price, price_of, why_not_order, why_not_page
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.drafts import first_invoice
from billing.domain.identifiers import new_id
from billing.domain.orders import Order, OrderStatus
from billing.domain.plans import PlanPrice
from billing.domain.providers import (
    CheckoutRequest,
    CheckoutState,
    Interval,
    Payer,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from billing.domain.selling import SellingTerms
from billing.stripe_api import StripeApi
from billing.usecases.apply_checkout import apply_checkout
from billing.usecases.confirm_claim import confirm_claim
from billing.usecases.issue_invoice import issue_invoice
from chassis.clock import utc_now
from chassis.db import Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from contracts.tenants import PaymentClaimed
from testkit.fake_http import Fault
from testkit.fake_stripe import FakeStripe

from .records import ESSENCIAL, NOW, an_order
from .selling import STRIPE_KEY

EMAIL = "ana@example.com"
TERMS = SellingTerms(
    currency="BRL",
    order_expires_h=72,
    public_url="https://api.example.com",
    success_url="https://shop.example.com/ok",
    cancel_url="https://shop.example.com/no",
    return_hosts=frozenset({"shop.example.com"}),
    contact_email=None,
)


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with FakeStripe(api_key=STRIPE_KEY).serving() as fake:
        yield fake


@pytest_asyncio.fixture
async def api(stripe: FakeStripe) -> AsyncIterator[StripeApi]:
    async with StripeApi(STRIPE_KEY, base_url=stripe.url) as opened:
        yield opened


@pytest_asyncio.fixture
async def accounts(stripe: FakeStripe, box: SecretBox) -> AsyncIterator[Accounts]:
    credentials = PlatformCredentials(
        stripe_key=STRIPE_KEY, stripe_webhook_secrets=("whsec_x",), stripe_base=stripe.url
    )
    async with Accounts(credentials, box) as opened:
        yield opened


class Desk:
    """Where claims are answered."""

    def __init__(self, db: Database, accounts: Accounts, box: SecretBox) -> None:
        self.db = db
        self.accounts = accounts
        self.box = box

    async def confirm(self, claim: PaymentClaimed, message_id: UUID | None = None) -> None:
        await confirm_claim(
            self.db, self.accounts, claim, message_id or uuid4(), box=self.box, terms=TERMS, clock=utc_now
        )

    async def told(self, *types: str) -> list[dict[str, Any]]:
        rows = await self.db.relay.fetch(
            "SELECT convert_from(body, 'UTF8') AS body FROM outbox WHERE type = ANY($1) ORDER BY created_at, id",
            list(types),
        )
        return [msgspec.json.decode(row["body"])["data"] for row in rows]

    async def answers(self) -> list[tuple[str, str, str]]:
        """Kind, tenant and claim of every answer."""
        found = [("paid", one) for one in await self.told("billing.order.paid.v1")]
        found += [("refused", one) for one in await self.told("billing.order.failed.v1")]
        return [(kind, one["tenant_id"], one["claim_id"]) for kind, one in found]

    async def order(self, tenant: UUID) -> Order:
        """The tenant's only order that is no refused claim's."""
        async with platform_transaction(self.db) as conn:
            [order_id] = [
                row["id"]
                for row in await conn.fetch(
                    "SELECT id FROM orders WHERE tenant_id = $1 AND id IS DISTINCT FROM claim_id", tenant
                )
            ]
        async with transaction(self.db, tenant) as conn:
            return await store.orders.get_order(conn, tenant, order_id)


@pytest.fixture
def desk(db: Database, accounts: Accounts, box: SecretBox) -> Desk:
    return Desk(db, accounts, box)


def claim_of(tenant: UUID, session_id: str, **fields: Any) -> PaymentClaimed:
    facts: dict[str, Any] = {
        "claim_id": uuid4(),
        "tenant_id": tenant,
        "user_id": uuid4(),
        "email": EMAIL,
        "name": "Ana Lima",
        "plan_slug": "essencial",
        "session_id": session_id,
        "amount_cents": 24700,
        "is_attested": False,
        "occurred_at": utc_now(),
    }
    return PaymentClaimed(**facts | fields)


async def foreign_session(api: StripeApi, **fields: Any) -> str:
    """A session that the old checkout site made at the same account, for an order of its own."""
    request = CheckoutRequest(
        reference=uuid4(),
        plan_slug="essencial",
        title="Plano Essencial",
        description="",
        amount_cents=24700,
        currency="BRL",
        interval=Interval.MONTH,
        trial_days=0,
        payer=Payer(email=EMAIL),
        success_url="https://shop.example.com/ok",
        cancel_url="https://shop.example.com/no",
    )
    made = await api.create_checkout(msgspec.structs.replace(request, **fields), key=uuid4().hex)
    return made.external_id


async def own_order(db: Database, api: StripeApi, tenant: UUID, **fields: Any) -> Order:
    """An order of ours with its page and invoice, as place_order and open_checkout leave it."""
    async with transaction(db, tenant) as conn:
        order = await an_order(conn, tenant, now=utc_now(), buyer_email=EMAIL, **fields)
        await issue_invoice(conn, first_invoice(order, now=utc_now()), now=utc_now())
    session = await foreign_session(api, reference=order.id, trial_days=order.trial_days)
    async with transaction(db, tenant) as conn:
        order = msgspec.structs.replace(order, external_id=session, checkout_url="https://pay.example.com/")
        await store.orders.update_order(conn, tenant, order)
        for kind, external_id in (("reference", str(order.id)), ("checkout", session)):
            await store.directory.insert_object(
                conn,
                tenant,
                provider="stripe",
                account_id=PLATFORM_ACCOUNT,
                kind=kind,
                external_id=external_id,
                object_id=order.id,
            )
    return order


# Sessions of another site


async def test_a_session_that_was_paid_becomes_an_order(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    session = await foreign_session(api)
    stripe.pay(session)
    claim = claim_of(tenant, session)
    await desk.confirm(claim)
    assert await desk.answers() == [("paid", str(tenant), str(claim.claim_id))]
    order = await desk.order(tenant)
    assert (order.status, order.source, order.external_id) == ("paid", "claim", session)
    assert (order.claim_id, order.amount_cents, order.is_new_tenant) == (claim.claim_id, 24700, True)
    async with transaction(desk.db, tenant) as conn:
        invoice = await store.invoices.find_of_order(conn, tenant, order.id)
        subscription = await store.subscriptions.find_of_order(conn, tenant, order.id)
        assert invoice is not None
        assert subscription is not None
        payment = await store.payments.find_settling(conn, tenant, invoice.id)
        customer = await store.customers.get_customer(conn, tenant, order.customer_id)
    assert payment is not None
    assert (invoice.status, payment.amount_cents) == ("paid", 24700)
    assert subscription.status == "active"
    assert subscription.external_id == stripe.world.get("checkout.session", session)["subscription"]
    assert (customer.email, customer.name) == (EMAIL, "Ana Lima")
    [paid] = await desk.told("billing.order.paid.v1")
    assert (paid["paid_cents"], paid["external_id"], paid["payment_id"]) == (24700, session, str(payment.id))


async def test_told_again_or_at_once_it_has_one_effect(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    session = await foreign_session(api)
    stripe.pay(session)
    claim, message = claim_of(tenant, session), uuid4()
    await asyncio.gather(*(desk.confirm(claim, message) for _ in range(6)))
    await desk.confirm(claim, message)
    assert await desk.answers() == [("paid", str(tenant), str(claim.claim_id))]
    await desk.confirm(claim, uuid4())
    assert await desk.answers() == [("paid", str(tenant), str(claim.claim_id))] * 2, "asked anew, told anew"
    async with platform_transaction(desk.db) as conn:
        for table in ("orders", "invoices", "payments", "subscriptions"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 1, table


async def test_two_claims_of_one_session_are_one_purchase(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    session = await foreign_session(api)
    stripe.pay(session)
    claims = [claim_of(uuid4(), session) for _ in range(4)]
    await asyncio.gather(*(desk.confirm(claim) for claim in claims))
    answers = await desk.answers()
    assert sorted(kind for kind, _, _ in answers) == ["paid", "refused", "refused", "refused"]
    assert {claim_id for _, _, claim_id in answers} == {str(claim.claim_id) for claim in claims}
    assert {one["reason"] for one in await desk.told("billing.order.failed.v1")} == {"no such session"}
    async with platform_transaction(desk.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM orders WHERE status = 'paid'") == 1
        assert await conn.fetchval("SELECT count(*) FROM orders WHERE id = claim_id AND status = 'failed'") == 3
        assert await conn.fetchval("SELECT count(*) FROM invoices") == 1


@pytest.mark.parametrize(
    ("session_fields", "claim_fields", "is_paid", "reason"),
    [
        ({}, {}, False, "the session is not paid"),
        ({}, {"email": "eve@example.com"}, True, "somebody else paid the session"),
        ({}, {"plan_slug": "profissional"}, True, "the session is of another plan"),
        ({}, {"amount_cents": 1}, True, "the session is of another amount"),
        ({"amount_cents": 100}, {"amount_cents": 100}, True, "the plan costs another amount"),
        ({"amount_cents": 100}, {"amount_cents": None}, True, "the plan costs another amount"),
        ({"currency": "USD"}, {}, True, "the plan costs another amount"),
        ({"interval": Interval.YEAR}, {}, True, "the plan costs another amount"),
        ({"trial_days": 7}, {"amount_cents": None}, True, "the session is not paid"),
        ({"plan_slug": "gratis"}, {"plan_slug": "gratis"}, True, "no such plan is for sale"),
    ],
)
async def test_what_is_not_as_claimed_is_refused(
    desk: Desk,
    api: StripeApi,
    stripe: FakeStripe,
    tenant: UUID,
    session_fields: dict[str, Any],
    claim_fields: dict[str, Any],
    is_paid: bool,
    reason: str,
) -> None:
    session = await foreign_session(api, **session_fields)
    if is_paid:
        stripe.pay(session)
    claim, message = claim_of(tenant, session, **claim_fields), uuid4()
    for _ in range(2):
        await desk.confirm(claim, message)
    [refused] = await desk.told("billing.order.failed.v1")
    assert (refused["reason"], refused["claim_id"], refused["tenant_id"], refused["external_id"]) == (
        reason, str(claim.claim_id), str(tenant), session,
    )  # fmt: skip
    assert await desk.told("billing.order.placed.v1") == []
    async with platform_transaction(desk.db) as conn:
        for table in ("invoices", "payments", "subscriptions", "provider_objects"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        orders = [row["id"] for row in await conn.fetch("SELECT id FROM orders")]
    if claim.plan_slug == "gratis":
        assert orders == []
        assert (refused["order_id"], refused["customer_id"], refused["plan"]) == (None, None, None)
        return
    assert orders == [claim.claim_id]
    assert (refused["order_id"], refused["plan"]["plan_slug"]) == (str(claim.claim_id), claim.plan_slug)
    async with transaction(desk.db, tenant) as conn:
        order = await store.orders.get_order(conn, tenant, claim.claim_id)
        entries = await store.orders.list_entries(conn, tenant, claim.claim_id)
    assert (order.status, order.failure_reason, order.source, order.external_id) == ("failed", reason, "claim", session)
    assert (order.buyer_email, order.is_new_tenant, order.claim_id) == (claim.email, True, claim.claim_id)
    assert [(entry.kind, entry.detail) for entry in entries] == [
        ("claimed", {"claim": str(claim.claim_id), "plan": claim.plan_slug, "amount_cents": claim.amount_cents}),
        ("failed", {"reason": reason}),
    ]


@pytest.mark.parametrize("session_id", ["cs_test_unknown", "../events", "x" * 500, "cs test"])
async def test_a_session_that_nobody_knows(desk: Desk, tenant: UUID, session_id: str) -> None:
    await desk.confirm(claim_of(tenant, session_id))
    [refused] = await desk.told("billing.order.failed.v1")
    assert refused["reason"] == "no such session"


async def test_a_refused_session_may_be_claimed_anew_once_it_is_paid(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    session = await foreign_session(api)
    await desk.confirm(claim_of(tenant, session))
    stripe.pay(session)
    claim = claim_of(tenant, session)
    await desk.confirm(claim)
    assert ("paid", str(tenant), str(claim.claim_id)) in await desk.answers()
    order = await desk.order(tenant)
    assert (order.status, order.external_id, order.is_new_tenant) == ("paid", session, True)


async def test_the_same_claim_asked_anew_is_the_same_order(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    """Refused twice it has one record, which says the latest reason; paid after all it is another order's."""
    session = await foreign_session(api)
    claim = claim_of(tenant, session)
    await asyncio.gather(*(desk.confirm(claim) for _ in range(3)))
    stripe.pay(session)
    wrong = msgspec.structs.replace(claim, amount_cents=1)
    await desk.confirm(wrong)
    async with transaction(desk.db, tenant) as conn:
        record = await store.orders.get_order(conn, tenant, claim.claim_id)
    assert (record.status, record.failure_reason, record.version) == ("failed", "the session is of another amount", 4)
    assert len(await desk.told("billing.order.failed.v1")) == 4
    await desk.confirm(claim)
    order = await desk.order(tenant)
    assert (order.status, order.claim_id) == ("paid", claim.claim_id)
    async with transaction(desk.db, tenant) as conn:
        assert await store.orders.get_order(conn, tenant, claim.claim_id) == record


@pytest.mark.parametrize(
    ("amount_cents", "interval", "price"),
    [(24700, "month", 24700), (12 * 19700, "year", 12 * 19700), (1, "month", 24700), (None, "month", 24700)],
)
async def test_a_refused_claims_order_is_of_the_price_that_it_named_or_should_have(
    desk: Desk, tenant: UUID, amount_cents: int | None, interval: str, price: int
) -> None:
    claim = claim_of(tenant, "cs_test_unknown", amount_cents=amount_cents)
    await desk.confirm(claim)
    async with transaction(desk.db, tenant) as conn:
        order = await store.orders.get_order(conn, tenant, claim.claim_id)
    assert (order.interval, order.amount_cents, order.currency) == (interval, price, "BRL")


async def test_a_provider_that_is_away_is_waited_for(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    session = await foreign_session(api)
    stripe.pay(session)
    claim, message = claim_of(tenant, session), uuid4()
    for faults in ([Fault.FAIL_500], [None, Fault.DROP_REPLY], [None, None, Fault.FAIL_500]):
        stripe.server.faults = list(faults)
        with pytest.raises(ProviderUnavailable):
            await desk.confirm(claim, message)
    stripe.server.faults = []
    await desk.confirm(claim, message)
    assert await desk.answers() == [("paid", str(tenant), str(claim.claim_id))]


async def test_without_stripe_a_claim_waits_for_somebody(db: Database, box: SecretBox, tenant: UUID) -> None:
    async with Accounts(PlatformCredentials(), box) as nobody:
        desk = Desk(db, nobody, box)
        with pytest.raises(ProviderMisconfigured):
            await desk.confirm(claim_of(tenant, "cs_test_1"))
        assert await desk.answers() == []


# Our own orders


async def test_our_own_paid_order_is_told_again_with_the_claim(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    order = await own_order(desk.db, api, tenant)
    stripe.pay(str(order.external_id))
    await apply_checkout(desk.db, api, PLATFORM_ACCOUNT, str(order.external_id), clock=utc_now)
    [first] = await desk.told("billing.order.paid.v1")
    assert first["claim_id"] is None
    claim, message = claim_of(tenant, str(order.external_id)), uuid4()
    for _ in range(2):
        await desk.confirm(claim, message)
    _, again = await desk.told("billing.order.paid.v1")
    differing = {"claim_id", "occurred_at"}
    assert {k: v for k, v in again.items() if k not in differing} == {
        k: v for k, v in first.items() if k not in differing
    }
    assert (again["claim_id"], again["tenant_id"]) == (str(claim.claim_id), str(tenant))
    assert await desk.told("billing.order.failed.v1") == []


async def test_our_own_order_whose_webhook_was_lost_is_looked_at(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    order = await own_order(desk.db, api, tenant)
    stripe.pay(str(order.external_id))
    claim = claim_of(tenant, str(order.external_id))
    await desk.confirm(claim)
    assert await desk.answers() == [("paid", str(tenant), str(claim.claim_id))]


async def test_our_own_order_whose_page_was_lost_is_found_by_its_reference(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    order = await own_order(desk.db, api, tenant)
    async with platform_transaction(desk.db) as conn:
        await conn.execute("DELETE FROM provider_objects WHERE kind = 'checkout'")
    stripe.pay(str(order.external_id))
    claim = claim_of(tenant, str(order.external_id))
    await desk.confirm(claim)
    assert await desk.answers() == [("paid", str(tenant), str(claim.claim_id))]
    async with platform_transaction(desk.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM orders") == 1


async def test_an_order_that_is_not_paid_yet_answers_when_it_is(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    order = await own_order(desk.db, api, tenant)
    claim = claim_of(tenant, str(order.external_id))
    await desk.confirm(claim)
    assert await desk.answers() == [("refused", str(tenant), str(claim.claim_id))]
    [refused] = await desk.told("billing.order.failed.v1")
    assert refused["order_id"] == str(claim.claim_id), "the order itself has not failed"
    assert (await desk.order(tenant)).status == "pending"
    stripe.pay(str(order.external_id))
    await apply_checkout(desk.db, api, PLATFORM_ACCOUNT, str(order.external_id), clock=utc_now)
    assert ("paid", str(tenant), str(claim.claim_id)) in await desk.answers()


async def test_an_order_that_is_over_is_told_so(desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID) -> None:
    order = await own_order(desk.db, api, tenant)
    stripe.expire(str(order.external_id))
    claim = claim_of(tenant, str(order.external_id))
    await desk.confirm(claim)
    failed = await desk.told("billing.order.failed.v1")
    assert {(one["reason"], one["claim_id"], one["order_id"]) for one in failed} == {
        ("expired", str(claim.claim_id), str(order.id))
    }
    assert (await desk.order(tenant)).status == "cancelled"


async def test_an_order_that_is_over_answers_no_claim_that_was_not_of_it(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    order = await own_order(desk.db, api, tenant)
    stripe.expire(str(order.external_id))
    await apply_checkout(desk.db, api, PLATFORM_ACCOUNT, str(order.external_id), clock=utc_now)
    claim = claim_of(tenant, str(order.external_id), plan_slug="enterprise")
    await desk.confirm(claim)
    ended, refused = await desk.told("billing.order.failed.v1")
    assert (ended["order_id"], ended["claim_id"]) == (str(order.id), None)
    assert (refused["order_id"], refused["claim_id"]) == (str(claim.claim_id), str(claim.claim_id))
    assert refused["plan"]["plan_slug"] == "enterprise"


async def test_somebody_elses_order_is_not_claimed(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID
) -> None:
    order = await own_order(desk.db, api, tenant)
    stripe.pay(str(order.external_id))
    await apply_checkout(desk.db, api, PLATFORM_ACCOUNT, str(order.external_id), clock=utc_now)
    for fields in ({"email": "eve@example.com"}, {"plan_slug": "enterprise"}, {"amount_cents": 1}):
        await desk.confirm(claim_of(tenant, str(order.external_id), **fields))
    refused = await desk.told("billing.order.failed.v1")
    assert [one["reason"] for one in refused] == [
        "somebody else's order", "another plan was ordered", "another amount was ordered",
    ]  # fmt: skip
    assert len(await desk.told("billing.order.paid.v1")) == 1
    assert (await desk.order(tenant)).claim_id is None


@pytest.mark.parametrize("is_attested", [True, False])
@pytest.mark.parametrize("is_paid", [True, False])
@pytest.mark.parametrize("is_lost", [True, False])
async def test_another_tenants_order_is_one_that_nobody_knows(
    desk: Desk, api: StripeApi, stripe: FakeStripe, tenant: UUID, is_attested: bool, is_paid: bool, is_lost: bool
) -> None:
    """Whoever claims it, even with the buyer's own address, is answered at once and learns nothing of it."""
    order = await own_order(desk.db, api, tenant)
    if is_paid:
        stripe.pay(str(order.external_id))
        await apply_checkout(desk.db, api, PLATFORM_ACCOUNT, str(order.external_id), clock=utc_now)
    if is_lost:  # its page's id, and with it what an attested claim could be recognised by
        async with platform_transaction(desk.db) as conn:
            await conn.execute("DELETE FROM provider_objects WHERE kind = 'checkout'")
    before = await desk.order(tenant)
    told = await desk.told("billing.order.paid.v1")
    claim = claim_of(uuid4(), str(order.external_id), is_attested=is_attested and not is_lost)
    message = uuid4()
    for _ in range(2):
        await desk.confirm(claim, message)
    [refused] = await desk.told("billing.order.failed.v1")
    unknown = claim_of(claim.tenant_id, "cs_test_unknown")
    await desk.confirm(unknown)
    _, of_unknown = await desk.told("billing.order.failed.v1")
    own = {"claim_id": str(claim.claim_id), "order_id": str(claim.claim_id), "external_id": claim.session_id}
    own |= {"occurred_at": refused["occurred_at"]}
    assert refused == of_unknown | own
    assert await desk.order(tenant) == before
    assert await desk.told("billing.order.paid.v1") == told


# Attested claims


async def test_an_attested_claim_is_paid_without_a_look(
    db: Database, box: SecretBox, desk: Desk, stripe: FakeStripe, tenant: UUID
) -> None:
    claim, message = claim_of(tenant, "cs_live_elsewhere", is_attested=True, amount_cents=None), uuid4()
    await asyncio.gather(*(desk.confirm(claim, message) for _ in range(4)))
    await desk.confirm(claim, message)
    assert await desk.answers() == [("paid", str(tenant), str(claim.claim_id))]
    assert stripe.server.requests == []
    order = await desk.order(tenant)
    async with transaction(desk.db, tenant) as conn:
        invoice = await store.invoices.find_of_order(conn, tenant, order.id)
        assert invoice is not None
        payment = await store.payments.find_settling(conn, tenant, invoice.id)
    assert payment is not None
    assert (payment.external_id, payment.amount_cents, order.interval) == ("cs_live_elsewhere", 24700, "month")
    again = claim_of(uuid4(), "cs_live_elsewhere", is_attested=True)
    await desk.confirm(again)
    assert ("refused", str(again.tenant_id), str(again.claim_id)) in await desk.answers()


async def test_an_attested_claims_amount_is_a_price(desk: Desk, tenant: UUID) -> None:
    yearly = claim_of(tenant, "cs_1", is_attested=True, amount_cents=12 * 19700)
    await desk.confirm(yearly)
    assert (await desk.order(tenant)).interval == "year"
    for fields in ({"amount_cents": 1}, {"amount_cents": 0}, {"plan_slug": "gratis"}):
        await desk.confirm(claim_of(uuid4(), f"cs_{fields}", is_attested=True, **fields))
    refused = await desk.told("billing.order.failed.v1")
    assert [one["reason"] for one in refused] == [
        "the plan costs another amount", "the plan costs another amount", "no such plan is for sale",
    ]  # fmt: skip


async def test_a_claim_without_a_usable_address_or_name(desk: Desk, tenant: UUID) -> None:
    claim = claim_of(tenant, "cs_1", is_attested=True, email="", name="\u0007")
    await desk.confirm(claim)
    order = await desk.order(tenant)
    assert (order.status, order.buyer_email, order.buyer_name) == ("paid", None, None)


# Pure


def page_of(**fields: Any) -> CheckoutState:
    facts: dict[str, Any] = {
        "external_id": "cs_1",
        "status": "complete",
        "payment_status": "paid",
        "amount_cents": 24700,
        "currency": "BRL",
        "payer_email": "Ana@Example.com",
    }
    return CheckoutState(**facts | fields)


def test_both_spellings_of_the_plan_count() -> None:
    claim = claim_of(uuid4(), "cs_1")
    assert why_not_page(claim, page_of()) is None
    for name in ("plan_id", "planId"):
        assert why_not_page(claim, page_of(metadata={name: "essencial"})) is None
        assert why_not_page(claim, page_of(metadata={name: "enterprise"})) == "the session is of another plan"
    mixed = page_of(metadata={"plan_id": "essencial", "planId": "enterprise"})
    assert why_not_page(claim, mixed) == "the session is of another plan"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "open"},
        {"status": "expired"},
        {"payment_status": "unpaid"},
        {"payment_status": "no_payment_required"},
        {"amount_cents": 0},
    ],
)
def test_only_money_counts(fields: dict[str, Any]) -> None:
    assert why_not_page(claim_of(uuid4(), "cs_1"), page_of(**fields)) == "the session is not paid"


def test_the_payer_is_the_claimed_one() -> None:
    claim = claim_of(uuid4(), "cs_1")
    assert why_not_page(claim, page_of(payer_email=None)) == "somebody else paid the session"
    assert why_not_page(claim, page_of(payer_email="ana@example.com.br")) == "somebody else paid the session"


def price(amount_cents: int, interval: Interval, **fields: Any) -> PlanPrice:
    row = PlanPrice(
        id=new_id(NOW),
        tenant_id=UUID(int=0),
        plan_id=ESSENCIAL,
        interval=interval,
        currency="BRL",
        amount_cents=amount_cents,
        price_external_id=None,
        created_at=NOW,
        retired_at=None,
    )
    return msgspec.structs.replace(row, **fields)


def test_prices_that_a_claim_may_be_of() -> None:
    month, year = price(100, Interval.MONTH), price(1000, Interval.YEAR)
    old = price(90, Interval.MONTH, retired_at=NOW)
    dollars = price(100, Interval.MONTH, currency="USD")
    prices = [old, dollars, year, month]
    assert price_of(prices, amount_cents=100, currency="BRL", interval=None) is month
    assert price_of(prices, amount_cents=100, currency="BRL", interval=Interval.MONTH) is month
    assert price_of(prices, amount_cents=100, currency="BRL", interval=Interval.YEAR) is None
    assert price_of(prices, amount_cents=90, currency="BRL", interval=None) is None
    assert attested_price(prices, amount_cents=None, currency="BRL") is month
    assert attested_price(prices, amount_cents=1000, currency="BRL") is year
    assert attested_price(prices, amount_cents=90, currency="BRL") is None
    assert attested_price([year], amount_cents=None, currency="BRL") is None


async def test_an_order_is_claimed_once_it_is_paid(db: Database, tenant: UUID) -> None:
    async with transaction(db, tenant) as conn:
        order = await an_order(conn, tenant)
    claim = claim_of(tenant, "cs_1")
    other = msgspec.structs.replace(order, claim_id=uuid4())
    made = msgspec.structs.replace(other, source="claim")
    assert why_not_order(claim, made) == "another claim used the session"
    assert why_not_order(msgspec.structs.replace(claim, claim_id=made.claim_id), made) is None
    assert why_not_order(claim, order) is None
    assert why_not_order(claim, other) is None, "the other claim came to nothing so far"
    paid = msgspec.structs.replace(other, status=OrderStatus.PAID, paid_at=NOW)
    assert why_not_order(claim, paid) == "another claim used the session"
    assert why_not_order(msgspec.structs.replace(claim, claim_id=other.claim_id), paid) is None
    refunded = msgspec.structs.replace(order, status=OrderStatus.REFUNDED, paid_at=NOW)
    assert why_not_order(claim, refunded) == "the payment went back"
    assert why_not_order(msgspec.structs.replace(claim, plan_slug=str(ESSENCIAL)), order) is None
