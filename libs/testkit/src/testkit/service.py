"""A service running in the test's own process, as its neighbours see it: its HTTP, its database, what it tells."""

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import httpx
from litestar import Litestar

from chassis.db import Database
from chassis.lifecycle import Runtime
from testkit.tokens import Identities


class RunningService:
    """A started service. `name` is the audience of the gateway's tokens."""

    def __init__(self, name: str, app: Litestar, http: httpx.AsyncClient, identities: Identities) -> None:
        self.name = name
        self.app = app
        self.http = http
        self.identities = identities

    @property
    def runtime(self) -> Runtime:
        """What its workers are given."""
        return cast("Runtime", self.app.state.runtime)

    @property
    def db(self) -> Database:
        """Its own roles on its database."""
        return self.runtime.db

    async def call(
        self,
        method: str,
        path: str,
        tenant_id: UUID | None,
        *permissions: str,
        kind: str = "user",
        subject: str = "user-1",
        **options: Any,
    ) -> httpx.Response:
        """A request as the gateway would pass it on; without permissions named, the caller holds all."""
        headers = self.identities.headers(
            self.name, tenant_id=tenant_id, permissions=permissions or ("*",), kind=kind, subject=subject
        )
        return await self.http.request(method, path, headers=headers | options.pop("headers", {}), **options)

    async def told(self, *types: str) -> list[dict[str, Any]]:
        """What stands in its outbox, published or not: the data of those event types, of all when none is named."""
        rows = await self.db.relay.fetch(
            "SELECT type, convert_from(body, 'UTF8')::jsonb::text AS body FROM outbox ORDER BY created_at, id"
        )
        found = []
        for row in rows:
            if types and row["type"] not in types:
                continue
            body = _json(row["body"])
            found.append(body.get("data", body) | {"_type": row["type"]})
        return found


@asynccontextmanager
async def living(app: Litestar) -> AsyncIterator[None]:
    """The app between startup and shutdown, in a task of their own: they must share one, and fixtures do not."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await stop.wait()

    life = asyncio.create_task(live())
    first = asyncio.create_task(started.wait())
    await asyncio.wait({life, first}, return_when=asyncio.FIRST_COMPLETED)
    first.cancel()
    try:
        if not life.done():
            yield
    finally:
        stop.set()
        await life


def client_of(name: str, app: Litestar) -> httpx.AsyncClient:
    """A client that calls the app in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=cast("Any", app)), base_url=f"http://{name}")


@asynccontextmanager
async def running(name: str, app: Litestar, identities: Identities) -> AsyncIterator[RunningService]:
    """The app alive, and spoken to as the gateway does."""
    async with living(app), client_of(name, app) as http:
        yield RunningService(name, app, http, identities)


async def until(condition: Callable[[], Any], *, timeout_s: float = 60.0) -> Any:
    """What `condition` (a function, perhaps async) returns once that is true; fails the test if it never is."""
    deadline = time.monotonic() + timeout_s
    while True:
        outcome = condition()
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome:
            return outcome
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def _json(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {"value": found}
