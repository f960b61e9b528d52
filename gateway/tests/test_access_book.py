"""What the edge knows: the snapshot of a tenants service, kept up by events over the real broker, within 2 seconds."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from bus.connection import Broker
from bus.envelope import decode_envelope, encode_event
from bus.messages import Outgoing
from contracts.errors import Forbidden, TooManyRequests, Unauthenticated, Unavailable
from contracts.event import Event, event_type
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import (
    AccessSnapshot,
    ApiKeyCreated,
    ApiKeyFact,
    ApiKeyRevoked,
    RoleChanged,
    RoleFact,
    SubjectFact,
    TenantReactivated,
    TenantSuspended,
    UserDisabled,
    UserUpdated,
)
from gateway.access_book import AccessBook
from testkit.embedded.broker import EmbeddedBroker

from .support import OTHER_TENANT, TENANT, Gateway, Seen, Service, bearer, token
from .test_access import identity

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
KEY = "nxs_" + "a1" * 32
HERE = UUID(TENANT)
Launch = Callable[..., Awaitable[Gateway]]


def key_fact(text: str = KEY, **fields: Any) -> ApiKeyFact:
    values: dict[str, Any] = {
        "key_id": uuid4(),
        "tenant_id": HERE,
        "key_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "scopes": ("read",),
        "permissions": ("emails:read",),
        "allowed_ips": (),
        "rate_limit": 1000,
        "expires_at": None,
    }
    return ApiKeyFact(**values | fields)


def snapshot(**fields: Any) -> AccessSnapshot:
    roles = (
        RoleFact(tenant_id=PLATFORM_TENANT_ID, role="owner", permissions=("emails:read", "users:read")),
        RoleFact(tenant_id=PLATFORM_TENANT_ID, role="user", permissions=()),
    )
    values: dict[str, Any] = {"taken_at": NOW, "roles": roles, "api_keys": (), "subjects": (), "closed_tenants": ()}
    return AccessSnapshot(**values | fields)


def told(event: Event) -> Outgoing:
    body = encode_event(
        event, event_id=uuid4(), tenant_id=None, subject=None, time=NOW, traceparent=None, source="/tenants"
    )
    return Outgoing(exchange="tenants.events", routing_key=event_type(event), body=body)


def apply(book: AccessBook, event: Event) -> None:
    book.apply(decode_envelope(told(event).body))


def user_event(kind: type[UserUpdated] | type[UserDisabled], **fields: Any) -> UserUpdated | UserDisabled:
    values: dict[str, Any] = {
        "tenant_id": HERE,
        "user_id": UUID(int=7),
        "email": "ana@example.com",
        "name": "Ana",
        "role": "user",
        "status": "active",
        "tokens_valid_from": NOW,
        "occurred_at": NOW,
    }
    return kind(**values | fields)


def test_roles_are_the_tenants_own_before_the_defaults() -> None:
    book = AccessBook(expects_snapshot=True)
    own = RoleFact(tenant_id=HERE, role="owner", permissions=("audit:read",))
    book.load(snapshot(roles=(*snapshot().roles, own)))
    assert book.permissions(HERE, ["owner"], []) == {"audit:read"}
    assert book.permissions(UUID(OTHER_TENANT), ["owner"], []) == {"emails:read", "users:read"}
    assert book.permissions(HERE, ["nobody"], ["emails:read", "payments:claim", "made:up"]) == {"emails:read"}
    apply(book, RoleChanged(tenant_id=HERE, role="owner", permissions=None, occurred_at=NOW))
    assert book.permissions(HERE, ["owner"], []) == {"emails:read", "users:read"}


def test_a_key_opens_what_it_may_from_where_until_when_and_no_oftener() -> None:
    book = AccessBook(expects_snapshot=True)
    with pytest.raises(Unavailable):
        book.key(KEY.encode())
    fact = key_fact(
        permissions=("emails:read", "payments:claim", "made:up"),
        allowed_ips=("192.0.2.0/24", "2001:db8::/32"),
        expires_at=NOW + timedelta(hours=1),
        rate_limit=3,
    )
    book.load(snapshot(api_keys=(fact,)))
    with pytest.raises(Unauthenticated):
        book.key(b"nxs_" + b"b2" * 32)
    key = book.key(KEY.encode())
    assert key.permissions == {"emails:read", "payments:claim"}
    now_s = NOW.timestamp()
    with pytest.raises(Forbidden):
        key.admit("192.0.3.1", now_s)
    with pytest.raises(Unauthenticated):
        key.admit("192.0.2.1", now_s + 3600)
    for _ in range(3):
        key.admit("2001:db8::9", now_s)
    with pytest.raises(TooManyRequests):
        key.admit("192.0.2.1", now_s)
    assert book.take_uses() == {str(fact.key_id): 3}
    assert book.take_uses() == {}
    book.load(snapshot(api_keys=(fact,)))
    with pytest.raises(TooManyRequests):  # a snapshot gives no new allowance
        book.key(KEY.encode()).admit("192.0.2.1", now_s)
    apply(book, ApiKeyRevoked(key_id=fact.key_id, tenant_id=HERE, key_sha256=fact.key_sha256, occurred_at=NOW))
    with pytest.raises(Unauthenticated):
        book.key(KEY.encode())


def test_whoever_changes_a_key_gets_no_new_allowance_by_it() -> None:
    book = AccessBook(expects_snapshot=True)
    fact = key_fact(rate_limit=2)
    book.load(snapshot(api_keys=(fact,)))
    for _ in range(2):
        book.key(KEY.encode()).admit("203.0.113.9", 0)
    wider = msgspec.structs.replace(fact, permissions=("emails:read", "users:read"))
    apply(book, ApiKeyCreated(key=wider, occurred_at=NOW))
    with pytest.raises(TooManyRequests):
        book.key(KEY.encode()).admit("203.0.113.9", 0)
    book.load(snapshot(api_keys=(fact,)))
    with pytest.raises(TooManyRequests):
        book.key(KEY.encode()).admit("203.0.113.9", 0)
    apply(book, ApiKeyCreated(key=msgspec.structs.replace(fact, rate_limit=3), occurred_at=NOW))
    book.key(KEY.encode()).admit("203.0.113.9", 0)  # another limit is another one


def test_called_back_tokens_and_closed_tenants() -> None:
    book = AccessBook(expects_snapshot=True)
    subject, issued = str(UUID(int=7)), int(NOW.timestamp())
    fact = SubjectFact(user_id=UUID(int=7), tenant_id=None, valid_from=NOW, is_disabled=False)
    book.load(snapshot(subjects=(fact,)))
    book.check_subject(subject, HERE, issued)
    book.check_subject("somebody-else", HERE, issued - 9)
    with pytest.raises(Unauthenticated):
        book.check_subject(subject, HERE, issued - 1)
    apply(book, user_event(UserDisabled, status="suspended"))
    with pytest.raises(Unauthenticated):
        book.check_subject(subject, HERE, issued)
    book.check_subject(subject, UUID(OTHER_TENANT), issued)
    apply(book, user_event(UserUpdated, tokens_valid_from=NOW + timedelta(seconds=5)))
    with pytest.raises(Unauthenticated):
        book.check_subject(subject, HERE, issued + 4)
    book.check_subject(subject, HERE, issued + 5)
    facts: dict[str, Any] = {"tenant_id": HERE, "name": "x", "slug": "x", "occurred_at": NOW}
    apply(book, TenantSuspended(**facts, status="suspended", reason="unpaid"))
    with pytest.raises(Forbidden):
        book.check_subject(subject, HERE, issued + 5)
    apply(book, TenantReactivated(**facts, status="active"))
    book.check_subject(subject, HERE, issued + 5)


def test_somebody_who_is_shut_out_everywhere_is_out_of_tenants_that_nobody_named() -> None:
    """Also by a token without `iat`, which no time calls back: the Go core's."""
    book = AccessBook(expects_snapshot=True)
    book.load(snapshot())
    subject, issued = str(UUID(int=7)), int(NOW.timestamp())
    everywhere: dict[str, Any] = {"tenant_id": PLATFORM_TENANT_ID, "tokens_valid_from": NOW}
    apply(book, user_event(UserDisabled, **everywhere, status="suspended"))
    apply(book, user_event(UserUpdated))  # a tenant's own word about its member does not let them in again
    for tenant in (HERE, UUID(OTHER_TENANT), None):
        for issued_at in (issued + 9, None):
            with pytest.raises(Unauthenticated):
                book.check_subject(subject, tenant, issued_at)
    apply(book, user_event(UserUpdated, **everywhere, status="active"))
    for tenant in (HERE, UUID(OTHER_TENANT), None):
        book.check_subject(subject, tenant, None)
    apply(book, user_event(UserDisabled, status="inactive"))
    with pytest.raises(Unauthenticated):
        book.check_subject(subject, HERE, issued)
    apply(book, user_event(UserUpdated, **everywhere, status="active"))
    with pytest.raises(Unauthenticated):
        book.check_subject(subject, HERE, issued)


class TenantsService:
    """Answers the snapshot and takes uses, as the tenants service does; records who asked."""

    def __init__(self) -> None:
        self.snapshot = snapshot()
        self.uses: list[Any] = []
        self.service = Service(self._answer)

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = b"{}"
        if seen.target == "/internal/access-snapshot":
            assert identity(seen, "tenants")["kind"] == "gateway"
            body = msgspec.json.encode(self.snapshot)
        elif seen.target == "/internal/api-key-uses":
            self.uses.append(json.loads(seen.body))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        return True


@pytest.fixture
async def tenants() -> AsyncIterator[TenantsService]:
    service = TenantsService()
    await service.service.start()
    yield service
    await service.service.stop()


async def becomes(condition: Callable[[], Awaitable[bool]], *, within_s: float = 10.0) -> float:
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < within_s, "it did not happen in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def ready(gateway: Gateway) -> bool:
    return (await gateway.get("/health/ready")).status == 200


async def test_it_is_not_ready_without_its_snapshot_and_refuses_keys(
    launch: Launch, service: Service, broker_url: str
) -> None:
    async def away(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        return True

    sick = await Service(away).start()
    gateway = await launch(upstream_tenants=sick.url, upstream_mailer=service.url, amqp_url=broker_url)
    answer = await gateway.get("/health/ready")
    assert (answer.status, b"no snapshot yet" in answer.body) == (503, True)
    assert (await gateway.get("/health/live")).status == 200
    refused = await gateway.get("/emails", {"X-API-Key": KEY})
    assert (refused.status, json.loads(refused.body)["code"]) == (503, "keys_not_loaded")
    await sick.stop()


async def test_a_key_opens_its_routes_and_is_never_taken_from_the_query(
    launch: Launch, service: Service, tenants: TenantsService, broker_url: str
) -> None:
    platform = key_fact("k" * 40, tenant_id=PLATFORM_TENANT_ID, permissions=("payments:claim",))
    tenants.snapshot = snapshot(api_keys=(key_fact(), platform))
    gateway = await launch(upstream_tenants=tenants.service.url, upstream_mailer=service.url, amqp_url=broker_url)
    await becomes(lambda: ready(gateway))
    for headers in ({"X-API-Key": KEY}, bearer(KEY)):
        assert (await gateway.get("/emails", headers)).status == 200
        claims = identity(service.seen[-1], "mailer")
        assert (claims["kind"], claims["tenant"], claims["permissions"]) == ("api_key", TENANT, ["emails:read"])
        assert not service.seen[-1].values("authorization") + service.seen[-1].values("x-api-key")
    assert (await gateway.get("/emails", {"X-API-Key": KEY, "x-tenant-id": OTHER_TENANT})).status == 403
    assert (await gateway.get("/suppressions", {"X-API-Key": KEY})).status == 403  # no permission
    assert (await gateway.get("/me", {"X-API-Key": KEY})).status == 403  # for people
    assert (await gateway.get("/admin/tenants", {"X-API-Key": KEY})).status == 403
    for path in (f"/emails?api_key={KEY}", f"/emails?x-api-key={KEY}"):
        assert (await gateway.get(path)).status == 401
    assert (await gateway.get("/emails", {"X-API-Key": "nxs_" + "c3" * 32})).status == 401
    assert (await gateway.get("/emails", {"X-API-Key": KEY} | bearer(token()))).status == 401
    claim = "/users/external/create-from-payment"
    for headers in ({}, {"Cookie": f"jwt={token()}"}, {"X-API-Key": ""}, bearer(""), bearer(token())):
        assert (await gateway.request("POST", claim, headers, b"{}")).status == 401
    answer = await gateway.request("POST", claim, bearer("k" * 40), b"{}")
    assert answer.status == 200
    claims = identity(tenants.service.seen[-1], "tenants")
    assert (claims["kind"], claims["tenant"], claims["permissions"]) == ("api_key", None, ["payments:claim"])


async def test_a_keys_addresses_and_its_hourly_limit_hold_over_http(
    launch: Launch, service: Service, tenants: TenantsService, broker_url: str
) -> None:
    """2.2, item 25: the seed looked for the address anywhere in X-Forwarded-For, and its limit always said yes."""
    names = {network: f"nxs_{number:064x}" for number, network in enumerate(("192.0.2.0/24", "27.0.0.1", "127.0.0.1"))}
    facts = [key_fact(text, allowed_ips=(network,), rate_limit=20) for network, text in names.items()]
    tenants.snapshot = snapshot(api_keys=tuple(facts))
    gateway = await launch(upstream_tenants=tenants.service.url, upstream_mailer=service.url, amqp_url=broker_url)
    await becomes(lambda: ready(gateway))
    forged = ("192.0.2.1", "192.0.2.1, 10.0.0.1", "10.0.0.1, 192.0.2.1", "127.0.0.1192.0.2.1", "for=192.0.2.1", "")
    for network in ("192.0.2.0/24", "27.0.0.1"):
        for name in ("X-Forwarded-For", "x-forwarded-for", "X-Real-IP", "Forwarded", "X_Forwarded_For", "Client-IP"):
            for value in forged:
                answer = await gateway.get("/emails", {"X-API-Key": names[network], name: value})
                assert (answer.status, json.loads(answer.body)["code"]) == (403, "address_not_allowed"), (name, value)
    assert not service.seen
    headers = ({"X-API-Key": names["127.0.0.1"]}, {"X-Api-Key": names["127.0.0.1"]}, bearer(names["127.0.0.1"]))
    ways = (("GET", "/emails"), ("HEAD", "/api/emails"), ("GET", "/emails?x=1"))
    answers = await asyncio.gather(
        *(gateway.request(*ways[n % 3], {**headers[n // 3 % 3], "X-Forwarded-For": f"10.0.0.{n}"}) for n in range(100))
    )
    statuses = [answer.status for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (20, 80), "whoever was refused for the address had not used it"


async def test_changes_take_effect_within_two_seconds(
    launch: Launch, service: Service, tenants: TenantsService, broker_url: str
) -> None:
    tenants.snapshot = snapshot(api_keys=(key_fact(),))
    gateway = await launch(upstream_tenants=tenants.service.url, upstream_mailer=service.url, amqp_url=broker_url)
    await becomes(lambda: ready(gateway))
    broker = Broker(broker_url)
    await broker.start()
    ana = token(sub=str(UUID(int=7)), role="owner", iat=int(time.time()) - 60)
    assert (await gateway.get("/emails", bearer(ana))).status == 200

    def answers(headers: dict[str, str], status: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return (await gateway.get("/emails", headers)).status == status

        return check

    async def takes(event: Event, headers: dict[str, str], status: int) -> None:
        await broker.publish(told(event))
        assert await becomes(answers(headers, status)) < 2.0, event

    now = datetime.now(UTC)
    role: dict[str, Any] = {"tenant_id": PLATFORM_TENANT_ID, "role": "owner", "occurred_at": now}
    await takes(RoleChanged(**role, permissions=()), bearer(ana), 403)
    await takes(RoleChanged(**role, permissions=("emails:read",)), bearer(ana), 200)
    fact = key_fact("nxs_" + "d4" * 32)
    await takes(ApiKeyCreated(key=fact, occurred_at=now), {"X-API-Key": "nxs_" + "d4" * 32}, 200)
    gone = ApiKeyRevoked(key_id=fact.key_id, tenant_id=HERE, key_sha256=fact.key_sha256, occurred_at=now)
    await takes(gone, {"X-API-Key": "nxs_" + "d4" * 32}, 401)
    facts: dict[str, Any] = {"tenant_id": HERE, "name": "x", "slug": "x", "occurred_at": now}
    await takes(TenantSuspended(**facts, status="suspended", reason="unpaid"), bearer(ana), 403)
    await takes(TenantReactivated(**facts, status="active"), bearer(ana), 200)
    await takes(user_event(UserDisabled, status="suspended", tokens_valid_from=now), bearer(ana), 401)
    await broker.close()


async def test_without_a_broker_revocations_come_by_asking(
    launch: Launch, service: Service, tenants: TenantsService, private_broker: EmbeddedBroker
) -> None:
    tenants.snapshot = snapshot(api_keys=(key_fact(),))
    gateway = await launch(
        upstream_tenants=tenants.service.url, upstream_mailer=service.url, amqp_url=private_broker.url
    )
    await becomes(lambda: ready(gateway))
    assert (await gateway.get("/emails", {"X-API-Key": KEY})).status == 200
    await asyncio.to_thread(private_broker.crash)
    tenants.snapshot = snapshot()

    async def refused() -> bool:
        return (await gateway.get("/emails", {"X-API-Key": KEY})).status == 401

    assert await becomes(refused, within_s=20) < 12.0

    async def reported() -> bool:
        return bool(tenants.uses)

    await becomes(reported)


async def test_a_role_in_another_tenant_is_that_tenants(
    launch: Launch, service: Service, tenants: TenantsService, broker_url: str
) -> None:
    """A token for two tenants: what its role allows is looked up in the one that the request selects."""
    own = RoleFact(tenant_id=UUID(OTHER_TENANT), role="owner", permissions=())
    tenants.snapshot = snapshot(roles=(*snapshot().roles, own))
    gateway = await launch(upstream_tenants=tenants.service.url, upstream_mailer=service.url, amqp_url=broker_url)
    await becomes(lambda: ready(gateway))
    both = bearer(token(tenants=[TENANT, OTHER_TENANT]))
    assert (await gateway.get("/emails", both)).status == 200
    assert (await gateway.get("/emails", both | {"x-tenant-id": OTHER_TENANT})).status == 403
