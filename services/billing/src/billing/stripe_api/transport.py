"""Stripe over the wire: one try with the caller's key, bounded in time, its failures told apart by what they leave.

The only module that imports stripe. Its typed services are not used: they are generated for endive, see API_VERSION.
"""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal, NoReturn, Protocol, TypeVar

import httpx
import msgspec
import stripe

from billing.domain.providers import (
    NotAtProvider,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnknown,
)
from billing.provider_http import CONNECT_S, READ_S, Breaker, trusted
from billing.stripe_api.shapes import Listed

#: What our calls ask for, whatever the account's own version is (webhooks come in that one: shapes.py reads both).
#: Not endive (2026-09-30), the SDK's own: it takes away `payment_method_types`, and the `allowed_payment_method_types`
#: that replaces it drops what does not fit without a word, where the list is refused. The buyer of a PIX plan would be
#: asked for a card. https://docs.stripe.com/changelog/endive/2026-09-30/remove-payment-method-types-checkout-sessions
API_VERSION: Final = "2026-03-25.dahlia"

# Else the SDK keeps an id of this machine in the user's home and sends it along.
stripe.enable_telemetry = False

# Else it logs what it sends (names, addresses, tax ids), and Stripe's words about a key, which show some of it.
logging.getLogger("stripe").setLevel(logging.CRITICAL)

#: The most that Stripe lists at once.
PAGE: Final = 100
_PAGE_PAUSES_S: Final = (0.2, 0.8)


class _Identified(Protocol):
    id: str


T = TypeVar("T")
L = TypeVar("L", bound=_Identified)

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_SECRETS: Final = re.compile(r"\b(?:[sr]k_(?:live|test)_|whsec_)[\w*]+")
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Transport:
    """Calls to one Stripe account. Raises ProviderMisconfigured for a key that cannot be one."""

    def __init__(self, api_key: str, base_url: str | None) -> None:
        if not _KEY.fullmatch(api_key):
            raise ProviderMisconfigured("The Stripe key is missing or not a key.")
        self._breaker = Breaker()
        self._http = _Http()
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": base_url} if base_url else {},
            http_client=self._http,
            max_network_retries=0,
        )

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.close_async()

    async def get(self, path: str, into: type[T], params: Mapping[str, Any] | None = None) -> T:
        """What is there now.

        Raises ProviderUnavailable, NotAtProvider, ProviderMisconfigured or ProviderRefused.
        """
        return await self._ask("get", path, into, params or {}, None)

    async def post(self, path: str, into: type[T], params: Mapping[str, Any], key: str) -> T:
        """The object as the call left it; with a `key` of an earlier call, what that one was answered.

        Raises like `get`, and ProviderUnknown when it may have had its effect.
        """
        return await self._ask("post", path, into, params, key)

    async def delete(self, path: str, into: type[T], key: str) -> T:
        """The object as the call left it. Raises like `post`. Stripe has keys for POST only."""
        return await self._ask("delete", path, into, {}, key)

    async def list(self, path: str, page_type: type[Listed[L]], params: Mapping[str, Any]) -> AsyncIterator[L]:
        """Everything that matches, newest first, page by page. Raises like `get`.

        A page that was not got is asked for again: of many pages one would nearly always fail where some requests do.
        """
        page_params = {**params, "limit": PAGE}
        while True:
            page = await self._page(path, page_type, page_params)
            for found in page.data:
                yield found
            if not page.has_more or not page.data:
                return
            page_params["starting_after"] = page.data[-1].id

    async def _page(self, path: str, page_type: type[T], params: Mapping[str, Any]) -> T:
        for longest_s in _PAGE_PAUSES_S:
            try:
                return await self.get(path, page_type, params)
            except ProviderUnavailable:
                await asyncio.sleep(random.uniform(0, longest_s))  # noqa: S311 - jitter
        return await self.get(path, page_type, params)

    async def _ask(
        self,
        method: Literal["get", "post", "delete"],
        path: str,
        into: type[T],
        params: Mapping[str, Any],
        key: str | None,
    ) -> T:
        self._breaker.check("Stripe")
        is_read = method == "get"
        try:
            answer = await self._client.raw_request_async(method, path, idempotency_key=key, **params)
        except stripe.StripeError as error:
            if _is_sick(error):
                self._breaker.failed()
            else:
                self._breaker.worked()
            _translate(error, is_read)
        self._breaker.worked()
        try:
            return msgspec.json.decode(answer.body, type=into)
        except msgspec.MsgspecError as error:
            # An object in a state that did not exist when this was written, or no Stripe at all.
            raise _lost(f"answered what we cannot read ({error})", is_read) from None


class _Http(stripe.HTTPClient):
    # The SDK's own client over httpx follows HTTP_PROXY and its like; the house's egress is configured, not found.
    name = "httpx"

    def __init__(self) -> None:
        super().__init__()
        self._client = httpx.AsyncClient(
            verify=trusted(),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=20, max_keepalive_connections=5, keepalive_expiry=20),
            trust_env=False,
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            answer = await self._client.request(method, url, headers=headers, content=post_data)
        except httpx.HTTPError as error:
            raise stripe.APIConnectionError("no answer") from error  # type: ignore[no-untyped-call]  # not annotated
        return answer.content, answer.status_code, answer.headers

    async def close_async(self) -> None:
        await self._client.aclose()


def object_path(collection: str, external_id: str, action: str = "") -> str:
    """The path of one object; ids come from callers and webhooks.

    Raises NotAtProvider for what cannot be an id of Stripe's.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", external_id):
        raise NotAtProvider("not an id of Stripe's")
    return f"/v1/{collection}/{external_id}{action}"


def _status(error: stripe.StripeError) -> int:
    return error.http_status or 0


def _is_sick(error: stripe.StripeError) -> bool:
    return isinstance(error, stripe.RateLimitError) or _status(error) >= 500 or error.error is None


def _translate(error: stripe.StripeError, is_read: bool) -> NoReturn:
    """Raises what it means for us. Neither our key nor the answer's body gets into any of them."""
    status = _status(error)
    if isinstance(error, stripe.APIConnectionError):
        if isinstance(error.__cause__, _NOT_SENT):
            raise ProviderUnavailable("Stripe cannot be reached.", retry_after_s=5) from error.__cause__
        raise _lost("did not answer", is_read) from error.__cause__
    if isinstance(error, stripe.RateLimitError) or status in (429, 503):
        raise ProviderUnavailable("Stripe asks to come back later.", retry_after_s=_retry_after_s(error)) from None
    if status >= 500:
        is_replay = error.headers is not None and error.headers.get("idempotent-replayed") == "true"
        raise _lost(f"failed with {status}", is_read, is_replay=is_replay) from None
    if error.error is None:
        raise _lost(f"answered {status} in a way that is not Stripe's", is_read) from None
    if status == 409:
        raise _lost("is still busy with the same request", is_read) from None  # the key of a call under way
    if status in (401, 403):
        # Its message shows part of the key.
        raise ProviderMisconfigured("Stripe does not accept this account's key for that.") from None
    reason = _SECRETS.sub("***", error.user_message or f"it answered {status}")[:500]
    if status == 404:
        raise NotAtProvider(reason) from None
    raise ProviderRefused(f"Stripe refuses: {reason}") from None


def _lost(what: str, is_read: bool, *, is_replay: bool = False) -> ProviderUnavailable | ProviderUnknown:
    """A read changes nothing: a lost answer to one leaves nothing unknown.

    `is_replay`: Stripe keeps a key's first answer for 24 h and more, a 500 too. Asking again with that key is in vain;
    what became of it has to be looked up.
    """
    if is_read:
        return ProviderUnavailable(f"Stripe {what}.", retry_after_s=5)
    code = "provider_result_stays_unknown" if is_replay else None
    return ProviderUnknown(f"Stripe {what}.", code=code, retry_after_s=5)


def _retry_after_s(error: stripe.StripeError) -> int:
    text = (error.headers or {}).get("retry-after", "")
    return min(int(text), 300) if text.isdecimal() and int(text) else 5
