"""One PagBank account's connection: its paths and words of refusal."""

import re
from typing import Any, Final

from billing.domain.providers import NotAtProvider, ProviderMisconfigured
from billing.provider_http import ProviderHttp
from contracts.errors import BadGateway

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_RELEASED: Final = "whitelist access required"

#: What a new account meets in production until PagBank has released it.
NOT_RELEASED: Final = (
    "PagBank has not released this account for its Orders API in production (ACCESS_DENIED, whitelist access required):"
    " ask PagBank for the homologation of the integration, or use another provider until then."
)


def reason_of(found: Any) -> str | None:
    """PagBank's own words in an error: `{"error_messages": [{"code", "description", "parameter_name"}]}`."""
    match found:
        case {"error_messages": [dict(first), *_]}:
            words = [first.get(name) for name in ("code", "description", "parameter_name")]
            return " ".join(word for word in words if isinstance(word, str) and word)[:300] or None
        case {"message": str(message)} if message:
            return message[:300]
    return None


class PagBankConnection:
    """Asks PagBank, and tells an account that it has not released from one whose token is wrong."""

    def __init__(self, token: str, base_url: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._http = ProviderHttp("pagbank", base_url, headers, reason_of=reason_of)

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: dict[str, str] | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """The object that PagBank answers; `key` is what makes a repeated create the same one.

        Raises what ProviderHttp.ask does, and BadGateway for what is not an object.
        """
        headers = {"x-idempotency-key": key} if key else None
        try:
            found = await self._http.ask(method, path, json=json, params=params, headers=headers)
        except ProviderMisconfigured as error:
            if _NOT_RELEASED in error.detail.lower() or "allowlist_access_required" in error.detail.lower():
                raise ProviderMisconfigured(NOT_RELEASED) from error
            raise
        if not isinstance(found, dict):
            raise BadGateway("PagBank answered what is not an object.")
        return found


def path(*parts: str) -> str:
    """`/orders/{id}`; an id that PagBank cannot have made is not asked for. Raises NotAtProvider."""
    for part in parts:
        if not _ID.fullmatch(part):
            raise NotAtProvider("PagBank has no such id.")
    return "/" + "/".join(parts)
