"""A caller of the sample service, as the gateway would be one."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
from litestar import Litestar

from testkit.tokens import Identities


class Client:
    """Speaks to the sample service as the gateway does."""

    def __init__(self, app: Litestar, identities: Identities, http: httpx.AsyncClient) -> None:
        self.app = app
        self.identities = identities
        self.http = http
        self.tenant_id = uuid4()

    def headers(self, tenant_id: UUID | None = None, *permissions: str) -> dict[str, str]:
        token = self.identities.token(
            "sample", tenant_id=tenant_id or self.tenant_id, permissions=permissions or ("notes:read", "notes:write")
        )
        return {"X-Internal-Identity": token}

    async def get(self, path: str, **options: Any) -> httpx.Response:
        headers = self.headers() | options.pop("headers", {})
        return await self.http.get(path, headers=headers, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        headers = self.headers() | options.pop("headers", {})
        return await self.http.post(path, headers=headers, **options)


Start = Callable[..., Awaitable[Client]]
Env = Callable[..., Awaitable[dict[str, str]]]
