"""Whose an address is, what is forgotten and what is told of a person: late, twice or reversed, it ends alike."""

from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from billing import store
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.identifiers import new_id
from billing.domain.provider_events import EventSource, NewProviderEvent
from billing.domain.providers import Notice
from billing.store.provider_calls import ProviderCall
from billing.usecases.erase_customer import erase_customer
from billing.usecases.export_customer import export_customer
from billing.usecases.follow_user import follow_user
from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from contracts.tenants import (
    ErasureRequested,
    ExportRequested,
    UserCreated,
    UserDisabled,
    UserEvent,
    UserUpdated,
)

from .records import NOW, a_customer, a_payment, a_subscription, an_invoice, an_order

EMAIL = "ana@example.com"


def user_event(kind: type[UserEvent], tenant: UUID, user: UUID, minutes: int = 0, **fields: Any) -> UserEvent:
    facts: dict[str, Any] = {
        "tenant_id": tenant,
        "user_id": user,
        "email": EMAIL,
        "name": "Ana",
        "role": "owner",
        "status": "active",
        "tokens_valid_from": NOW,
        "occurred_at": NOW + timedelta(minutes=minutes),
    }
    return kind(**facts | fields)


async def follow(db: Database, *events: UserEvent) -> None:
    for event in events:
        async with platform_transaction(db) as conn:
            await follow_user(conn, event)


async def owner_of(db: Database, email: str, minted: UUID) -> tuple[UUID, bool]:
    """Whose purchase by the address would be, and whether a user of it is known; undone again."""
    async with platform_transaction(db) as conn:
        before = await conn.fetch("SELECT * FROM email_owners")
    async with platform_transaction(db) as conn:
        owner = await store.directory.claim_email(conn, email, minted, NOW + timedelta(hours=1))
        await conn.execute("DELETE FROM email_owners WHERE email = $1", email)
        for row in before:
            if row["email"] == email:
                await conn.execute("INSERT INTO email_owners SELECT $1, $2, $3, $4, $5", *_columns(row))
    return owner.tenant_id, owner.user_id is not None


def _columns(row: Any) -> list[Any]:
    return [row[name] for name in ("email", "tenant_id", "user_id", "updated_at", "is_active")]


async def test_an_address_is_its_users_tenants(db: Database, tenant: UUID) -> None:
    minted, user = uuid4(), uuid4()
    assert await owner_of(db, EMAIL, minted) == (minted, False)
    await follow(db, user_event(UserCreated, tenant, user, email="Ana@Example.com"))
    assert await owner_of(db, EMAIL, minted) == (tenant, True)
    await follow(db, user_event(UserCreated, uuid4(), user, 1))
    assert await owner_of(db, EMAIL, minted) == (tenant, True), "the first membership stays"
    await follow(db, user_event(UserUpdated, tenant, user, 2, email="lima@example.com"))
    assert await owner_of(db, EMAIL, minted) == (minted, False), "the old address is nobody's"
    assert await owner_of(db, "lima@example.com", minted) == (tenant, True)
    await follow(db, user_event(UserDisabled, tenant, user, 3, email="lima@example.com", status="inactive"))
    assert await owner_of(db, "lima@example.com", minted) == (minted, False)
    await follow(db, user_event(UserUpdated, tenant, user, 4, email="lima@example.com"))
    assert await owner_of(db, "lima@example.com", minted) == (tenant, True), "they are back"
    await follow(db, user_event(UserUpdated, tenant, user, 5, email=""))  # erased there


async def test_a_minted_tenant_gives_way_to_the_users_own(db: Database, tenant: UUID) -> None:
    minted = uuid4()
    async with platform_transaction(db) as conn:
        assert (await store.directory.claim_email(conn, EMAIL, minted, NOW + timedelta(days=1))).tenant_id == minted
    await follow(db, user_event(UserCreated, tenant, uuid4()))
    assert await owner_of(db, EMAIL, uuid4()) == (tenant, True)


async def test_a_disabled_persons_tenant_gives_way_to_another_of_theirs(db: Database, tenant: UUID) -> None:
    user, other = uuid4(), uuid4()
    await follow(
        db,
        user_event(UserCreated, tenant, user),
        user_event(UserDisabled, tenant, user, 1, status="suspended"),
        user_event(UserCreated, other, user, 2, status="pending"),
    )
    assert await owner_of(db, EMAIL, uuid4()) == (other, True)
    await follow(db, user_event(UserUpdated, tenant, user, 3))
    assert await owner_of(db, EMAIL, uuid4()) == (other, True)


async def test_every_order_of_news_ends_alike(db: Database) -> None:
    user = uuid4()
    for order in permutations(range(4)):
        tenant = uuid4()
        events = [
            user_event(UserCreated, tenant, user, 0, email=f"{tenant.hex}@example.com"),
            user_event(UserUpdated, tenant, user, 1, email=f"{tenant.hex}@example.com", name="Ana Lima"),
            user_event(UserDisabled, tenant, user, 2, email=f"{tenant.hex}@example.com", status="inactive"),
            user_event(UserDisabled, tenant, user, 2, email=f"{tenant.hex}@example.com", status="inactive"),
        ]
        await follow(db, *(events[index] for index in order))
        minted = uuid4()
        assert await owner_of(db, f"{tenant.hex}@example.com", minted) == (minted, False), order


# Erasure and export


async def held_data(db: Database, tenant: UUID, box: SecretBox, email: str = EMAIL) -> dict[str, UUID]:
    """Everything that billing holds of somebody, in the tenant's tables and the platform's."""
    async with transaction(db, tenant) as conn:
        customer = await a_customer(conn, tenant, email=email, name="Ana Lima", phone="11999990000")
        sealed = box.seal("52998224725", tenant, "customers", customer.id)
        await store.customers.upsert_customer(conn, tenant, msgspec.structs.replace(customer, tax_id=sealed))
        order = await an_order(conn, tenant, customer_id=customer.id, buyer_email=email, buyer_name="Ana Lima")
        invoice = await an_invoice(conn, tenant, order=order)
        payment = await a_payment(conn, tenant, invoice, raw={"customer": {"name": "Ana Lima", "email": email}})
        for status, params in (
            ("done", {"payer": {"email": email.upper(), "name": "Ana Lima"}}),
            ("planned", {"fields": {"email": email}}),
            ("done", {"payer": {"email": "eve@example.com"}}),
        ):
            await plan(conn, tenant, status, params)
    async with platform_transaction(db) as conn:
        events = [
            stored_event(tenant, f'{{"email": "{email}"}}'.encode()),
            stored_event(tenant, b'{"email": "eve@example.com"}'),
            stored_event(uuid4(), f'{{"email": "{email}"}}'.encode()),
        ]
        await store.provider_events.insert_events(conn, events, NOW)
        await conn.execute("UPDATE provider_events SET status = 'processed'")
        await store.directory.set_email_owner(conn, email, tenant, uuid4(), is_active=True, at=NOW)
    return {"customer": customer.id, "order": order.id, "invoice": invoice.id, "payment": payment.id}


async def plan(conn: Connection, tenant: UUID, status: str, params: dict[str, Any]) -> None:
    call = ProviderCall(
        id=new_id(NOW),
        tenant_id=tenant,
        provider="stripe",
        account_id=PLATFORM_ACCOUNT,
        operation="checkout",
        key=uuid4().hex,
        params=params,
        status=status,
        result={} if status == "done" else None,
        error=None,
        attempts=1,
        created_at=NOW,
        updated_at=NOW,
    )
    await store.provider_calls.plan_call(conn, tenant, call)


def stored_event(tenant: UUID, payload: bytes) -> NewProviderEvent:
    notice = Notice(event_id=uuid4().hex, type="x", kind="payment")
    return NewProviderEvent(
        id=new_id(NOW),
        provider=EventSource.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        notice=notice,
        payload=payload,
        tenant_id=tenant,
    )


def erasure(tenant: UUID, email: str = "Ana@Example.com") -> ErasureRequested:
    return ErasureRequested(erasure_id=uuid4(), tenant_id=tenant, user_id=uuid4(), email=email, occurred_at=NOW)


async def everything(db: Database) -> str:
    """All that stands in the tables, but what is on its way out."""
    async with platform_transaction(db) as conn:
        tables = await conn.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'billing'::regnamespace AND relkind = 'r'"
            " AND relname NOT IN ('outbox', 'migrations', 'idempotency_keys')"
        )
        found = []
        for table in tables:
            rows = await conn.fetch(f"SELECT to_jsonb(t)::text AS row FROM {table['relname']} t")
            found += [row["row"] for row in rows]
        payloads = await conn.fetch("SELECT convert_from(payload, 'UTF8') AS payload FROM provider_events")
    return "\n".join([*found, *(row["payload"] for row in payloads)])


async def erased_events(db: Database) -> list[dict[str, Any]]:
    rows = await db.relay.fetch(
        "SELECT convert_from(body, 'UTF8') AS body FROM outbox WHERE type = 'billing.privacy.erased.v1' ORDER BY id"
    )
    return [msgspec.json.decode(row["body"])["data"] for row in rows]


async def test_a_person_is_forgotten_and_what_was_paid_is_kept(db: Database, tenant: UUID, box: SecretBox) -> None:
    ids = await held_data(db, tenant, box)
    other = uuid4()
    await held_data(db, other, box, email="rui@example.com")
    request = erasure(tenant)
    async with platform_transaction(db) as conn:
        await erase_customer(conn, request, now=NOW)
    left = await everything(db)
    foreign = left.lower().count(EMAIL)
    assert foreign == 1, "another tenant's webhook is not this tenant's to forget"
    assert "Ana Lima" in left, "the other tenant's customer has the same name"
    assert left.count("eve@example.com") == 2 * 2, "nobody else is forgotten"
    async with transaction(db, tenant) as conn:
        customer = await store.customers.get_customer(conn, tenant, ids["customer"])
        order = await store.orders.get_order(conn, tenant, ids["order"])
        invoice = await store.invoices.get_invoice(conn, tenant, ids["invoice"])
        payment = await store.payments.get_payment(conn, tenant, ids["payment"])
        calls = await conn.fetch("SELECT status, error FROM provider_calls WHERE params ? 'erased' ORDER BY status")
    assert (customer.email, customer.name, customer.tax_id, customer.phone, customer.erased_at) == (
        None, None, None, None, NOW,
    )  # fmt: skip
    assert (order.buyer_email, order.buyer_name, order.amount_cents) == (None, None, 24700)
    assert (invoice.amount_cents, payment.amount_cents, payment.raw) == (24700, 24700, None)
    assert [tuple(row) for row in calls] == [("done", None), ("refused", "erased")]
    [told] = await erased_events(db)
    assert (told["erasure_id"], told["tenant_id"]) == (str(request.erasure_id), str(tenant))
    assert told["erased"] == [
        "customers: name, address, tax id and phone (1)",
        "orders: who bought (1)",
        "payments: the provider's own record (1)",
        "calls to providers: what was sent (2)",
        "webhooks: what was received (1)",
        "directory: the address (1)",
    ]
    assert [kept.partition(" ")[0] for kept in told["kept"]] == ["orders", "invoices", "payments"]
    assert all("LGPD, art. 16, I" in kept for kept in told["kept"])
    assert EMAIL not in str(told)


async def test_an_erasure_again_finds_nothing(db: Database, tenant: UUID, box: SecretBox) -> None:
    await held_data(db, tenant, box)
    for _ in range(2):
        async with platform_transaction(db) as conn:
            await erase_customer(conn, erasure(tenant), now=NOW)
    first, second = await erased_events(db)
    assert len(first["erased"]) == 6
    assert (second["erased"], second["kept"]) == ([], [])


async def test_what_runs_goes_on(db: Database, tenant: UUID, box: SecretBox) -> None:
    async with transaction(db, tenant) as conn:
        subscription = await a_subscription(conn, tenant)
        customer = await store.customers.get_customer(conn, tenant, subscription.customer_id)
    async with platform_transaction(db) as conn:
        await erase_customer(conn, erasure(tenant, str(customer.email)), now=NOW)
    async with transaction(db, tenant) as conn:
        assert await store.subscriptions.get_subscription(conn, tenant, subscription.id) == subscription


async def test_a_person_is_told_what_is_held(db: Database, tenant: UUID, box: SecretBox) -> None:
    ids = await held_data(db, tenant, box)
    request = ExportRequested(
        export_id=uuid4(), tenant_id=tenant, user_id=uuid4(), email="ANA@example.com", occurred_at=NOW
    )
    async with platform_transaction(db) as conn:
        await export_customer(conn, request, box=box, now=NOW)
    row = await db.relay.fetchval(
        "SELECT convert_from(body, 'UTF8') FROM outbox WHERE type = 'billing.privacy.exported.v1'"
    )
    assert EMAIL not in row
    sealed = msgspec.convert(msgspec.json.decode(row)["data"]["sealed"], bytes)
    held = msgspec.json.decode(box.open(sealed, tenant, "privacy_exports", request.export_id))
    [customer] = held["customers"]
    assert (customer["email"], customer["tax_id"], customer["phone"]) == (EMAIL, "52998224725", "11999990000")
    for kind in ("order", "invoice", "payment"):
        assert [row["id"] for row in held[f"{kind}s"]] == [str(ids[kind])]
    assert held["subscriptions"] == []


@pytest.mark.parametrize("email", ["eve@example.com", "' OR true --", "%"])
async def test_nobody_else_is_touched(db: Database, tenant: UUID, box: SecretBox, email: str) -> None:
    await held_data(db, tenant, box)
    before = await everything(db)
    async with platform_transaction(db) as conn:
        await erase_customer(conn, erasure(uuid4(), EMAIL), now=NOW)
        if email != "eve@example.com":
            await erase_customer(conn, erasure(tenant, email), now=NOW)
    assert await everything(db) == before
