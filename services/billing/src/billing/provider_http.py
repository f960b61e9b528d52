"""HTTP to a payment provider: one try, bounded in time, and its failures told apart by what may have happened there.

Nothing is retried here: the caller has persisted what it asked for, and asks again with the same key.
"""

import functools
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from billing.domain.providers import (
    NotAtProvider,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnknown,
)

CONNECT_S: Final = 2.0
READ_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024


@functools.cache
def trusted() -> ssl.SSLContext:
    """The authorities that a provider's certificate is checked against; one for all accounts' clients.

    To read them holds the loop up for 20 ms.
    """
    return httpx.create_ssl_context(trust_env=False)


class Breaker:
    """Leaves a provider alone after `failures_to_open` failures in a row, then lets one call try it."""

    def __init__(
        self, *, failures_to_open: int = 8, open_s: float = 10.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._monotonic = monotonic
        self._failures = 0
        self._open_until_s = 0.0

    def check(self, provider: str) -> None:
        """Raises ProviderUnavailable while the provider is left alone."""
        if self._failures < self._failures_to_open:
            return
        now = self._monotonic()
        if now < self._open_until_s:
            raise ProviderUnavailable(f"{provider} has not been working; it is tried again shortly.", retry_after_s=5)
        self._open_until_s = now + self._open_s  # this call is the one that tries

    def worked(self) -> None:
        """It answered, whatever it said."""
        self._failures = 0

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        if self._failures >= self._failures_to_open:
            self._open_until_s = self._monotonic() + self._open_s


class ProviderHttp:
    """A client for one provider account: its address, its credentials in `headers`, a breaker of its own."""

    def __init__(
        self, provider: str, base_url: str, headers: Mapping[str, str], *, reason_of: Callable[[Any], str | None]
    ) -> None:
        """`reason_of` finds the provider's own words in an error's JSON."""
        self._provider = provider
        self._breaker = Breaker()
        self._reason_of = reason_of
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=dict(headers),
            verify=trusted(),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=20, max_keepalive_connections=5, keepalive_expiry=20),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of its 2xx answer.

        Raises ProviderUnavailable when it was not reached or did nothing, ProviderUnknown when it may have done it,
        NotAtProvider for a 404, ProviderMisconfigured for refused credentials, ProviderRefused for any other refusal.
        """
        self._breaker.check(self._provider)
        is_read = method == "GET"
        body = None if json is None else msgspec.json.encode(json)
        kind = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = await self._client.request(
                method, path, content=body, params=params, headers={**kind, **(headers or {})}
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            self._breaker.failed()
            raise ProviderUnavailable(f"{self._provider} cannot be reached.", retry_after_s=5) from error
        except httpx.HTTPError as error:
            self._breaker.failed()
            raise self._lost(is_read, "did not answer") from error
        return self._read(answer, is_read)

    def _read(self, answer: httpx.Response, is_read: bool) -> Any:
        status = answer.status_code
        if status in (429, 503):
            self._breaker.failed()
            raise ProviderUnavailable(f"{self._provider} asks to come back later.", retry_after_s=_retry_after(answer))
        if status >= 500:
            self._breaker.failed()
            raise self._lost(is_read, f"failed with {status}")
        self._breaker.worked()
        try:
            if len(answer.content) > MAX_ANSWER_BYTES:
                raise ValueError
            found = msgspec.json.decode(answer.content) if answer.content else None
        except (msgspec.DecodeError, ValueError, RecursionError):
            if 200 <= status < 300:
                raise self._lost(is_read, "answered what is not JSON") from None
            found = None
        if 200 <= status < 300:
            return found
        reason = self._reason_of(found) or f"it answered {status}"
        if status == 404:
            raise NotAtProvider(reason)
        if status in (401, 403):
            raise ProviderMisconfigured(f"{self._provider} does not accept this account's credentials: {reason}")
        raise ProviderRefused(f"{self._provider} refuses: {reason}")

    def _lost(self, is_read: bool, what: str) -> ProviderUnavailable | ProviderUnknown:
        # A read changes nothing, so that a lost answer to one leaves nothing unknown.
        kind = ProviderUnavailable if is_read else ProviderUnknown
        return kind(f"{self._provider} {what}.", retry_after_s=5)


def _retry_after(answer: httpx.Response) -> int:
    text = answer.headers.get("retry-after", "")
    return min(int(text), 300) if text.isdecimal() and int(text) else 5
