"""A caller of the sample service, as the gateway would be one."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote
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

    async def raw_get(self, path: bytes) -> httpx.Response:
        """A GET of exactly this path, which httpx would tidy up."""
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers().items()]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": unquote(path.decode("latin-1")), "raw_path": path, "root_path": "", "query_string": b"",
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])


Start = Callable[..., Awaitable[Client]]
Env = Callable[..., Awaitable[dict[str, str]]]
