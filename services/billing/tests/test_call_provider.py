"""A provider is asked once, by one at a time, with what was asked the first time; a lost answer stays open."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
import pytest

from billing import store
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.providers import (
    NotAtProvider,
    Provider,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnknown,
)
from billing.store.provider_calls import ProviderCall
from billing.usecases.call_provider import call_provider
from chassis.clock import utc_now
from chassis.db import Database, transaction
from contracts.errors import BadGateway, ServiceError


class Wanted(msgspec.Struct, frozen=True):
    amount_cents: int


class Given(msgspec.Struct, frozen=True):
    external_id: str


async def call(
    db: Database, tenant: UUID, ask: Callable[[Wanted, str], Awaitable[Given]], amount_cents: int = 10, key: str = "k-1"
) -> Given:
    return await call_provider(
        db,
        tenant,
        provider=Provider.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        operation="create",
        key=key,
        params=Wanted(amount_cents),
        ask=ask,
        answer=Given,
        clock=utc_now,
    )


async def stored(db: Database, tenant: UUID, key: str = "k-1") -> ProviderCall:
    async with transaction(db, tenant) as conn:
        found = await store.provider_calls.find_call(conn, tenant, "stripe", key)
    assert found is not None
    return found


async def test_the_first_answer_is_everybodys(db: Database, tenant: UUID) -> None:
    asked: list[tuple[Wanted, str]] = []

    async def ask(params: Wanted, key: str) -> Given:
        asked.append((params, key))
        return Given(f"made for {params.amount_cents}")

    assert await call(db, tenant, ask) == Given("made for 10")
    assert await call(db, tenant, ask, amount_cents=99) == Given("made for 10")
    assert asked == [(Wanted(10), "k-1")]
    assert (await stored(db, tenant)).attempts == 1


async def test_fifty_at_once_ask_one_at_a_time_and_once(db: Database, tenant: UUID) -> None:
    asked = under_way = most = 0

    async def ask(params: Wanted, key: str) -> Given:
        nonlocal asked, under_way, most
        asked, under_way = asked + 1, under_way + 1
        most = max(most, under_way)
        await asyncio.sleep(0.3)
        under_way -= 1
        return Given("one")

    answers = await asyncio.gather(*(call(db, tenant, ask) for _ in range(50)))
    assert set(answers) == {Given("one")}
    assert (asked, most) == (1, 1)


async def test_who_waits_too_long_is_told_so(db: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.usecases.call_provider._WAIT_S", 0.3)
    begun, end = asyncio.Event(), asyncio.Event()

    async def ask(params: Wanted, key: str) -> Given:
        begun.set()
        await end.wait()
        return Given("one")

    first = asyncio.create_task(call(db, tenant, ask))
    await begun.wait()
    with pytest.raises(ProviderUnavailable) as refusal:
        await call(db, tenant, ask)
    assert refusal.value.code == "request_in_flight"
    end.set()
    assert await first == Given("one")


async def test_a_call_whose_process_died_is_free_after_its_lease(db: Database, tenant: UUID) -> None:
    async def die(params: Wanted, key: str) -> Given:
        raise asyncio.CancelledError

    async def ask(params: Wanted, key: str) -> Given:
        return Given("one")

    with pytest.raises(asyncio.CancelledError):
        await call(db, tenant, die)
    async with transaction(db, tenant) as conn:
        found = await stored(db, tenant)
        assert await store.provider_calls.claim_call(conn, tenant, found.id, lease_s=1) is None
        await conn.execute("UPDATE provider_calls SET lease_until = now() - interval '1 second'")
    assert await call(db, tenant, ask) == Given("one")
    async with transaction(db, tenant) as conn:
        assert await store.provider_calls.claim_call(conn, tenant, found.id, lease_s=1) is None, "it has ended"


@pytest.mark.parametrize(
    ("failures", "raised", "status"),
    [
        ([ProviderUnavailable("away")], ProviderUnavailable, "planned"),
        ([ProviderUnknown("lost")], ProviderUnknown, "unknown"),
        ([ProviderUnknown("lost"), ProviderUnavailable("away")], ProviderUnknown, "unknown"),
        ([ProviderMisconfigured("no key")], ProviderMisconfigured, "planned"),
        ([BadGateway("unreadable")], BadGateway, "unknown"),
    ],
)
async def test_a_failure_leaves_the_call_open(
    db: Database, tenant: UUID, failures: list[ServiceError], raised: type[ServiceError], status: str
) -> None:
    tries = 0

    async def fail(params: Wanted, key: str) -> Given:
        nonlocal tries
        tries += 1
        raise failures[min(tries, len(failures)) - 1]

    async def ask(params: Wanted, key: str) -> Given:
        return Given("after all")

    with pytest.raises(raised):
        await call(db, tenant, fail)
    assert tries == (3 if raised in (ProviderUnavailable, ProviderUnknown) else 1)
    assert (await stored(db, tenant)).status == status
    assert await call(db, tenant, ask) == Given("after all")


async def test_what_was_once_unknown_is_never_called_planned_again(db: Database, tenant: UUID) -> None:
    async def lose(params: Wanted, key: str) -> Given:
        raise ProviderUnknown("lost")

    async def fail(params: Wanted, key: str) -> Given:
        raise ProviderUnavailable("away")

    with pytest.raises(ProviderUnknown):
        await call(db, tenant, lose)
    with pytest.raises(ProviderUnavailable):
        await call(db, tenant, fail)
    assert (await stored(db, tenant)).status == "unknown"


@pytest.mark.parametrize("refusal", [ProviderRefused("no"), NotAtProvider("no")])
async def test_a_refusal_is_kept(db: Database, tenant: UUID, refusal: Exception) -> None:
    tries = 0

    async def refuse(params: Wanted, key: str) -> Given:
        nonlocal tries
        tries += 1
        raise refusal

    for _ in range(2):
        with pytest.raises(ProviderRefused, match="no"):
            await call(db, tenant, refuse)
    assert tries == 1


async def test_a_provider_that_does_not_end_is_left(
    db: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.usecases.call_provider._TRY_S", 0.05)

    async def hang(params: Wanted, key: str) -> Given:
        await asyncio.sleep(60)
        return Given("never")

    with pytest.raises(ProviderUnknown, match="too long"):
        await call(db, tenant, hang)
    assert (await stored(db, tenant)).status == "unknown"


async def test_keys_are_the_tenants_own(db: Database, tenant: UUID) -> None:
    async def ask(params: Wanted, key: str) -> Given:
        return Given(str(params.amount_cents))

    assert await call(db, tenant, ask, amount_cents=1) == Given("1")
    assert await call(db, UUID(int=7), ask, amount_cents=2) == Given("2")
