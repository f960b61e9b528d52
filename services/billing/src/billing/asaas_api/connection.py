"""One Asaas account's connection: its paths, pages and words of refusal."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from billing.domain.providers import NotAtProvider
from billing.provider_http import ProviderHttp
from contracts.errors import BadGateway

PAGE_SIZE: Final = 100  # the most that a listing gives
_MAX_PAGES: Final = 200
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def reason_of(found: Any) -> str | None:
    """Asaas' own words in an error: `{"errors": [{"code": ..., "description": ...}]}`."""
    match found:
        case {"errors": [{"description": str(description)}, *_]} if description:
            return description[:300]
    return None


def connect(api_key: str, base_url: str) -> ProviderHttp:
    """A client with the account's key; Asaas asks for a User-Agent too."""
    headers = {"access_token": api_key, "Accept": "application/json", "User-Agent": "backoffice-billing"}
    return ProviderHttp("asaas", base_url, headers, reason_of=reason_of)


def path(*parts: str) -> str:
    """`/payments/{id}`; an id that Asaas cannot have made is not asked for. Raises NotAtProvider."""
    for part in parts:
        if not _ID.fullmatch(part):
            raise NotAtProvider("Asaas has no such id.")
    return "/" + "/".join(parts)


def objects(page: Any) -> list[dict[str, Any]]:
    """The objects of a listing's page. Raises BadGateway when it is none."""
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise BadGateway("Asaas answered a listing that cannot be read.")
    return data


def an_object(found: Any) -> dict[str, Any]:
    """`found`, when it is an object. Raises BadGateway."""
    if not isinstance(found, dict):
        raise BadGateway("Asaas answered what is not an object.")
    return found


async def every(http: ProviderHttp, where: str, filters: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """Each object of a listing, page after page."""
    for number in range(_MAX_PAGES):
        page = await http.ask(
            "GET", where, params={**filters, "limit": str(PAGE_SIZE), "offset": str(number * PAGE_SIZE)}
        )
        for one in objects(page):
            yield one
        if not page.get("hasMore"):
            return
    raise BadGateway("Asaas' listing does not end.")
