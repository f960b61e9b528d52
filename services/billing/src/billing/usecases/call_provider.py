"""Asks a provider for something once, whoever asks how often: key and parameters are committed before the first try."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from billing import store
from billing.domain.identifiers import new_id
from billing.domain.providers import (
    NotAtProvider,
    Provider,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnknown,
)
from billing.store.provider_calls import ProviderCall
from chassis.clock import Clock
from chassis.db import Database, transaction

P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)

_TRIES: Final = 3
_BASE_S: Final = 0.2
_CAP_S: Final = 2.0


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
    that the call stays open, and whoever comes again with the key goes on from there.

    Raises ProviderRefused (stored: the same key is refused again), ProviderMisconfigured, ProviderUnavailable,
    ProviderUnknown.
    """
    now = clock()
    wanted = ProviderCall(
        id=new_id(now),
        tenant_id=tenant_id,
        provider=provider.value,
        account_id=account_id,
        operation=operation,
        key=key,
        params=msgspec.to_builtins(params),
        status="planned",
        result=None,
        error=None,
        attempts=0,
        created_at=now,
        updated_at=now,
    )
    async with transaction(db, tenant_id) as conn:
        call = await store.provider_calls.plan_call(conn, tenant_id, wanted)
    if call.status == "done":
        return msgspec.convert(call.result, answer)
    if call.status == "refused":
        raise ProviderRefused(call.error or "it was refused before")
    planned = msgspec.convert(call.params, type(params))
    try:
        result = await _try(lambda: ask(planned, key))
    except (ProviderRefused, NotAtProvider) as refusal:
        reason = refusal.detail if isinstance(refusal, ProviderRefused) else str(refusal)
        await _note(db, call, "refused", None, reason, clock)
        raise ProviderRefused(reason) from refusal
    except (ProviderUnavailable, ProviderUnknown) as failure:
        status = "unknown" if isinstance(failure, ProviderUnknown) or call.status == "unknown" else "planned"
        await _note(db, call, status, None, failure.detail, clock)
        raise
    await _note(db, call, "done", msgspec.to_builtins(result), None, clock)
    return result


async def _try(ask: Callable[[], Awaitable[R]]) -> R:
    for attempt in range(_TRIES - 1):
        try:
            return await ask()
        except (ProviderUnavailable, ProviderUnknown):
            await asyncio.sleep(random.uniform(0, min(_CAP_S, _BASE_S * 2**attempt)))  # noqa: S311 - jitter
    return await ask()


async def _note(
    db: Database, call: ProviderCall, status: str, result: dict[str, Any] | None, error: str | None, clock: Clock
) -> None:
    async with transaction(db, call.tenant_id) as conn:
        await store.provider_calls.mark_ended(
            conn, call.tenant_id, call.id, status=status, result=result, error=error, now=clock()
        )
