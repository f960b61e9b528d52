"""What comes of billing's events: tenants, owners, limits and access; once each, in whatever order they arrive."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import msgspec
import pytest

from bus.consumer import Incoming, event_consumer
from bus.envelope import Envelope, decode_envelope, encode_event
from chassis.db import Database, platform_transaction
from contracts.billing import OrderPaid, SubscriptionEvent
from contracts.errors import Conflict, Malformed
from contracts.event import Event, event_type
from tenants import store
from tenants.domain.callers import Caller
from tenants.domain.claims import ClaimStatus, PaymentClaim
from tenants.domain.companies import PAYMENT_REFUSED, TenantStatus
from tenants.domain.people import MemberStatus, UserStatus
from tenants.domain.sign_in import PASSWORD_LINKS
from tenants.domain.subscriptions import UNPAID
from tenants.domain.terms import Terms
from tenants.domain.tokens import new_token, sha256_of
from tenants.events import billing_handlers
from tenants.usecases.apply_subscription import apply_subscription
from tenants.usecases.claim_payment import SitesWord, claim_payment
from tenants.usecases.free_slug import free_slug
from tenants.usecases.open_paid_tenant import open_paid_tenant
from tenants.usecases.refuse_claim import refuse_claim
from testkit.service import until

from .billing_records import (
    NOW,
    PERIOD_END,
    SubscriptionActivated,
    SubscriptionCancelled,
    SubscriptionChanged,
    SubscriptionPastDue,
    SubscriptionResumed,
    SubscriptionSuspended,
    claim_refused,
    order_failed,
    order_paid,
    plan,
    subscription,
)
from .sign_in_records import PASSWORD, a_member, a_tenant, a_user, an_owner, hash_of, public

GRACE = timedelta(days=3)
TERMS = Terms(
    frontend_url="https://app.example.com",
    admin_email="ops@example.com",
    invitation=timedelta(days=7),
    claim=timedelta(hours=24),
    grace=GRACE,
)


async def jobs(db: Database, template: str | None = None) -> list[dict[str, Any]]:
    """The mail jobs in the outbox, of one template or all."""
    rows = await db.relay.fetch("SELECT body FROM outbox WHERE routing_key = 'mail_queue' ORDER BY created_at, id")
    found = [msgspec.json.decode(row["body"]) for row in rows]
    return [job for job in found if template in (None, job["template"])]


async def told(db: Database, kind: str) -> list[dict[str, Any]]:
    """What was told of that type."""
    rows = await db.relay.fetch("SELECT body FROM outbox WHERE type = $1 ORDER BY created_at, id", kind)
    return [msgspec.json.decode(row["body"])["data"] for row in rows]


async def paid(db: Database, event: OrderPaid) -> None:
    async with platform_transaction(db) as conn:
        await open_paid_tenant(conn, event, terms=TERMS, now=NOW)


async def subscribed(db: Database, event: SubscriptionEvent, version: int | None) -> None:
    async with platform_transaction(db) as conn:
        await apply_subscription(conn, event, version, terms=TERMS, now=NOW)


async def refused(db: Database, event: Any) -> None:
    async with platform_transaction(db) as conn:
        await refuse_claim(conn, event.tenant_id, event.claim_id, event.reason, terms=TERMS, now=NOW)


async def claim(db: Database, session_id: str = "cs_1", email: str = "bia@example.com") -> PaymentClaim:
    word = SitesWord(session_id=session_id, email=email, name="Bia Souza", plan_slug="essencial", amount_cents=1)
    async with platform_transaction(db) as conn:
        made = await claim_payment(conn, word, key_id="key", is_attested=False, caller=Caller(), terms=TERMS, now=NOW)
    assert made is not None
    return made


async def stand(db: Database, tenant_id: UUID) -> dict[str, Any]:
    """How the tenant stands: all that anybody could see of it."""
    async with platform_transaction(db) as conn:
        tenant = await store.tenants.find_tenant(conn, tenant_id)
        people = await store.memberships.list_people(conn, tenant_id, offset=0, limit=50)
        claims = await conn.fetch("SELECT status FROM payment_claims WHERE tenant_id = $1", tenant_id)
    return {
        "tenant": tenant
        and (tenant.status.value, tenant.status_reason, tenant.limits, tenant.plan_slug, tenant.access_until),
        "people": [(one.email, one.role, one.status.value) for one in people],
        "claims": sorted(row["status"] for row in claims),
    }


async def test_a_paid_order_opens_a_tenant_with_its_owner(db: Database) -> None:
    event = order_paid(uuid4())
    await paid(db, event)
    assert await stand(db, event.tenant_id) == {
        "tenant": ("active", None, {"agents": 3}, "essencial", None),
        "people": [("bia@example.com", "owner", "pending")],
        "claims": [],
    }
    [mail] = await jobs(db)
    assert (mail["template"], mail["to"]) == ("account_welcome", {"email": "bia@example.com", "name": "Bia Souza"})
    assert mail["variables"]["brand_name"] == "Bia Souza"
    assert mail["variables"]["valid_days"] == 7
    link = mail["variables"]["link"]
    assert link.startswith("https://app.example.com/reset-password?token=")
    async with platform_transaction(db) as conn:
        digest = sha256_of(link.partition("token=")[2])
        assert await store.links.find_link(conn, digest, PASSWORD_LINKS, NOW + timedelta(days=7)) is None, "late"
        found = await store.links.find_link(conn, digest, PASSWORD_LINKS, NOW + timedelta(days=6, hours=23))
    assert found is not None
    assert (found.purpose, found.tenant_id) == ("set_password", event.tenant_id)
    [created] = await told(db, "tenants.tenant.created.v1")
    assert (created["tenant_id"], created["status"]) == (str(event.tenant_id), "active")
    [owner] = await told(db, "tenants.user.created.v1")
    assert (owner["role"], owner["status"]) == ("owner", "active")


async def test_told_twice_it_happens_once(db: Database) -> None:
    event = order_paid(uuid4())
    await paid(db, event)
    before = await stand(db, event.tenant_id)
    await asyncio.gather(*(paid(db, event) for _ in range(5)))
    assert await stand(db, event.tenant_id) == before
    assert len(await jobs(db)) == 1
    for kind in ("tenants.tenant.created.v1", "tenants.user.created.v1"):
        assert len(await told(db, kind)) == 1
    assert await told(db, "tenants.tenant.updated.v1") == []


async def test_many_orders_of_one_buyer_at_once(db: Database) -> None:
    """Each bought a tenant of its own; the person is one, and gets one welcome mail with the one link that works."""
    events = [order_paid(uuid4()) for _ in range(8)]
    await asyncio.gather(*(paid(db, event) for event in events))
    async with platform_transaction(db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM users") == 1
        assert await conn.fetchval("SELECT count(DISTINCT slug) FROM tenants") == 8
        assert await conn.fetchval("SELECT count(*) FROM memberships WHERE role = 'owner'") == 8
        assert await conn.fetchval("SELECT count(*) FROM one_time_links WHERE used_at IS NULL") == 1
    mails = await jobs(db, "account_welcome")
    async with platform_transaction(db) as conn:
        digests = [sha256_of(mail["variables"]["link"].partition("token=")[2]) for mail in mails]
        good = [await store.links.find_link(conn, digest, PASSWORD_LINKS, NOW) for digest in digests]
    assert [one is not None for one in good] == [True], "no mail whose link another one has made worthless"


async def test_a_claim_is_confirmed_under_its_own_tenant(db: Database) -> None:
    made = await claim(db)
    assert await jobs(db) == []
    event = order_paid(made.tenant_id, claim_id=made.id, buyer_email="other@example.com")
    await paid(db, event)
    assert await stand(db, made.tenant_id) == {
        "tenant": ("active", None, {"agents": 3}, "essencial", None),
        "people": [("bia@example.com", "owner", "pending")],
        "claims": ["confirmed"],
    }
    [mail] = await jobs(db)
    assert (mail["template"], mail["to"]["email"]) == ("account_welcome", "bia@example.com")


async def test_an_order_that_an_open_tenant_makes_changes_only_what_it_may_have(db: Database) -> None:
    user, tenant = await an_owner(db)
    await paid(db, order_paid(tenant.tenant_id, is_new_tenant=False, buyer_email="accountant@example.com"))
    assert await stand(db, tenant.tenant_id) == {
        "tenant": ("active", None, {"agents": 3}, "essencial", None),
        "people": [(user.email, "owner", "active")],
        "claims": [],
    }
    assert await jobs(db) == []
    async with platform_transaction(db) as conn:
        assert await store.users.find_user_by_email(conn, "accountant@example.com") is None


async def test_what_a_tenant_sells_is_none_of_ours(db: Database) -> None:
    tenant_id, subscription_id = uuid4(), uuid4()
    await paid(db, order_paid(tenant_id, sold_by="tenant", buyer_email="patient@example.com"))
    await subscribed(db, subscription(SubscriptionActivated, tenant_id, subscription_id, sold_by="tenant"), 1)
    assert await stand(db, tenant_id) == {"tenant": None, "people": [], "claims": []}
    _, tenant = await an_owner(db)
    ended = subscription(SubscriptionSuspended, tenant.tenant_id, subscription_id, sold_by="tenant")
    await subscribed(db, ended, 2)
    async with platform_transaction(db) as conn:
        assert await store.tenants.get_tenant(conn, tenant.tenant_id) == tenant
        assert await store.subscriptions.list_subscriptions(conn, tenant.tenant_id) == []
    assert await jobs(db) == []


async def test_who_has_an_account_is_given_the_membership_and_no_other_password(db: Database) -> None:
    user = await a_user(db, "bia@example.com")
    event = order_paid(uuid4())
    await paid(db, event)
    assert (await stand(db, event.tenant_id))["people"] == [("bia@example.com", "owner", "active")]
    assert await jobs(db) == []
    async with platform_transaction(db) as conn:
        assert await store.users.get_user(conn, user.id) == user


async def test_who_registered_an_address_that_is_not_theirs_owns_nothing(db: Database) -> None:
    """Somebody wrote the buyer's address down first, with a password and an authenticator of their own."""
    squatter = await a_user(db, "bia@example.com", email_verified_at=None)
    async with platform_transaction(db) as conn:
        await store.totp.put_secret(conn, squatter.id, b"sealed", NOW)
        await store.totp.mark_enabled(conn, squatter.id, NOW)
        verify = new_token()
        await store.sessions.insert_family(conn, uuid4(), squatter.id, None, NOW, NOW + timedelta(days=1))
        await store.links.insert_link(
            conn,
            sha256_of(verify),
            user_id=squatter.id,
            purpose="verify_email",
            tenant_id=None,
            object_id=None,
            now=NOW,
            lifetime=timedelta(days=2),
        )
    event = order_paid(uuid4())
    await paid(db, event)
    async with platform_transaction(db) as conn:
        user = await store.users.get_user(conn, squatter.id)
        assert (user.password_hash, user.status) == (None, UserStatus.PENDING)
        assert user.tokens_valid_from > NOW
        assert not await store.totp.has_second_factor(conn, user.id)
        assert await store.links.find_link(conn, sha256_of(verify), ["verify_email"], NOW) is None
        assert await conn.fetchval("SELECT count(*) FROM refresh_families WHERE revoked_at IS NULL") == 0
    assert (await stand(db, event.tenant_id))["people"] == [("bia@example.com", "owner", "pending")]
    assert len(await jobs(db, "account_welcome")) == 1


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.INACTIVE])
async def test_nobody_shut_out_comes_in_by_paying(db: Database, status: UserStatus) -> None:
    user = await a_user(db, "bia@example.com", status=status, email_verified_at=None)
    event = order_paid(uuid4())
    await paid(db, event)
    assert (await stand(db, event.tenant_id))["people"] == [("bia@example.com", "owner", status.value)]
    async with platform_transaction(db) as conn:
        assert await store.users.get_user(conn, user.id) == user
    [alert] = await jobs(db)
    assert alert["template"] == "admin_alert"


async def test_nobody_shut_out_of_their_tenant_comes_in_by_paying(db: Database) -> None:
    user, tenant = await a_user(db, "bia@example.com"), await a_tenant(db, status=TenantStatus.PENDING)
    await a_member(db, user, tenant, status=MemberStatus.SUSPENDED)
    await paid(db, order_paid(tenant.tenant_id))
    assert (await stand(db, tenant.tenant_id))["people"] == [("bia@example.com", "owner", "suspended")]
    assert [job["template"] for job in await jobs(db)] == ["admin_alert"]


@pytest.mark.parametrize("address", [None, "", "no address", "a@b@c"])
async def test_an_order_without_a_usable_address_opens_its_tenant_and_alerts(db: Database, address: str | None) -> None:
    event = order_paid(uuid4(), buyer_email=address, buyer_name=None)
    await paid(db, event)
    found = await stand(db, event.tenant_id)
    assert (found["tenant"][0], found["people"]) == ("active", [])
    [alert] = await jobs(db)
    assert alert["template"] == "admin_alert"


async def test_a_closed_tenant_stays_closed(db: Database) -> None:
    tenant = await a_tenant(db, status=TenantStatus.CLOSED)
    await paid(db, order_paid(tenant.tenant_id))
    found = await stand(db, tenant.tenant_id)
    assert (found["tenant"][0], found["people"]) == ("closed", [])
    assert [job["template"] for job in await jobs(db)] == ["admin_alert"]


async def test_slugs_are_each_ones_own(db: Database) -> None:
    slugs = []
    for number in range(11):
        event = order_paid(uuid4(), buyer_email=f"b{number}@example.com")
        await paid(db, event)
        async with platform_transaction(db) as conn:
            slugs.append((await store.tenants.get_tenant(conn, event.tenant_id)).slug)
            assert await store.tenants.find_by_name(conn, "slug", slugs[-1]) == event.tenant_id
    assert slugs[:3] == ["bia-souza", "bia-souza-2", "bia-souza-3"]
    assert slugs[8] == "bia-souza-9"
    assert all(len(slug) == len("bia-souza-") + 8 for slug in slugs[9:])
    assert len(set(slugs)) == 11


async def test_a_slug_that_cannot_be_found_is_said_so(db: Database) -> None:
    tenant_id, other = uuid4(), uuid4()
    async with platform_transaction(db) as conn:
        for suffix in ("", *(f"-{number}" for number in range(2, 10)), f"-{tenant_id.hex[-8:]}"):
            await store.tenants.claim_name(conn, other, "slug", f"acme{suffix}")
        with pytest.raises(Conflict):
            await free_slug(conn, tenant_id, "Acme")


async def test_an_order_of_a_claim_that_is_not_ours_opens_its_tenant_all_the_same(db: Database) -> None:
    event = order_paid(uuid4(), claim_id=uuid4())
    await paid(db, event)
    found = await stand(db, event.tenant_id)
    assert (found["tenant"][0], found["people"]) == ("active", [("bia@example.com", "owner", "pending")])


async def test_a_claim_that_does_not_hold_is_refused_and_its_tenant_closed(db: Database) -> None:
    made = await claim(db)
    await refused(db, claim_refused(made.tenant_id, made.id))
    found = await stand(db, made.tenant_id)
    assert (found["tenant"][:2], found["claims"]) == (("closed", PAYMENT_REFUSED), ["refused"])
    assert found["people"] == [("bia@example.com", "owner", "pending")]
    [alert] = await jobs(db)
    assert alert["template"] == "admin_alert"
    await refused(db, claim_refused(made.tenant_id, made.id))
    await refused(db, claim_refused(made.tenant_id, uuid4()))
    await refused(db, claim_refused(uuid4(), made.id))
    assert len(await jobs(db)) == 1
    assert len(await told(db, "tenants.tenant.closed.v1")) == 1


async def test_a_tenant_that_another_claim_holds_goes_on_waiting(db: Database) -> None:
    first, second = await claim(db), await claim(db, "cs_2")
    assert first.tenant_id == second.tenant_id
    await refused(db, claim_refused(first.tenant_id, first.id))
    found = await stand(db, first.tenant_id)
    assert (found["tenant"][0], found["claims"]) == ("pending", ["pending", "refused"])
    await refused(db, order_failed(first.tenant_id, claim_id=second.id))
    assert (await stand(db, first.tenant_id))["tenant"][0] == "closed"


async def test_a_refused_claim_takes_nothing_from_an_open_tenant(db: Database) -> None:
    _, tenant = await an_owner(db, "bia@example.com")
    made = await claim(db)
    assert made.tenant_id == tenant.tenant_id
    await refused(db, claim_refused(made.tenant_id, made.id))
    found = await stand(db, made.tenant_id)
    assert (found["tenant"][0], found["claims"]) == ("active", ["refused"])


async def test_money_that_comes_late_still_opens(db: Database) -> None:
    made = await claim(db)
    await refused(db, claim_refused(made.tenant_id, made.id))
    await paid(db, order_paid(made.tenant_id, claim_id=made.id))
    assert await stand(db, made.tenant_id) == {
        "tenant": ("active", None, {"agents": 3}, "essencial", None),
        "people": [("bia@example.com", "owner", "pending")],
        "claims": ["confirmed"],
    }
    assert len(await jobs(db, "account_welcome")) == 1


async def test_the_life_of_a_subscription(db: Database) -> None:
    order = order_paid(uuid4())
    tenant_id, which = order.tenant_id, order.subscription_id
    assert which is not None
    await paid(db, order)
    steps: list[tuple[SubscriptionEvent, Any]] = [
        (subscription(SubscriptionActivated, tenant_id, which), ({"agents": 3}, "essencial", None)),
        (
            subscription(SubscriptionChanged, tenant_id, which, plan=plan("pro", agents=9)),
            ({"agents": 9}, "pro", None),
        ),
        (
            subscription(SubscriptionPastDue, tenant_id, which, plan=plan("pro", agents=9)),
            ({"agents": 9}, "pro", None),
        ),
        (
            subscription(SubscriptionSuspended, tenant_id, which, plan=plan("pro", agents=9)),
            ({"agents": 9}, "pro", NOW + GRACE),
        ),
        (
            subscription(SubscriptionResumed, tenant_id, which, plan=plan("pro", agents=9)),
            ({"agents": 9}, "pro", None),
        ),
        (
            subscription(SubscriptionCancelled, tenant_id, which, plan=plan("pro", agents=9)),
            ({"agents": 9}, "pro", PERIOD_END + GRACE),
        ),
    ]
    for version, (event, expected) in enumerate(steps, 1):
        await subscribed(db, event, version)
        found = (await stand(db, tenant_id))["tenant"]
        assert found[2:] == expected, event
        assert found[0] == "active"


async def test_an_unpaid_tenant_opens_when_it_pays_and_a_banned_one_does_not(db: Database) -> None:
    for reason, status in ((UNPAID, "active"), ("abuse", "suspended")):
        tenant = await a_tenant(db, reason, status=TenantStatus.SUSPENDED)
        async with platform_transaction(db) as conn:
            locked = msgspec.structs.replace(tenant, status_reason=reason, access_until=NOW)
            await store.tenants.update_tenant(conn, tenant.tenant_id, locked)
        await subscribed(db, subscription(SubscriptionResumed, tenant.tenant_id, uuid4()), 4)
        found = (await stand(db, tenant.tenant_id))["tenant"]
        assert (found[0], found[4]) == (status, None)
    assert len(await told(db, "tenants.tenant.reactivated.v1")) == 1


def the_history(tenant_id: UUID, which: UUID, claim_id: UUID) -> list[tuple[Any, int | None]]:
    """A claim refused, then paid; the subscription suspended, resumed dearer, and ended: what is told, in order."""
    dearer = plan("pro", agents=9)
    return [
        (claim_refused(tenant_id, claim_id), None),
        (order_paid(tenant_id, claim_id=claim_id, subscription_id=which), None),
        (subscription(SubscriptionActivated, tenant_id, which), 1),
        (subscription(SubscriptionSuspended, tenant_id, which, occurred_at=NOW + timedelta(days=9)), 3),
        (subscription(SubscriptionResumed, tenant_id, which, plan=dearer), 4),
        (subscription(SubscriptionCancelled, tenant_id, which, plan=dearer), 5),
    ]


async def take(db: Database, event: Any, version: int | None) -> None:
    if isinstance(event, OrderPaid):
        await paid(db, event)
    elif isinstance(event, SubscriptionEvent):
        await subscribed(db, event, version)
    else:
        await refused(db, event)


async def test_in_whatever_order_the_events_come_the_end_is_the_same(db: Database) -> None:
    """F14: every sixth of the 720 orders of six events, each event twice in every other one."""
    ends = []
    for number, order in enumerate(itertools.permutations(range(6))):
        if number % 6:
            continue
        made = await claim(db, f"cs_{number}", f"b{number}@example.com")
        history = the_history(made.tenant_id, uuid4(), made.id)
        for step in order:
            for _ in range(1 + number % 2):
                await take(db, *history[step])
        found = await stand(db, made.tenant_id)
        found["people"] = [(role, status) for _, role, status in found["people"]]
        ends.append((order, found))
    expected = {
        "tenant": ("active", None, {"agents": 9}, "pro", PERIOD_END + GRACE),
        "people": [("owner", "pending")],
        "claims": ["confirmed"],
    }
    assert [(order, end) for order, end in ends if end != expected] == []
    assert len(ends) == 120
    assert len(await jobs(db, "account_welcome")) == 120, "one each"


async def test_a_subscription_that_is_told_before_its_tenant_counts_when_it_comes(db: Database) -> None:
    order = order_paid(uuid4())
    assert order.subscription_id is not None
    dearer = subscription(SubscriptionChanged, order.tenant_id, order.subscription_id, plan=plan("pro", agents=9))
    await asyncio.gather(subscribed(db, dearer, 2), paid(db, order), subscribed(db, dearer, 2))
    assert (await stand(db, order.tenant_id))["tenant"] == ("active", None, {"agents": 9}, "pro", None)


async def test_what_billing_says_of_failures_reaches_the_claim_that_it_is_about(start: Any) -> None:
    tenants = await start()
    by_type = {event_type(handler.event): handler.fn for handler in billing_handlers(TERMS)(tenants.runtime)}
    assert len(by_type) == 9

    async def hear(event: Event) -> None:
        async with platform_transaction(tenants.db) as conn:
            await by_type[event_type(event)](conn, event, envelope_of(event))

    first, second = await claim(tenants.db), await claim(tenants.db, "cs_2", "caio@example.com")
    await hear(order_failed(first.tenant_id))
    await hear(order_failed(first.tenant_id, claim_id=first.id, sold_by="tenant"))
    assert (await stand(tenants.db, first.tenant_id))["claims"] == ["pending"], "no claim of ours is meant"
    await hear(order_failed(first.tenant_id, claim_id=first.id))
    await hear(claim_refused(second.tenant_id, second.id))
    for made in (first, second):
        found = await stand(tenants.db, made.tenant_id)
        assert (found["tenant"][0], found["claims"]) == ("closed", ["refused"])


async def test_a_refusal_in_the_words_of_before_is_no_riddle_to_whoever_finds_it_dead(start: Any) -> None:
    """Refused claims were told by an event of their own once; one may be in the queue when the services change."""
    tenants = await start()
    handlers = billing_handlers(TERMS)(tenants.runtime)
    consumer = event_consumer("tenants", handlers, lambda _: platform_transaction(tenants.db))
    made = await claim(tenants.db)
    told = msgspec.json.decode(on_the_wire(claim_refused(made.tenant_id, made.id), made.tenant_id, None).body)
    told["type"] = told["data"]["type"] = "billing.claim.refused.v1"
    message = Incoming(queue="tenants", body=msgspec.json.encode(told), delivery_tag=1, key=b"k")
    with pytest.raises(Malformed, match=r"does not take events of type 'billing\.claim\.refused\.v1'"):
        await consumer.handle([message])
    assert "billing.claim.refused.v1" not in consumer.event_types


def envelope_of(event: Event) -> Envelope:
    return decode_envelope(on_the_wire(event, uuid4(), None).body)


def on_the_wire(event: Event, tenant_id: UUID, version: int | None) -> aio_pika.Message:
    body = encode_event(
        event, event_id=uuid4(), tenant_id=tenant_id, subject=None, time=NOW, traceparent=None, source="/billing"
    )
    return aio_pika.Message(body, headers={} if version is None else {"x-version": version})


async def is_consumed(connection: Any, queue: str) -> bool:
    """Whether somebody consumes the queue; looking for one that is not there yet costs the channel."""
    channel = await connection.channel()
    try:
        declared = await channel.declare_queue(queue, passive=True)
        return bool(declared.declaration_result.consumer_count)
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return False
    finally:
        if not channel.is_closed:
            await channel.close()


async def test_from_payment_to_the_first_sign_in_over_the_broker(start: Any, amqp_url: str) -> None:
    """Everything delivered twice and out of order: one tenant, one owner, one mail, and its link lets them in."""
    tenants = await start(FRONTEND_URL="https://app.example.com/")
    order = order_paid(uuid4())
    tenant_id, which = order.tenant_id, order.subscription_id
    assert which is not None
    events: list[tuple[Event, int | None]] = [
        (subscription(SubscriptionChanged, tenant_id, which, plan=plan("pro", agents=9)), 2),
        (order, 3),
        (subscription(SubscriptionActivated, tenant_id, which), 1),
    ]
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await until(lambda: is_consumed(connection, "tenants"), timeout_s=30)
        exchange = await channel.get_exchange("billing.events", ensure=False)
        for event, version in events:
            message = on_the_wire(event, tenant_id, version)
            await exchange.publish(message, event_type(event))
            await exchange.publish(message, event_type(event))

    async def settled() -> bool:
        found = await stand(tenants.db, tenant_id)
        return found["tenant"] == ("active", None, {"agents": 9}, "pro", None) and bool(found["people"])

    await until(settled, timeout_s=30)
    [mail] = await jobs(tenants.db, "account_welcome")
    link = mail["variables"]["link"]
    assert link.startswith("https://app.example.com/reset-password?token=")
    token = link.partition("token=")[2]
    chosen = await public(tenants, "/auth/reset-password", {"token": token, "password": PASSWORD})
    assert chosen.status_code == 200, chosen.text
    signed_in = await public(tenants, "/auth/login", {"email": "bia@example.com", "password": PASSWORD})
    assert signed_in.status_code == 200, signed_in.text
    assert signed_in.json()["data"]["user"]["tenantId"] == str(tenant_id)


async def test_a_password_that_is_chosen_stays_whatever_is_told_again(db: Database) -> None:
    order = order_paid(uuid4())
    await paid(db, order)
    async with platform_transaction(db) as conn:
        user = await store.users.find_user_by_email(conn, "bia@example.com")
        assert user is not None
        chosen = msgspec.structs.replace(
            user, password_hash=hash_of(PASSWORD), status=UserStatus.ACTIVE, email_verified_at=NOW
        )
        await store.users.update_user(conn, chosen)
    await paid(db, order)
    await paid(db, order_paid(uuid4()))
    async with platform_transaction(db) as conn:
        assert await store.users.get_user(conn, user.id) == chosen
    assert len(await jobs(db, "account_welcome")) == 1


async def test_an_expired_claim_is_confirmed_by_late_money(db: Database) -> None:
    made = await claim(db)
    async with platform_transaction(db) as conn:
        expired = msgspec.structs.replace(made, status=ClaimStatus.EXPIRED, ended_at=NOW)
        await store.claims.update_claim(conn, made.tenant_id, expired)
    await paid(db, order_paid(made.tenant_id, claim_id=made.id))
    found = await stand(db, made.tenant_id)
    assert (found["tenant"][0], found["claims"]) == ("active", ["confirmed"])
