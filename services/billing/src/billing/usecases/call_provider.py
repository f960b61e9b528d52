"""Asks a provider for something once, whoever asks how often: key and parameters are committed before the first try."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from billing import store
from billing.domain.providers import (
    NotAtProvider,
    Provider,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnknown,
)
from billing.store.provider_calls import ProviderCall
from billing.usecases.plan_call import plan_call
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.errors import ServiceError

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)

_TRIES: Final = 3
_BASE_S: Final = 0.2
_CAP_S: Final = 2.0
_TRY_S: Final = 25.0
#: Longer than all tries together: while it lasts, nobody else tries.
_LEASE_S: Final = _TRIES * (_TRY_S + _CAP_S) + 9.0
_WAIT_S: Final = 10.0


async def call_provider(
    db: Database,
    tenant_id: UUID,
    *,
    provider: Provider,
    account_id: UUID,
    operation: str,
    key: str,
    params: P,
    ask: Callable[[P, str], Awaitable[R]],
    answer: type[R],
    clock: Clock,
) -> R:
    """What the provider answered to `ask(params, key)`, now or the first time that it was asked under this key.

    A repeat uses the parameters of the first time, whatever it is given: with others the key would name another
    request. No transaction is open while the provider is asked. A passing failure is tried three times in all; after
    that the call stays open, and whoever comes again with the key goes on from there. One at a time asks: others wait
    for its answer for ten seconds, since not every provider has keys by which two would be one.

    Raises ProviderRefused (stored: the same key is refused again), ProviderMisconfigured, ProviderUnavailable (also,
    with code `request_in_flight`, when somebody else is still asking), ProviderUnknown.
    """
    async with transaction(db, tenant_id) as conn:
        planned = await plan_call(
            conn,
            tenant_id,
            provider=provider.value,
            account_id=account_id,
            operation=operation,
            key=key,
            params=params,
            now=clock(),
        )
    call = await _own(db, planned)
    if call.status == "done":
        return msgspec.convert(call.result, answer)
    if call.status == "refused":
        raise ProviderRefused(call.error or "it was refused before")
    asked = msgspec.convert(call.params, type(params))
    try:
        result = await _try(lambda: ask(asked, key))
    except (ProviderRefused, NotAtProvider) as refusal:
        reason = refusal.detail if isinstance(refusal, ProviderRefused) else str(refusal)
        await _note(db, call, "refused", None, reason, clock)
        raise ProviderRefused(reason) from refusal
    except ServiceError as failure:
        did_nothing = isinstance(failure, ProviderUnavailable | ProviderMisconfigured) and call.status == "planned"
        await _note(db, call, "planned" if did_nothing else "unknown", None, failure.detail, clock)
        raise
    await _note(db, call, "done", msgspec.to_builtins(result), None, clock)
    return result


async def _own(db: Database, planned: ProviderCall) -> ProviderCall:
    """The call, for us alone to make; or as it ended, perhaps by another's doing while we waited."""
    call = planned
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _WAIT_S
    while call.status in ("planned", "unknown"):
        async with transaction(db, call.tenant_id) as conn:
            own = await store.provider_calls.claim_call(conn, call.tenant_id, call.id, lease_s=_LEASE_S)
        if own is not None:
            return own
        if loop.time() > give_up_at:
            raise ProviderUnavailable("The same request is still under way.", code="request_in_flight", retry_after_s=5)
        await asyncio.sleep(random.uniform(_BASE_S / 2, _BASE_S))  # noqa: S311 - jitter
        async with transaction(db, call.tenant_id) as conn:
            call = await store.provider_calls.find_call(conn, call.tenant_id, call.provider, call.key) or call
    return call


async def _try(ask: Callable[[], Awaitable[R]]) -> R:
    failures: list[ProviderUnavailable | ProviderUnknown] = []
    while len(failures) < _TRIES:
        if failures:
            await asyncio.sleep(random.uniform(0, min(_CAP_S, _BASE_S * 2 ** len(failures))))  # noqa: S311 - jitter
        try:
            return await _bounded(ask)
        except (ProviderUnavailable, ProviderUnknown) as failure:
            failures.append(failure)
    # A try that may have had its effect outweighs those that had none.
    raise next((failure for failure in failures if isinstance(failure, ProviderUnknown)), failures[-1])


async def _bounded(ask: Callable[[], Awaitable[R]]) -> R:
    try:
        async with asyncio.timeout(_TRY_S):
            return await ask()
    except TimeoutError:
        raise ProviderUnknown("The provider took too long.", retry_after_s=5) from None


async def _note(
    db: Database, call: ProviderCall, status: str, result: dict[str, Any] | None, error: str | None, clock: Clock
) -> None:
    async with transaction(db, call.tenant_id) as conn:
        await store.provider_calls.mark_ended(
            conn, call.tenant_id, call.id, status=status, result=result, error=error, now=clock()
        )
