"""n8n's webhook for what follows a purchase (seed 002): one POST, bounded in time, its failures told apart."""

from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from billing.domain.providers import ProviderRefused, ProviderUnavailable, ProviderUnknown
from billing.provider_http import trusted

CONNECT_S: Final = 2.0
READ_S: Final = 10.0
#: What the operator mends meanwhile: a token, or a workflow that is not active (404). Any other refusal is of the body,
#: and will not be answered differently later.
_PASSING: Final = (401, 403, 404, 408, 425, 429)


class N8nApi:
    """The operator's own address and token. Redirects are not followed, proxies of the environment not used."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=trusted(),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=1, keepalive_expiry=20),
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def tell_purchase(self, body: dict[str, Any]) -> None:
        """n8n has taken it: any 2xx. Its answer is not read.

        Raises ProviderUnavailable when it was not reached or does not take it now, ProviderUnknown when it may have
        taken it, ProviderRefused for any other answer.
        """
        raw = msgspec.json.encode(body)
        try:
            request = self._client.build_request(
                "POST", self._url, content=raw, headers={"Content-Type": "application/json"}
            )
            answer = await self._client.send(request, stream=True)
            await answer.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ProviderUnavailable("n8n cannot be reached.", retry_after_s=5) from error
        except httpx.HTTPError as error:
            raise ProviderUnknown("n8n did not answer.", retry_after_s=5) from error
        if answer.status_code in (*_PASSING, 503):
            raise ProviderUnavailable(f"n8n does not take it now: {answer.status_code}.", retry_after_s=5)
        if answer.status_code >= 500:
            raise ProviderUnknown(f"n8n failed with {answer.status_code}.", retry_after_s=5)
        if not 200 <= answer.status_code < 300:
            raise ProviderRefused(f"n8n answered {answer.status_code}.")
