"""Group commit of webhooks: what has come in meanwhile is stored in one transaction, and nobody waits for a timer.

Each request is answered after its own event's commit, and never before. Under load a commit is shared by up to 64.
"""

import asyncio
from collections import deque
from contextvars import Context
from types import TracebackType
from typing import Final, Self, TypeAlias

from billing.accounts import Accounts
from billing.domain.provider_events import NewProviderEvent
from billing.usecases.recognise_webhook import Delivery, recognise_webhook
from billing.usecases.store_webhooks import store_webhooks
from bus.failures import is_transient
from chassis.clock import Clock, utc_now
from chassis.db import Database
from contracts.errors import Unavailable

BATCH: Final = 64
#: More than these waiting is more than the database takes; the providers come again.
MAX_WAITING: Final = 2048
_FINISH_WITHIN_S: Final = 5.0

_Waiting: TypeAlias = tuple[NewProviderEvent, "asyncio.Future[None]"]


class Intake:
    """The queue in front of `store_webhooks` and its one flusher, which runs only while something waits."""

    def __init__(self, accounts: Accounts, *, clock: Clock = utc_now, max_waiting: int = MAX_WAITING) -> None:
        self._accounts = accounts
        self._clock = clock
        self._max_waiting = max_waiting
        self._waiting: deque[_Waiting] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Commits what still waits; what cannot be committed in time is refused, so that its provider comes again."""
        self._closed = True
        if self._flusher is not None:
            await asyncio.wait({self._flusher}, timeout=_FINISH_WITHIN_S)
            self._flusher.cancel()
        while self._waiting:
            _fail(self._waiting.popleft(), Unavailable("The service is stopping."))

    async def receive(self, db: Database, delivery: Delivery) -> None:
        """Returns once the delivery is verified and its event committed, now or by an earlier one.

        Raises SignatureRefused, Malformed, Unavailable when too many wait, and what the database does, for this event's
        own reasons only.
        """
        await self._store(db, await recognise_webhook(db, self._accounts, delivery, now=self._clock()))

    async def _store(self, db: Database, event: NewProviderEvent) -> None:
        if self._closed or len(self._waiting) >= self._max_waiting:
            raise Unavailable("Too many webhooks are waiting.", code="intake_full", retry_after_s=1)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        if self._flusher is None or self._flusher.done():
            # In a context of its own: it works for many requests, each of whose events bears its own trace.
            self._flusher = asyncio.create_task(self._flush(db), context=Context())
        await done

    async def _flush(self, db: Database) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._commit(db, batch)
            except BaseException:
                for one in batch:
                    _fail(one, Unavailable("The service is stopping."))
                raise

    async def _commit(self, db: Database, batch: list[_Waiting]) -> None:
        try:
            await store_webhooks(db, [event for event, _ in batch], now=self._clock())
        except Exception as error:
            if is_transient(error):  # who waits behind would only wait in vain for as long
                batch = [*batch, *self._waiting]
                self._waiting.clear()
            elif len(batch) > 1:  # so that what cannot be stored fails alone
                for one in batch:
                    await self._commit(db, [one])
                return
            for one in batch:
                _fail(one, error)
            return
        for _, done in batch:
            if not done.done():  # whoever hung up has cancelled it
                done.set_result(None)


def _fail(one: _Waiting, error: Exception) -> None:
    if not one[1].done():
        one[1].set_exception(error)
